"""Launchers on clips: animations, their metrics, classifiers of attributes."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageSequence

import tfgen
from tests.launch.made_runs import make_run
from tests.synthetic import clips
from tfgen import models
from tfgen.core.spec import to_uint8

FRAMES, SIDE, GAP = 4, 8, 2


@pytest.fixture(scope="module")
def folder(clip_folder):
    return clip_folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, folder):
    data = tfgen.data.load(folder, batch=4, seed=3, validation_fraction=0.5)
    path = tmp_path_factory.mktemp("runs")
    options = {"video_classifier": {"hparams": {"label": "label"}}}
    return {
        name: make_run(
            path / name, name, data, folder, validation=0.5, **options.get(name, {})
        )
        for name in ("video_gan", "video_gan_future", "video_classifier")
    }


def frames_of(animation):
    """uint8 `[frames, h, w, 3]` of a file or of bytes."""
    with Image.open(animation) as opened:
        return np.stack(
            [
                np.asarray(frame.convert("RGB"))
                for frame in ImageSequence.Iterator(opened)
            ]
        )


def test_what_is_written_can_be_read(folder):
    data = tfgen.data.load(folder, batch=4)
    assert data.spec.video.shape == (FRAMES, SIDE, SIDE, 3)
    wanted = clips(SIDE, frames=FRAMES).arrays["video"][:36]
    found = {clip.tobytes() for clip in data.train.arrays["video"]}
    assert found == {clip.tobytes() for clip in wanted}  # few colours: exact


def test_samples_of_a_training(launcher, folder, tmp_path, events):
    ended = launcher.run(
        "--model=video_gan",
        f"--dataset={folder}",
        "--preset=tiny",
        "--batch=4",
        "--steps=2",
        "--sample_every=2",
        "--log_every=1",
        f"--workdir={tmp_path}",
    )
    assert ended.code == 0, ended.stderr
    model = tfgen.load(tmp_path)
    made = to_uint8(model.sample(16, seed=0).numpy(), model.spec.video)
    shown = frames_of(tmp_path / "samples" / "step_000000002.gif")
    side = 4 * (SIDE + GAP) - GAP
    assert shown.shape[1:] == (side, side, 3)
    # Untrained frames may be alike, which a GIF joins; colours are cut to 256.
    apart = shown[0, :SIDE, :SIDE].astype(int) - made[0, 0]
    assert np.abs(apart).mean() < 8
    found = events(tmp_path)
    assert {"samples", "samples/mask", "samples/background"} <= set(found)
    tensor = found["samples"][2][0].tensor
    width, height, gif = tensor.string_val
    assert (width, height) == (b"%d" % side, b"%d" % side)
    np.testing.assert_array_equal(frames_of(io.BytesIO(gif)), shown)
    with Image.open(tmp_path / "samples" / "step_000000002_streams.png") as streams:
        assert streams.size == (8 * (SIDE + GAP) - GAP, 8 * (SIDE + GAP) - GAP)


def sample(launcher, *flags):
    return launcher.run(*flags, module="launch.sample")


def test_grid_as_animation_and_as_film(runs, launcher, tmp_path):
    path, model = runs["video_gan"]
    ended = sample(launcher, f"--workdir={path}", "--num=4")
    assert ended.code == 0, ended.stderr
    assert ended.json["out"] == str(path / "samples" / "grid.gif")
    assert frames_of(ended.json["out"]).shape[1:3] == (18, 18)
    film = tmp_path / "film.png"
    ended = sample(launcher, f"--workdir={path}", "--num=3", f"--out={film}")
    assert ended.code == 0, ended.stderr
    picture = np.asarray(Image.open(film))
    assert picture.shape == (3 * 10 - 2, FRAMES * 10 - 2, 3)
    made = to_uint8(model.sample(3, seed=0).numpy(), model.spec.video)
    assert np.abs(picture[10:18, 20:28].astype(int) - made[1, 2]).max() <= 1
    between = sample(launcher, f"--workdir={path}", "--mode=interpolate", "--num=2")
    assert between.code == 0 and between.json["images"] == 20


def test_futures(runs, launcher):
    path, _ = runs["video_gan_future"]
    ended = sample(launcher, f"--workdir={path}", "--mode=future", "--num=3")
    assert ended.code == 0, ended.stderr
    assert ended.json["images"] == 6


def evaluate(launcher, *flags):
    return launcher.run(*flags, module="launch.evaluate")


def test_metrics_of_clips(runs, launcher, tmp_path):
    path, model = runs["video_classifier"]
    ended = evaluate(launcher, f"--workdir={path}")
    assert ended.code == 0, ended.stderr
    assert set(ended.json["metrics"]) == {"accuracy", "cross_entropy"}
    tfgen.export(model, tmp_path / "judge")

    path, model = runs["video_gan"]
    ended = evaluate(
        launcher,
        f"--workdir={path}",
        "--metrics=motion_energy,frechet_video",
        f"--extractor=saved_model:{tmp_path}/judge",
    )
    assert ended.code == 0, ended.stderr
    made = to_uint8(model.sample(18, seed=0).numpy(), model.spec.video).astype(float)
    energy = np.abs(np.diff(made, axis=1)).mean()
    assert ended.json["metrics"]["motion_energy"] == pytest.approx(energy, rel=0.02)
    assert ended.json["metrics"]["frechet_video"] > 0
    ended = evaluate(launcher, f"--workdir={path}", "--metrics=frechet_video")
    assert ended.code == 2 and "needs --extractor=saved_model:PATH" in ended.stderr

    path, _ = runs["video_gan_future"]
    ended = evaluate(launcher, f"--workdir={path}")
    assert ended.code == 0, ended.stderr
    assert set(ended.json["metrics"]) == {"first_frame_l1", "motion_energy"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("video_gan", False),
        ("video_gan_one_stream", False),
        ("video_gan_future", False),
        ("dt2v", True),
        ("text_filter_gan", True),
    ],
)
def test_attributes_are_of_models_that_read_sentences(name, told):
    from launch import clips as launched

    groups = launched.metrics_of(models.find(name))
    assert ("attributes" in sum(groups.values(), ())) == told


@pytest.mark.slow
def test_attributes(tmp_path):
    """A generator that always shows what it is told is right as often as the judge."""
    from launch import clips as launched

    stream = clips(SIDE, frames=FRAMES)
    judge = tfgen.build(
        "video_classifier",
        preset="small",
        spec=stream.spec,
        hparams={"label": "colour"},
    )
    judge.fit(stream, steps_per_epoch=40, verbose=0)
    tfgen.export(judge, tmp_path / "judge")

    class Told:
        spec = stream.spec.for_videos("told", low=-1, high=1, also=["tokens"])

        def generate(self, tokens, seed, first):
            import tensorflow as tf

            videos = tf.constant(stream.arrays["video"])
            chosen = tf.gather(videos, first + tf.range(tf.shape(tokens)[0]))
            return tf.cast(chosen, tf.float32) / 127.5 - 1

    class Quiet:
        def start(self, what):
            pass

        def __call__(self, done, total):
            pass

    numbers = stream.arrays["sentence"]
    others = numbers[numbers != 3]
    found = launched.measure(
        Told(),
        SimpleNamespace(train=SimpleNamespace(arrays={"sentence": others})),
        stream,
        ["attributes"],
        extractor="pixels",
        classifiers=[str(tmp_path / "judge")],
        num=0,
        seed=0,
        progress=Quiet(),
    )
    record = found["colour_accuracy"]
    assert record["value"] == record["real"] > 0.5
    assert record["count"] == 256
    assert record["unseen"] == 256 - len(others) > 0


def test_what_clips_cannot_do(runs, launcher, tmp_path):
    path, _ = runs["video_gan"]
    for metric in ("frechet", "attributes"):  # it reads no sentences
        ended = evaluate(launcher, f"--workdir={path}", f"--metrics={metric}")
        assert ended.code == 2
        assert "valid: motion_energy, frechet_video\n" in ended.stderr
    ended = sample(launcher, f"--workdir={path}", f"--out={tmp_path}/x.jpg")
    assert ended.code == 2 and ".gif or .png file" in ended.stderr
