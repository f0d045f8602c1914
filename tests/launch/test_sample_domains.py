"""Figures of two domains: what stands in which place."""

import types

import numpy as np
import pytest
from sklearn.decomposition import PCA

from launch import held_out, sample_domains
from tests import synthetic
from tfgen import models
from tfgen.core.errors import BadInput
from tfgen.data import Stream

SIDE = 8


class Figures:
    """Keeps what would be drawn."""

    def __init__(self, monkeypatch):
        self.made, figure = [], sample_domains._figure

        def kept(*size):
            self.made.append(figure(*size))
            return self.made[-1]

        monkeypatch.setattr(sample_domains, "_figure", kept)

    @property
    def axes(self):
        (figure,) = self.made
        return figure.axes


@pytest.fixture
def figures(monkeypatch):
    return Figures(monkeypatch)


@pytest.fixture
def pair(monkeypatch):
    """The rows that figures of a run show."""
    shown = synthetic.pair(28, rows=64)
    monkeypatch.setattr(sample_domains, "_test", lambda flags: shown)
    return shown


def source_of(name, pair, *endpoints):
    """A model as figures see it, with the answers of its endpoints."""
    model = models.build(name, "tiny", spec=pair.spec)
    if name == "adda":  # as after adaptation
        for variable in model.target.trainable_variables:
            variable.assign(-0.5 * variable)

    def call(endpoint):
        def answer(images):
            found = getattr(model, endpoint)(images)
            return {key: value.numpy() for key, value in found.items()}

        return answer

    return types.SimpleNamespace(
        name=name,
        spec=model.endpoint_spec,
        calls={endpoint: call(endpoint) for endpoint in endpoints},
    )


# Triplets ---------------------------------------------------------------------


def translating(run=None):
    """A + 0.25 is its translation, B - 0.5 is that of B."""
    spec = models.build("cyclegan", "tiny", spec=synthetic.pair(SIDE).spec).spec
    shift = {"translate_ab": 0.25, "translate_ba": -0.5}
    return types.SimpleNamespace(
        run=run, spec=spec, images=lambda name, images: images + shift[name]
    )


def flags(**given):
    kept = {"input": None, "workdir": "run", "data_dir": None, "num": 3}
    return types.SimpleNamespace(**{**kept, "mode": "translate", **given})


def test_rows_of_both_ways(monkeypatch):
    pair, source = synthetic.pair(SIDE, rows=8), translating()
    monkeypatch.setattr(sample_domains, "_test", lambda flags: pair)
    images, columns = sample_domains.triplets(source, flags(num=10))
    assert (len(images), columns) == (36, 6)  # the target has 6 rows
    table = images.reshape([6, 6, SIDE, SIDE, 1])
    a, b = (
        held_out.domain(pair, source.spec, n, 6)["image"] for n in synthetic.DOMAINS
    )
    for start, own, shifts in ((0, a, (0, 0.25, -0.25)), (3, b, (0, -0.5, -0.25))):
        for column, shift in enumerate(shifts, start):
            np.testing.assert_allclose(table[:, column], own + shift, atol=1e-6)


def test_input_is_of_the_first_domain(tmp_path):
    pictures = synthetic.digits(12, 20)["image"]
    np.savez(tmp_path / "other.npz", x=pictures[:15], x_test=pictures[15:])
    run = {"batch": 4, "seed": 0, "data_dir": None, "validation_fraction": 0.2}
    source = translating({**run, "config": {"image_size": SIDE}})
    given = flags(input=f"npz:{tmp_path}/other.npz", workdir=None, num=4)
    images, columns = sample_domains.triplets(source, given)
    assert (images.shape, columns) == ((12, SIDE, SIDE, 1), 3)
    first, there, back = images.reshape([4, 3, SIDE, SIDE, 1]).transpose(1, 0, 2, 3, 4)
    np.testing.assert_allclose(there, first + 0.25, atol=1e-6)
    np.testing.assert_allclose(back, first - 0.25, atol=1e-6)
    # Of its test rows, cut to the size of the run.
    data = held_out.load(source.run, None, given.input)
    wanted = held_out.arrays(
        data.test, source.spec.for_images("x", low=-1.0, high=1.0, size=SIDE), 4
    )["image"]
    np.testing.assert_array_equal(first, wanted)


def test_an_export_knows_no_data():
    with pytest.raises(BadInput, match="needs --input"):
        sample_domains.triplets(translating(), flags(workdir=None))


# Features and answers ---------------------------------------------------------


def test_embedding_before_and_after(figures, pair, tmp_path):
    source = source_of("adda", pair, "classify", "classify_source")
    count = sample_domains.embedding(source, flags(), tmp_path / "figure.png")
    assert count == 64 + 48 and (tmp_path / "figure.png").stat().st_size > 10_000
    a, b = (held_out.domain(pair, source.spec, n) for n in synthetic.DOMAINS)
    ours = source.calls["classify_source"](a["image"])["features"]
    plane = PCA(2, svd_solver="full").fit(ours)
    titles = {"before adaptation": "classify_source", "after adaptation": "classify"}
    assert [axes.get_title() for axes in figures.axes] == list(titles)
    for axes, endpoint in zip(figures.axes, titles.values(), strict=True):
        theirs = source.calls[endpoint](b["image"])["features"]
        for points, features, rows in zip(
            axes.collections, (ours, theirs), (a, b), strict=True
        ):
            wanted = plane.transform(features)
            np.testing.assert_allclose(points.get_offsets(), wanted, atol=1e-4)
            np.testing.assert_array_equal(points.get_array(), rows["label"])
    before, after = (axes.collections[1].get_offsets() for axes in figures.axes)
    assert np.abs(before - after).max() > 0.01


def test_a_class_has_one_colour_in_both_domains(figures, pair, tmp_path):
    kept = pair.target.arrays["label"] >= 5  # the target lacks classes
    arrays = {name: array[kept] for name, array in pair.target.arrays.items()}
    pair.target = Stream(arrays, pair.target.spec, batch=16)
    sample_domains.embedding(
        source_of("dann", pair, "classify"), flags(), tmp_path / "figure.png"
    )
    ours, theirs = figures.axes[0].collections
    for points in (ours, theirs):
        points.update_scalarmappable()
    one = ours.get_facecolors()[ours.get_array() == 7]
    other = theirs.get_facecolors()[theirs.get_array() == 7]
    assert len(one) and len(other)
    np.testing.assert_array_equal(one[0], other[0])


def test_embedding_by_one_encoder(figures, pair, tmp_path):
    source = source_of("dann", pair, "classify")
    sample_domains.embedding(source, flags(), tmp_path / "figure.png")
    assert [axes.get_title() for axes in figures.axes] == ["one encoder"]


def test_confusion(figures, pair, tmp_path):
    source = source_of("adda", pair, "classify", "classify_source")
    count = sample_domains.confusion(source, flags(), tmp_path / "figure.png")
    rows = held_out.domain(pair, source.spec, "target")
    assert count == len(rows["label"]) == 48
    titles = {"source only, %": "classify_source", "adapted, %": "classify"}
    assert [axes.get_title() for axes in figures.axes] == list(titles)
    for axes, endpoint in zip(figures.axes, titles.values(), strict=True):
        answers = source.calls[endpoint](rows["image"])["label"]
        table = axes.images[0].get_array()
        for true in range(10):
            for answer in range(10):
                own = answers[rows["label"] == true]
                assert table[true, answer] == pytest.approx(np.mean(own == answer))
        shown = {(t.get_position(), t.get_text()) for t in axes.texts}
        assert len(shown) == np.sum(table >= 0.005)
        assert all(
            text == f"{100 * table[int(y), int(x)]:.0f}" for (x, y), text in shown
        )


def test_shares_of_classes():
    # Class 1 is in no row: nothing goes anywhere.
    found = sample_domains.shares(
        np.array([0, 0, 0, 0, 2]), np.array([0, 2, 2, 2, 1]), 3
    )
    np.testing.assert_allclose(found, [[0.25, 0, 0.75], [0, 0, 0], [0, 1, 0]])


def test_targets_without_labels(pair):
    del pair.target.arrays["label"]
    with pytest.raises(BadInput, match="synthetic has no labels"):
        sample_domains.confusion(source_of("dann", pair, "classify"), flags(), None)
