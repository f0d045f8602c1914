"""Two sets side by side: unpaired, of any lengths; subsets; broken pictures."""

import numpy as np
import pytest
from PIL import Image

from tests import synthetic
from tfgen.core.errors import BadInput
from tfgen.data import PairStream, load, load_pair
from tfgen.data.sources import subset


@pytest.fixture
def archives(tmp_path):
    """`npz:` names of 20 labelled rows and 12 others, each pixel its row number."""
    names = []
    for name, rows, label in (("a", 20, True), ("b", 12, True)):
        image = np.repeat(np.arange(rows, dtype="uint8"), 4).reshape(rows, 2, 2)
        arrays = {"x": image, "x_test": image + 100}
        if label:
            arrays |= {"y": np.arange(rows) % 3, "y_test": np.arange(rows) % 3}
        np.savez(tmp_path / f"{name}.npz", **arrays)
        names.append(f"npz:{tmp_path / name}.npz")
    return names


def test_each_domain_keeps_its_own_epochs(archives):
    data = load_pair(*archives, batch=4, seed=3)
    spec = data.spec
    assert list(spec.features) == ["source", "label", "target"]
    assert spec.examples == len(data.train) == 20
    elements = [e for _, e in zip(range(15), data.train.dataset(), strict=False)]
    assert set(elements[0]) == {"source", "label", "target", "index", "target_index"}
    for image, index, count in (
        ("source", "index", 20),
        ("target", "target_index", 12),
    ):
        rows = np.concatenate([e[image].numpy()[:, 0, 0, 0] for e in elements])
        numbers = np.concatenate([e[index].numpy() for e in elements])
        np.testing.assert_array_equal(rows, numbers)
        for epoch in range(60 // count):
            part = rows[epoch * count : (epoch + 1) * count]
            assert sorted(part) == list(range(count))
    labels = np.concatenate([e["label"].numpy() for e in elements])
    rows = np.concatenate([e["source"].numpy()[:, 0, 0, 0] for e in elements])
    np.testing.assert_array_equal(labels, rows % 3)


def test_sets_of_one_length_are_not_paired():
    data = synthetic.pair()
    source, target = data.source, data.source
    pair = load_pair("mnist_5k", "mnist_5k", batch=64, seed=0)
    element = next(iter(pair.train.dataset()))
    meets_itself = np.mean(element["index"].numpy() == element["target_index"].numpy())
    assert meets_itself < 0.05
    # What the salt is for: with one seed every row would meet itself.
    element = next(iter(PairStream(source, target).dataset()))
    assert (element["index"].numpy() == element["target_index"].numpy()).all()


def test_resume_and_updates_are_positions(archives):
    train = load_pair(*archives, batch=4, seed=3).train
    whole = [e for _, e in zip(range(6), train.dataset(), strict=False)]
    later = next(iter(train.dataset(start=4)))
    double = next(iter(train.dataset(updates=2, start=1)))
    for name, value in later.items():
        np.testing.assert_array_equal(value, whole[4][name])
        both = np.concatenate([whole[2][name], whole[3][name]])
        np.testing.assert_array_equal(double[name], both)


def test_replicas_share_each_batch(archives, two_replicas):
    train = load_pair(*archives, batch=4, seed=3).train
    element = next(iter(train.dataset(strategy=two_replicas)))
    whole = next(iter(train.dataset()))
    for name in ("source", "target"):
        parts = two_replicas.experimental_local_results(element[name])
        np.testing.assert_array_equal(np.concatenate(parts), whole[name])


def test_held_out_rows_of_the_target_do_not_depend_on_its_labels(archives, tmp_path):
    held = []
    for labels in (np.arange(12) % 3, np.arange(12)[::-1] // 6):
        arrays = dict(np.load(archives[1].removeprefix("npz:")))
        np.savez(tmp_path / "b.npz", **{**arrays, "y": labels, "y_test": labels})
        data = load_pair(*archives, batch=4, validation_fraction=0.25)
        held.append(data.validation.target.arrays["image"][:, 0, 0, 0].tolist())
        assert len(data.validation.source) == 5
    assert held[0] == held[1] and len(held[0]) == 3


def test_test_rows_keep_their_labels(archives):
    test = load_pair(*archives, batch=4).test
    np.testing.assert_array_equal(test.target.arrays["label"], np.arange(12) % 3)
    assert test.target.arrays["image"].min() == 100


def test_subsets():
    assert subset("mnist@2000") == ("mnist", 2000)
    assert subset("folder:a@b") == ("folder:a@b", None)
    rows = {}
    for seed in (0, 0, 1):
        data = load("mnist_5k@200", batch=8, seed=seed)
        assert data.spec.examples == len(data.train) == 200 and len(data.test) == 1000
        images = {x.tobytes() for x in data.train.arrays["image"]}
        assert len(images) == 200
        rows.setdefault(seed, []).append(images)
    assert rows[0][0] == rows[0][1] != rows[1][0]
    with pytest.raises(BadInput, match="mnist_5k@0: mnist_5k has 1 to 4000 training"):
        load("mnist_5k@0", batch=8)
    with pytest.raises(BadInput, match="1 to 4000"):
        load("mnist_5k@4001", batch=8)


@pytest.fixture
def broken(tmp_path):
    """A folder of three pictures, one of them cut short."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("L", (8, 8), 90 * number).save(folder / f"{number}.png")
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[: len(whole) // 2])
    return folder


def test_a_broken_picture_is_named_and_refused_or_skipped(broken):
    with pytest.raises(BadInput, match="1.png is not a usable picture"):
        load(f"folder:{broken}", batch=2)
    data = load_pair("mnist_5k", f"folder:{broken}", batch=2, on_corrupt="skip")
    assert data.train.target.arrays["image"][:, 0, 0, 0].tolist() == [0, 180]
    (line,) = data.skipped
    assert "1.png is not a usable picture" in line and "\n" not in line


def test_a_folder_of_broken_pictures_alone(broken):
    for number in (0, 2):
        (broken / f"{number}.png").unlink()
    with pytest.raises(BadInput, match="no usable picture: .*1.png"):
        load(f"folder:{broken}", batch=2, on_corrupt="skip")
