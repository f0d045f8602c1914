"""Folders of clips, prepared sets of clips, and bringing clips to a size."""

import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from tests.data.test_prepared import refused, store
from tfgen.core.spec import DataSpec, Feature, adapter
from tfgen.data import load
from tfgen.data.image import chosen_frames


def write_gif(path, frames=4, side=8, shade=0):
    """A GIF whose frame k is grey of 60 k + shade."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [
        Image.fromarray(np.full((side, side, 3), 60 * k + shade, "uint8"))
        for k in range(frames)
    ]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)


def test_frames_that_stand_for_a_clip():
    np.testing.assert_array_equal(chosen_frames(16, 16), np.arange(16))
    np.testing.assert_array_equal(chosen_frames(20, 16), np.arange(2, 18))
    np.testing.assert_array_equal(chosen_frames(35, 8), 1 + 4 * np.arange(8))
    np.testing.assert_array_equal(chosen_frames(2, 4), [0, 1, 1, 1])


def test_animations_with_captions(tmp_path):
    write_gif(tmp_path / "one.gif", shade=0)
    write_gif(tmp_path / "two.gif", shade=20)
    write_gif(tmp_path / "three.gif", shade=5)
    (tmp_path / "captions.csv").write_text(
        'file,caption\none.gif,It brightens.\ntwo.gif,"it, brightens"\nthree.gif,Dawn\n'
    )
    data = load(f"folder:{tmp_path}", batch=2)
    assert list(data.spec.features) == ["video", "tokens", "sentence"]
    assert data.spec.video.shape == (4, 8, 8, 3)
    arrays = data.train.arrays
    # In the order of the sorted names: one, three, two.
    assert arrays["video"][1, :, 0, 0, 0].tolist() == [5, 65, 125, 185]
    assert arrays["sentence"].tolist() == [1, 0, 1]  # punctuation tells nothing apart
    assert data.spec.features["sentence"].classes == ("Dawn", "It brightens.")
    vocabulary = ("", "[UNK]", "brightens", "dawn", "it")
    assert data.spec.features["tokens"].classes == vocabulary
    assert arrays["tokens"][:, :3].tolist() == [[4, 2, 0], [3, 0, 0], [4, 2, 0]]


def test_sentences_of_clips_left_out_are_no_training_sentences(tmp_path):
    """Held out, not drawn, or in the test folder: they have no number."""
    lines = ["file,caption"]
    for clip in range(12):
        name = f"{'test' if clip > 9 else 'train'}/{clip}.gif"
        write_gif(tmp_path / name, frames=2, shade=clip)
        lines.append(f"{name},Clip {clip}")
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    data = load(f"folder:{tmp_path}@8", batch=2, validation_fraction=0.25)
    listed, arrays = data.spec.features["sentence"].classes, data.train.arrays
    told = [f"Clip {shade}" for shade in arrays["video"][:, 0, 0, 0, 0]]
    assert len(told) == 6 and sorted(told) == list(listed)
    assert [listed[number] for number in arrays["sentence"]] == told
    for stream, rows in ((data.validation, 2), (data.test, 2)):
        assert stream.arrays["sentence"].tolist() == [-1] * rows
        assert stream.arrays["tokens"].any(axis=1).all()


def cut_from_videos(folder, videos=10, clips=3):
    """Clip k of video v has shade 10 v + k; names tell nothing of the videos."""
    lines = ["file,caption,video"]
    for video in range(videos):
        for clip in range(clips):
            shade = 10 * video + clip
            write_gif(folder / f"{clip}{video}.gif", frames=2, shade=shade)
            lines.append(f"{clip}{video}.gif,Clip {clip}.,film {video}")
    (folder / "captions.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("seed", [0, 1])
def test_clips_of_a_video_are_held_out_together(seed, tmp_path):
    cut_from_videos(tmp_path)

    def shades(stream):
        return stream.arrays["video"][:, 0, 0, 0, 0].tolist()

    how = {"batch": 2, "seed": seed, "validation_fraction": 0.3}
    data = load(f"folder:{tmp_path}", **how)
    of_train, held_out = (
        {s // 10 for s in shades(x)} for x in (data.train, data.validation)
    )
    assert (len(of_train), len(held_out)) == (7, 3) and not of_train & held_out
    assert len(data.validation) == 9 and data.spec.examples == len(data.train) == 21
    # Also where some of the rows are left out.
    some = load(f"folder:{tmp_path}@20", **how)
    of_train, held_out = (
        {s // 10 for s in shades(x)} for x in (some.train, some.validation)
    )
    assert held_out and not of_train & held_out
    assert len(some.train) + len(some.validation) == 20


def test_videos_keep_to_the_shares_of_classes(tmp_path):
    lines = ["file,caption,video"]
    for video in range(12):
        kind = ("golf", "sailing", "sailing")[video % 3]
        for clip in range(2):
            name = f"{kind}/{video}-{clip}.gif"
            write_gif(tmp_path / name, frames=2, shade=video)
            lines.append(f"{name},It is {kind}.,{video}")
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    data = load(f"folder:{tmp_path}", batch=2, validation_fraction=0.5)
    assert np.bincount(data.validation.arrays["label"]).tolist() == [4, 8]


def test_classes_sizes_and_lengths(tmp_path):
    write_gif(tmp_path / "up" / "a.gif", frames=4, side=8)
    write_gif(tmp_path / "down" / "b.gif", frames=3, side=12)
    name = f"folder:{tmp_path}"
    refused(name, r"b.gif is 3x12x12 .* and .*a.gif is 4x8x8: give frames and")
    data = load(name, batch=2, image_size=6, frames=2)
    assert data.spec.video.shape == (2, 6, 6, 3)
    assert data.spec.features["label"].classes == ("down", "up")
    # Of 4 frames every second, of 3 the first two.
    assert data.train.arrays["video"][:, :, 0, 0, 0].tolist() == [[0, 60], [0, 120]]


def test_stills_beside_animations_stay_pictures(tmp_path):
    write_gif(tmp_path / "a.gif")
    Image.fromarray(np.zeros((8, 8, 3), "uint8")).save(tmp_path / "b.png")
    assert load(f"folder:{tmp_path}", batch=2).spec.image.shape == (8, 8, 3)


def test_broken_clips_and_captions(tmp_path):
    name = f"folder:{tmp_path}"
    write_gif(tmp_path / "a.gif")
    (tmp_path / "b.gif").write_bytes(b"GIF89a nothing more")
    refused(name, "b.gif is not a usable clip")
    data = load(name, batch=1, on_corrupt="skip")
    assert len(data.train) == 1 and "b.gif" in data.skipped[0]
    (tmp_path / "b.gif").unlink()
    (tmp_path / "captions.csv").write_text("file,caption\nother.gif,Night\n")
    refused(name, "captions.csv has no caption of a.gif")
    (tmp_path / "captions.csv").write_text("file,caption,video\na.gif,Night,\n")
    refused(name, "captions.csv has no video of a.gif")
    (tmp_path / "captions.csv").write_text("name\ta\n")
    refused(name, "not a table with the columns file and caption")


# imageio leaves the pipes of ffmpeg to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_movies(tmp_path):
    imageio = pytest.importorskip("imageio.v3", reason="the extra `video`")
    pytest.importorskip("imageio_ffmpeg", reason="the extra `video`")
    clip = np.zeros((6, 32, 32, 3), "uint8")
    clip[:, 8:24, 8:24, 0] = 200
    imageio.imwrite(tmp_path / "a.mp4", clip, plugin="FFMPEG", fps=6)
    data = load(f"folder:{tmp_path}", batch=1, frames=3)
    assert data.spec.video.shape == (3, 32, 32, 3)
    found = data.train.arrays["video"][0].astype(int)
    # Lossy, and colours are stored at half the resolution.
    assert np.abs(found[:, 12:20, 12:20] - [200, 0, 0]).max() < 12


def test_movies_without_imageio(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio.v3", None)
    (tmp_path / "a.mp4").write_bytes(b"anything")
    refused(
        f"folder:{tmp_path}", r"a.mp4: movies need imageio with ffmpeg: pip install"
    )


def test_a_prepared_set_of_clips(tmp_path):
    """Of any name and length, its test split alone, as moving_mnist is."""
    features = {
        "image_sequence": tfds.features.Video(shape=(5, 8, 8, 1)),
        "caption": tfds.features.Text(),
    }
    examples = [
        {"image_sequence": np.full((5, 8, 8, 1), 10 * i, "uint8"), "caption": text}
        for i, text in enumerate(["Black", "nearly black", "black"])
    ]
    store(tmp_path, features, examples)
    data = load("small", batch=2, data_dir=str(tmp_path))
    assert data.spec.video.shape == (5, 8, 8, 1)
    shades = data.train.arrays["video"][:, 0, 0, 0, 0] // 10
    assert data.train.arrays["sentence"].tolist() == [[0, 1, 0][i] for i in shades]
    fitted = load("small", batch=2, data_dir=str(tmp_path), image_size=4, frames=2)
    assert fitted.spec.video.shape == (2, 4, 4, 1)
    np.testing.assert_array_equal(
        fitted.train.arrays["video"][:, 0, 0, 0, 0] // 10, shades
    )


def test_clips_without_a_length_and_a_single_split(tmp_path):
    features = {"video": tfds.features.Video(shape=(None, 8, 8, 3))}
    examples = [{"video": np.full((n, 8, 8, 3), n, "uint8")} for n in (3, 4)]
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(examples),
        output_signature=tfds.features.FeaturesDict(features).get_tensor_spec(),
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name="other",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={"test": dataset},
        data_dir=str(tmp_path),
    )
    refused("other", "differ in length or size: give frames", data_dir=str(tmp_path))
    data = load("other", batch=2, data_dir=str(tmp_path), frames=2)
    assert data.train.arrays["video"].shape == (2, 2, 8, 8, 3) and data.test is None


def test_clips_for_a_model():
    """Resized frame by frame as a picture is; gray to RGB; scaled."""
    video = Feature((3, 8, 8, 1), "uint8", 0, 255)
    spec = DataSpec("clips", 2, {"video": video, "tokens": Feature((4,), "int64")})
    wanted = spec.for_videos("a model", low=-1, high=1, size=4, also=["tokens"])
    assert wanted.video.shape == (3, 4, 4, 1) and "tokens" in wanted.features
    clips = np.random.default_rng(0).integers(0, 256, [2, 3, 8, 8, 1], "uint8")
    adapt, _ = adapter(
        spec.replace(features={"video": video}),
        wanted.replace(features={"video": wanted.video}),
    )
    found = adapt({"video": clips})["video"].numpy()
    picture = Feature((8, 8, 1), "uint8", 0, 255)
    one = DataSpec("pictures", 6, {"image": picture})
    each, _ = adapter(one, one.for_images("a model", low=-1, high=1, size=4))
    frames = each({"image": clips.reshape(6, 8, 8, 1)})["image"].numpy()
    np.testing.assert_allclose(found.reshape(6, 4, 4, 1), frames, atol=1e-6)


def test_words_of_other_data_are_refused():
    ours, theirs = (
        DataSpec("words", 1, {"tokens": Feature((4,), "int64", classes=words)})
        for words in (("", "[UNK]", "a"), ("", "[UNK]", "b"))
    )
    adapter(ours, ours)
    from tfgen.core.errors import BadInput

    with pytest.raises(BadInput, match="reads other words"):
        adapter(theirs, ours)
