"""Moving Shapes and moving discs: what they are said to be."""

import dataclasses
import hashlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfgen.core.errors import BadInput
from tfgen.data import discs, load, shapes
from tfgen.layers import tokens

SMALL, V1 = shapes.VARIANTS["small"], shapes.VARIANTS["v1"]


def centroids(clips):
    """Centres of gravity (x, y) of what is not black, `[n, frames, 2]`."""
    weight = clips.max(axis=-1).astype("float64")
    place = np.arange(clips.shape[2]) + 0.5
    total = weight.sum(axis=(2, 3))
    x = (weight.sum(axis=2) * place).sum(axis=-1) / total
    y = (weight.sum(axis=3) * place).sum(axis=-1) / total
    return np.stack([x, y], axis=-1)


def test_counts():
    """3 shapes, 2 sizes, 5 colours, 12 paths: 360 sentences, 20 and 2 clips of each."""
    index = np.arange(V1.count("train"))
    told = V1.sentences(V1.labels("train", index))
    distinct, counts = np.unique(told, return_counts=True)
    assert (len(told), len(distinct), set(counts)) == (7200, 360, {20})
    assert V1.count("test") == 720
    assert max(len(tokens.split(sentence)) for sentence in distinct) == 14
    assert len(SMALL.combinations) == 72


@pytest.mark.parametrize(
    ("name", "classes", "paths"),
    # 3 x 1 x 3 x 4 = 36 sentences, 200 and 20 clips of each; 3 x 2 x 3 x 8 = 144.
    [("small_one_size", (3, 1, 3, 1, 4), 4), ("small_diagonal", (3, 2, 3, 2, 8), 8)],
)
def test_small_sets_of_fewer_and_of_more_sentences(name, classes, paths):
    kind = shapes.VARIANTS[name]
    assert tuple(map(len, kind.classes.values())) == classes
    assert (kind.side, kind.frames) == (32, 8)
    for split, clips in (("train", 7200), ("test", 720)):
        labels = kind.labels(split, np.arange(kind.count(split)))
        distinct, counts = np.unique(kind.sentences(labels), return_counts=True)
        sentences = 3 * classes[1] * 3 * paths
        assert (len(distinct), set(counts)) == (sentences, {clips / sentences})
    index = np.arange(144)
    apart = centroids(kind.videos("train", index)) - kind.centres("train", index)[:, 0]
    assert np.abs(apart).max() < 0.2  # half a pixel is allowed


def test_sentences():
    told = V1.sentences(V1.labels("train", np.arange(360)))
    for sentence in (
        "A large red circle is moving in a straight line towards east",
        "A small blue square is moving in a zigzag path towards north",
        "A large white triangle is moving in a diagonal path in the southwest "
        "direction",
    ):
        assert sentence in told


def test_centres_of_gravity():
    """All 360 kinds of clips: drawn within half a pixel of the formula, and inside."""
    index = np.arange(360)
    clips, wanted = V1.videos("train", index), V1.centres("train", index)[:, 0]
    apart = np.abs(centroids(clips) - wanted)
    assert apart.max() < 0.13  # half of a sampling point; half a pixel is allowed
    # Nothing is cut off: the area is the shape's own in every frame.
    area = (clips.max(axis=-1) / 255.0).sum(axis=(2, 3))
    labels = V1.labels("train", index)
    size = np.array([12.0, 22.0])[labels["size"]]
    factor = np.array([1.0, np.pi / 4, 0.5])[labels["shape"]]
    np.testing.assert_allclose(area, (factor * size**2)[:, None] + 0 * area, rtol=0.04)


def test_paths():
    """The formula, written out: two pixels a frame, north is up, diagonals 1.5."""
    k = np.arange(16)
    path = V1.displacement
    np.testing.assert_array_equal(
        path("straight", "north"), np.stack([0 * k, -2 * k], 1)
    )
    np.testing.assert_array_equal(
        path("diagonal", "southwest"), np.stack([-1.5 * k, 1.5 * k], 1)
    )
    wave = np.array([0, 3, 6, 3, 0, -3, -6, -3] * 2)  # A t(k / 8), first down
    np.testing.assert_array_equal(path("zigzag", "west"), np.stack([-2 * k, wave], 1))
    np.testing.assert_array_equal(path("zigzag", "south"), np.stack([wave, 2 * k], 1))


@pytest.mark.parametrize("name", shapes.VARIANTS)
def test_an_index_gives_the_same_bytes_alone(name):
    kind = shapes.VARIANTS[name]
    several = kind.videos("test", np.arange(70))  # more than are drawn at a time
    for index in (0, 33, 69):
        alone = kind.videos("test", [index])
        assert alone.tobytes() == several[index].tobytes()
    other = kind.videos("train", [33])
    assert other.tobytes() != several[33].tobytes()


def test_the_bytes_are_those_of_the_definition():
    """What these hashes were taken of has been looked at."""
    digest = hashlib.sha256(SMALL.videos("train", np.arange(72)).tobytes()).hexdigest()
    assert digest[:16] == "e6312e3b09e0200f"


def test_colours_are_exact():
    kind, index = shapes.VARIANTS["v1"], np.arange(60)
    clips, labels = kind.videos("train", index), kind.labels("train", index)
    for number, name in enumerate(kind.colours):
        chosen = clips[labels["colour"] == number]
        lit = np.array(shapes.COLOURS[name]) > 0
        assert not chosen[..., ~lit].any()
        # The inside is full; an edge has all channels of the colour alike.
        assert chosen[..., lit].max() == 255
        assert np.ptp(chosen[..., lit].astype(int), axis=-1).max() == 0


def test_textures_move_and_stay_dim():
    kind = shapes.VARIANTS["v2"]
    clips = kind.videos("train", np.arange(6)).astype(float)
    background = np.median(clips.min(axis=-1), axis=(2, 3))
    assert (background > 20).all() and (background < 80).all()
    grey = shapes._textures("train", np.arange(6), 16, 64).astype(float)
    assert grey.max() <= 102  # contrast 0.4
    # At most a pixel a frame: neighbours in time differ less than in space.
    assert np.abs(np.diff(grey, axis=1)).mean() < np.abs(np.diff(grey, axis=3)).mean()
    assert np.abs(np.diff(grey, axis=1)).mean() > 0.5


@pytest.mark.parametrize(
    ("name", "sentences"),
    # Of 72, the small: 3 shapes, 3 colours, 4 directions, the larger first, each with
    # 2 x 2 x 3 others; a tenth is held out.
    [("two_shapes", (7200, 720)), ("small_two_shapes", (389, 43))],
)
def test_two_shapes_have_nothing_in_common(name, sentences):
    kind = shapes.VARIANTS[name]
    index = np.arange(kind.count("train"))
    labels = kind.labels("train", index)
    assert len(labels) == 10
    for attribute in shapes.ATTRIBUTES:
        if len(kind.classes[attribute]) > 1:
            assert (labels[attribute] != labels[f"{attribute}_2"]).all()
    told = kind.sentences(labels)
    assert all(" and a small " in sentence for sentence in told)
    assert max(len(tokens.split(sentence)) for sentence in told) <= 32
    unseen = set(kind.sentences(kind.labels("test", np.arange(kind.count("test")))))
    assert unseen.isdisjoint(told)
    assert (len(set(told)), len(unseen)) == sentences
    # Both are there: the colours of both words are in the clip.
    clips = kind.videos("train", index[:20]).reshape(20, -1, 3)
    for row, clip in enumerate(clips):
        seen = {tuple(pixel) for pixel in np.unique(clip, axis=0)}
        for ending in ("", "_2"):
            name = kind.colours[labels[f"colour{ending}"][row]]
            assert shapes.COLOURS[name] in seen


@pytest.mark.parametrize(
    ("name", "clips", "sentences"),
    [("novel", 6480, (324, 36)), ("small_novel", 6500, (65, 7))],
)
def test_novel_holds_combinations_out(name, clips, sentences):
    kind = shapes.VARIANTS[name]
    assert (kind.count("train"), kind.count("test")) == (clips, 720)
    train, test = (
        set(kind.sentences(kind.labels(s, np.arange(kind.count(s)))))
        for s in shapes.SPLITS
    )
    assert (len(train), len(test)) == sentences
    assert train.isdisjoint(test)
    words = {word for sentence in train for word in tokens.split(sentence)}
    assert words >= {word for sentence in test for word in tokens.split(sentence)}


def test_by_name():
    data = load("moving_shapes/small", batch=8)
    features = data.spec.features
    assert data.spec.video.shape == (8, 32, 32, 3)
    assert (len(data.train), len(data.test)) == (7200, 720)
    assert features["tokens"].shape == (16,)
    assert features["tokens"].classes[:3] == ("", "[UNK]", "a")
    assert len(features["sentence"].classes) == 72
    arrays = data.train.arrays
    sentence = features["sentence"].classes[arrays["sentence"][5]]
    told = tokens.decode(arrays["tokens"][5:6], features["tokens"].classes)
    assert told == [sentence.lower()]
    shape = features["shape"].classes[arrays["shape"][5]]
    assert shape in sentence
    for name in shapes.ATTRIBUTES:
        assert features[name].classes == SMALL.classes[name]
    # Equal numbers mean equal sentences.
    for column in (arrays["tokens"], arrays["sentence"][:, None]):
        assert len(np.unique(column, axis=0)) == 72
    with pytest.raises(BadInput, match="has no 'tiny'; valid: v1, small, "):
        load("moving_shapes/tiny", batch=8)


def test_smaller_and_shorter_clips():
    tiny = dataclasses.replace(SMALL, clips=(72, 72))
    made = shapes.rows(tiny).resized(16, 4)
    assert made.features["video"].shape == (4, 16, 16, 3)
    assert made.train["video"].shape == (72, 4, 16, 16, 3)


def test_the_builder_writes_the_same_clips(tmp_path, monkeypatch):
    few = dataclasses.replace(SMALL, clips=(72, 72))
    monkeypatch.setitem(shapes.VARIANTS, "small", few)
    data = load("tfgen_moving_shapes/small", batch=4, data_dir=str(tmp_path))
    wanted = shapes.rows(few)
    assert data.spec.features.keys() == wanted.features.keys()
    for name, feature in data.spec.features.items():
        assert feature == wanted.features[name]
        for stream, arrays in ((data.train, wanted.train), (data.test, wanted.test)):
            np.testing.assert_array_equal(stream.arrays[name], arrays[name])
    # The folder loads without this package's code.
    folder = tmp_path / "tfgen_moving_shapes" / "small" / "2.0.0"
    plain = tfds.builder_from_directory(str(folder))
    assert plain.info.splits["train"].num_examples == 72


def test_discs():
    video, centre = discs.clips(1, 64)
    assert video.shape == (64, 16, 32, 32, 3)
    y, x = np.mgrid[:32, :32] + 0.5
    apart = np.hypot(x - centre[..., None, None, 0], y - centre[..., None, None, 1])
    # Within the disc there is one saturated colour, the same in all frames.
    inside = apart < 3
    assert video[inside].max(axis=-1).min() == 255
    assert video[inside].min(axis=-1).max() == 0
    pairs = zip(video, inside, strict=True)
    colours = [np.unique(clip[disc], axis=0) for clip, disc in pairs]
    assert {len(found) for found in colours} == {1}
    # Away from it nothing moves, and the gradient never looks like it.
    still = np.ma.masked_array(
        video.astype(int), np.repeat(apart[..., None] < 5, 3, -1)
    )
    assert (still.max(axis=1) - still.min(axis=1)).max() == 0
    assert still.min() >= 32 and still.max() <= 208
    # It stays whole, and turns back at walls.
    assert centre.min() >= 4 and centre.max() <= 28
    steps = np.linalg.norm(np.diff(centre, axis=1), axis=-1)
    assert steps.max() <= 3 and np.median(steps) > 1.5
    assert discs.clips(1, 64)[0].tobytes() == video.tobytes()
