"""TensorFlow Datasets: prepared ones, own small ones, and what goes wrong."""

import errno
import os
import shutil
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from tfgen.core.errors import BadInput
from tfgen.data import load, load_pair, prepared, rows


@pytest.fixture
def stock():
    """The folder of prepared data outside the package."""
    path = Path(os.environ.get("TFGEN_TEST_DATA", "../shared"), "tfds")
    if not path.exists():
        pytest.skip(f"{path} is missing: set TFGEN_TEST_DATA")
    return str(path)


def refused(name, message, **options):
    with pytest.raises(BadInput, match=message) as caught:
        load(name, **{"batch": 4, **options})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def store(root, features, train=(), test=(), **others):
    """Prepares a data set named `small` from lists of examples, one a split."""

    def dataset(examples):
        signature = tfds.features.FeaturesDict(features).get_tensor_spec()
        return tf.data.Dataset.from_generator(
            lambda: iter(examples), output_signature=signature
        )

    splits = {"train": train, "test": test, **others}
    tfds.dataset_builders.store_as_tfds_dataset(
        name="small",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            name: dataset(split) for name, split in splits.items() if split
        },
        data_dir=str(root),
    )


@pytest.fixture
def small(tmp_path):
    """Twelve and five 4x4 images that count upwards."""
    features = {
        "image": tfds.features.Image(shape=(4, 4, 1)),
        "label": tfds.features.ClassLabel(names=["a", "b"]),
    }
    examples = [
        {"image": np.full((4, 4, 1), i, "uint8"), "label": i % 2} for i in range(17)
    ]
    store(tmp_path, features, examples[:12], examples[12:])
    return str(tmp_path)


def test_stock_set(stock):
    data = load("fashion_mnist", batch=4, data_dir=stock, split="train[:300]")
    expected = tfds.load(
        "fashion_mnist",
        split="train[:300]",
        data_dir=stock,
        download=False,
        batch_size=-1,
        as_supervised=True,
    )
    images, labels = tfds.as_numpy(expected)
    np.testing.assert_array_equal(data.train.arrays["image"], images)
    np.testing.assert_array_equal(data.train.arrays["label"], labels)
    assert data.spec.name == "fashion_mnist"
    assert data.spec.examples == 300
    assert data.spec.features["label"].classes[0] == "T-shirt/top"
    assert data.spec.image.value_range == "[0,255]"
    assert len(data.test) == 10000 and data.validation is None


def test_data_dir_from_the_environment(small, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", small)
    data = load("small", batch=4)
    assert sorted(data.train.arrays["image"][:, 0, 0, 0]) == list(range(12))
    assert sorted(data.test.arrays["image"][:, 0, 0, 0]) == list(range(12, 17))
    assert load("small:1.0.0", batch=4).spec.examples == 12


def test_both_domains_of_one_set(tmp_path):
    """Named twice, as `cycle_gan/horse2zebra` is, whose pictures are of any size."""
    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=["A", "B"]),
    }

    def examples(first, count, label):
        sides = [(4 + i, 6) for i in range(count)]
        pictures = [np.full((*side, 3), first + i) for i, side in enumerate(sides)]
        return [{"image": x.astype("uint8"), "label": label} for x in pictures]

    parts = {"trainA": (0, 5, 0), "trainB": (20, 3, 1)}
    parts |= {"testA": (40, 2, 0), "testB": (60, 4, 1)}
    store(tmp_path, features, **{name: examples(*of) for name, of in parts.items()})
    data = load_pair("small", "small", batch=2, data_dir=str(tmp_path), image_size=4)
    found = {
        f"{split}{domain}": sorted(stream.arrays["image"][:, 0, 0, 0])
        for split, pair in (("train", data.train), ("test", data.test))
        for domain, stream in (("A", pair.source), ("B", pair.target))
    }
    assert found == {
        name: list(range(first, first + count))
        for name, (first, count, _) in parts.items()
    }


@pytest.mark.parametrize("limit", [rows.MEMORY_LIMIT, 1])
def test_pitches_are_those_that_occur(tmp_path, monkeypatch, limit):
    """NSynth numbers its pitches from 0 to 127; a part of it has fewer."""
    monkeypatch.setattr(rows, "MEMORY_LIMIT", limit)
    features = {
        "audio": tfds.features.Audio(shape=(8,), dtype=np.float32, sample_rate=16000),
        "pitch": tfds.features.ClassLabel(num_classes=128),
    }
    silence = np.zeros(8, "float32")
    examples = [{"audio": silence, "pitch": pitch} for pitch in (60, 24, 84, 24)]
    store(tmp_path, features, examples[:3], examples[3:])
    data = load("small", batch=2, data_dir=str(tmp_path))
    names = data.spec.features["pitch"].classes
    assert names == ("24", "60", "84")
    numbers = [names[i] for i in data.train.arrays["pitch"]]
    assert sorted(numbers) == ["24", "60", "84"]
    assert [names[i] for i in data.test.arrays["pitch"]] == ["24"]
    next(iter(data.train.dataset()))


def test_which_features_are_kept(tmp_path):
    features = {
        "video": tfds.features.Video(shape=(2, 4, 4, 3)),
        "audio": tfds.features.Audio(shape=(8,), dtype=np.float32, sample_rate=16000),
        "size": tfds.features.Tensor(shape=(2,), dtype=np.float64),
        "on": tfds.features.Scalar(dtype=np.bool_),
        "name": tfds.features.Text(),
        "inside": {"pitch": tfds.features.Scalar(dtype=np.int64)},
        "notes": tfds.features.Sequence(tfds.features.Scalar(dtype=np.int64)),
    }
    example = {
        "video": np.full((2, 4, 4, 3), 9, "uint8"),
        "audio": np.arange(-32768, 32768, 8192, dtype="float32") / 32768,
        "size": np.array([0.5, 2.0]),
        "on": True,
        "name": "x",
        "inside": {"pitch": 3},
        "notes": np.array([1, 2], "int64"),
    }
    store(tmp_path, features, [example] * 3)
    data = load("small", batch=2, data_dir=str(tmp_path))
    assert data.test is None
    kept = data.spec.features
    assert {name: (f.shape, f.dtype) for name, f in kept.items()} == {
        "audio": ((8,), "int16"),
        "on": ((), "int64"),
        "size": ((2,), "float32"),
        "video": ((2, 4, 4, 3), "uint8"),
    }
    assert (kept["audio"].sample_rate, kept["audio"].low) == (16000, -32768)
    given = data.train.arrays["audio"][2]
    np.testing.assert_array_equal(given / 32768, example["audio"])
    np.testing.assert_array_equal(data.train.arrays["video"][0], example["video"])
    next(iter(data.train.dataset()))


def test_images_of_different_sizes(tmp_path):
    examples = [
        {"image": np.full((4 + i, 9, 3), 10 * i, "uint8"), "label": 0} for i in range(5)
    ]
    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(num_classes=1),
    }
    store(tmp_path, features, examples)
    options = {"data_dir": str(tmp_path)}
    refused("small", "images of small differ in size: give an image_size", **options)
    data = load("small", batch=2, image_size=6, **options)
    assert data.train.arrays["image"].shape == (5, 6, 6, 3)
    found = sorted(data.train.arrays["image"][:, 3, 3, 0])
    assert found == [0, 10, 20, 30, 40]


def test_large_sets_stay_on_disk(small, monkeypatch):
    options = {"batch": 4, "data_dir": small, "validation_fraction": 0.25}
    memory = load("small", **options)
    monkeypatch.setattr(rows, "MEMORY_LIMIT", 100)
    disk = load("small", **options)
    assert isinstance(disk.train.arrays["image"], prepared.RowsOnDisk)
    for ours, theirs in (
        (disk.train, memory.train),
        (disk.validation, memory.validation),
        (disk.test, memory.test),
    ):
        pairs = zip(ours.dataset().take(3), theirs.dataset().take(3), strict=True)
        for a, b in pairs:
            np.testing.assert_array_equal(a["image"], b["image"])
            np.testing.assert_array_equal(a["label"], b["label"])

    def never(*_):
        raise RuntimeError("decoded again")

    monkeypatch.setattr(prepared, "_fill", never)
    assert len(load("small", **options).train) == 9
    # What a killed process leaves behind is not taken for the whole.
    decoded = Path(small, "small", "1.0.0.decoded")
    (decoded / "train-own_size").rename(decoded / "train-own_size.part")
    with pytest.raises(RuntimeError, match="decoded again"):
        load("small", **options)
    assert prepared.prepared_names(Path(small)) == ["small"]


def test_unknown_names(small):
    options = {"data_dir": small}
    message = refused("smal", "unknown data set 'smal'; close: small", **options)
    for choice in ("mnist_5k", "npz:PATH", "folder:PATH", f"in {small}: small"):
        assert message.count(f"{choice}, ") == 1
    assert message.count("moving_shapes, ") == 1
    refused("mnist_5", "close: mnist_5k", **options)
    refused("fashion_mnst", "close: fashion_mnist", **options)
    refused("emoji/gogle", "'emoji' has no 'gogle'; valid: google, twitter", **options)
    refused("cycle_gan/horse", "valid: horse2zebra, .*, maps", **options)
    refused("wikipedia/xx", "valid: .*, 20230601.ab.* and 1[0-9]{3} others$", **options)
    refused("mnist/nothing", "'mnist' has no 'nothing'; valid: mnist alone", **options)
    for name in ("", "no such", "../small", "kaggle:x", "mnist:9.9.9", "small:9.9.9"):
        refused(name, "data set.*valid: mnist_5k", **options)
    refused(
        "small", r"no split 'trainA'; it has: test, train", split="trainA", **options
    )
    refused("small", "split 'train\\[x'", split="train[x", **options)


def test_damaged_files(small):
    file = next(Path(small, "small").rglob("*train.tfrecord*"))
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    refused("small", "are damaged", data_dir=small)
    file.unlink()
    refused("small", "damaged|could not", data_dir=small)


class TfgenTestCounting(tfds.core.GeneratorBasedBuilder):
    """Three images that take a moment; counts how often it is prepared."""

    VERSION = tfds.core.Version("1.0.0")
    prepared = 0
    failure, urls = None, ()

    def _info(self):
        features = {"image": tfds.features.Image(shape=(2, 2, 1))}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        type(self).prepared += 1
        if self.failure:
            raise self.failure
        dl_manager.download(list(self.urls))
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(3):
            time.sleep(0.1)
            yield i, {"image": np.full((2, 2, 1), i, "uint8")}


NAME = "tfgen_test_counting"


def test_two_at_once_prepare_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(TfgenTestCounting, "prepared", 0)
    loaded = []

    def run():
        loaded.append(load(NAME, batch=1, data_dir=str(tmp_path)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(data.train) for data in loaded] == [3, 3]
    assert TfgenTestCounting.prepared == 1
    assert capsys.readouterr().out == ""  # stdout is for results
    shutil.rmtree(tmp_path / NAME)


def test_quiet_until_the_last_thread_leaves(capsys):
    entered, left = threading.Event(), threading.Event()

    def first():
        with prepared._quiet:
            entered.set()
            left.wait(10)
            print("of the thread that came first and leaves last")

    level, thread = logging.get_verbosity(), threading.Thread(target=first)
    thread.start()
    entered.wait(10)
    with prepared._quiet:
        print("beside it")
    print("while it is inside")
    left.set()
    thread.join()
    print("a result")
    assert capsys.readouterr().out == "a result\n"
    assert logging.get_verbosity() == level


@pytest.mark.parametrize(
    "failure",
    [ConnectionError("no\nroute"), OSError(errno.ENETUNREACH, "x"), ImportError("h5")],
)
def test_what_cannot_be_prepared(tmp_path, monkeypatch, failure):
    monkeypatch.setattr(TfgenTestCounting, "failure", failure)
    message = refused(NAME, "could not be downloaded and prep", data_dir=str(tmp_path))
    assert f"prepared in {tmp_path}: none" in message
    monkeypatch.setattr(TfgenTestCounting, "failure", None)
    assert len(load(NAME, batch=1, data_dir=str(tmp_path)).train) == 3


def test_without_a_network(tmp_path, monkeypatch, capfd):
    def lookup(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    urls = [f"https://data.invalid/{number}" for number in range(3)]
    monkeypatch.setattr(TfgenTestCounting, "urls", urls)
    begun = time.monotonic()
    refused(NAME, r"\(no connection to data.invalid\)", data_dir=str(tmp_path))
    assert time.monotonic() - begun < 30
    assert capfd.readouterr().err == f"downloading test_counting into {tmp_path}\n"


def test_a_full_disk_is_not_bad_input(tmp_path, monkeypatch):
    failure = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(TfgenTestCounting, "failure", failure)
    with pytest.raises(OSError, match="No space left"):
        load(NAME, batch=1, data_dir=str(tmp_path))
