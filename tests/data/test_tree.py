"""Folders of splits, and folders that are decoded once."""

import errno
import os

import numpy as np
import pytest

from tests.data.test_clips import write_gif
from tests.data.test_notes import write
from tests.data.test_sources import picture, refused
from tfgen.data import decoded, folder, load, rows
from tfgen.data.pipeline import RowsOnDisk


def splits_of(folder, files):
    """Pictures whose red is their number; returns the name of their folder."""
    for number, file in enumerate(files):
        picture(folder / f"{file}.png", colour=(number, 0, 0))
    return f"folder:{folder}"


def reds(stream):
    return np.asarray(stream.arrays["image"])[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("limit", [rows.MEMORY_LIMIT, 100])
def test_folder_with_splits(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(rows, "MEMORY_LIMIT", limit)
    monkeypatch.setattr(decoded, "SLOW", limit)
    files = ["train/dog/0", "train/dog/1", "train/cat/0", "test/dog/0", "val/cow/0"]
    data = load(splits_of(tmp_path, files), batch=1)
    assert data.spec.features["label"].classes == ("cat", "dog")
    assert data.spec.examples == len(data.train) == 3
    assert reds(data.train) == [2, 0, 1] and reds(data.test) == [3]
    np.testing.assert_array_equal(data.train.arrays["label"], [0, 1, 1])
    np.testing.assert_array_equal(data.test.arrays["label"], [1])
    assert isinstance(data.test.arrays["image"], RowsOnDisk) is (limit == 100)
    assert data.remarks[-1].startswith(f"{tmp_path / 'val'} is not read: ")


@pytest.mark.parametrize("held_out", ["test", "validation", "val"])
def test_splits_without_classes(tmp_path, held_out):
    data = load(splits_of(tmp_path, ["train/0", "train/1", f"{held_out}/0"]), batch=1)
    assert list(data.spec.features) == ["image"]
    assert reds(data.train) == [0, 1] and reds(data.test) == [2]
    assert data.remarks == ()
    alone = load(splits_of(tmp_path / "alone", ["train/cat/0"]), batch=1)
    assert alone.spec.features["label"].classes == ("cat",) and alone.test is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train/0", "test/0", "cats/0"], "split 'train' and, beside it, 'cats/0.png'"),
        (["train/cat/0", "bus/0"], "'bus/0.png': move all pictures below 'train' and"),
        (["train/0", "loose"], "split 'train' and, beside it, 'loose.png'"),
        (["test/cat/0"], "the split 'test' and no 'train'"),
        (["train/cat/0", "test/dog/0"], "no training pictures of the class 'dog'"),
        (["train/cat/0", "test/0"], "'cat', and pictures .* such as 'test/0.png'"),
    ],
)
def test_splits_that_are_none(tmp_path, files, message):
    refused(splits_of(tmp_path, files), message)


def test_splits_of_clips(tmp_path):
    for number, file in enumerate(["test/b", "train/a", "train/c"]):
        write_gif(tmp_path / f"{file}.gif", frames=2, shade=20 * number)
    table = "test/b.gif,left\ntrain/a.gif,up\ntrain/c.gif,down\n"
    (tmp_path / "captions.csv").write_text(f"file,caption\n{table}")
    data = load(f"folder:{tmp_path}", batch=1)
    assert data.train.arrays["video"][:, 0, 0, 0, 0].tolist() == [20, 40]
    assert data.test.arrays["video"][:, 0, 0, 0, 0].tolist() == [0]
    assert data.test.arrays["tokens"].shape[0] == 1
    assert {"left", "up", "down"} <= set(data.spec.features["tokens"].classes)


def test_splits_of_notes(tmp_path):
    for file in ("train/oboe/x_060", "train/flute/x_064", "test/oboe/x_061"):
        (tmp_path / file).parent.mkdir(parents=True)
        write(tmp_path, f"{file}.wav")
    data = load(f"folder:{tmp_path}", batch=1)
    assert data.spec.features["pitch"].classes == ("60", "61", "64")
    assert data.spec.features["instrument"].classes == ("flute", "oboe")
    for stream, pitch, instrument in (
        (data.train, [2, 0], [0, 1]),
        (data.test, [1], [1]),
    ):
        assert stream.arrays["pitch"].tolist() == pitch
        assert stream.arrays["instrument"].tolist() == instrument


def counted(monkeypatch):
    """A list that grows by one with each picture that is decoded."""
    decoded, fit = [], folder.fit
    monkeypatch.setattr(folder, "fit", lambda *x: decoded.append(x) or fit(*x))
    return decoded


def test_a_folder_that_takes_long_is_decoded_once(tmp_path, monkeypatch):
    name = splits_of(tmp_path, "abcde")
    monkeypatch.setattr(decoded, "SLOW", 100)
    seen, found = counted(monkeypatch), []
    for times in (6, 1):  # the first picture tells the size
        data = load(name, batch=2)
        found.append(reds(data.train))
        assert len(seen) == times and type(data.train.arrays["image"]) is np.ndarray
        assert data.remarks == (f"pictures are decoded once, into {tmp_path}/.decoded",)
        seen.clear()
    assert found == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_folder_where_nothing_can_be_written(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    name = splits_of(tmp_path, "abcde")
    monkeypatch.setattr(decoded, "SLOW", 100)
    if number == errno.EROFS:
        monkeypatch.setattr(decoded, "locked", refuse)
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    data = load(name, batch=2)
    assert reds(data.train) == [0, 1, 2, 3, 4]
    (remark,) = data.remarks
    assert "at every start" in remark and os.strerror(number) in remark
    assert not list(
        tmp_path.glob(".decoded/*.part")
    )  # of a full disk no part stays taken
    monkeypatch.setattr(rows, "MEMORY_LIMIT", 100)
    with pytest.raises(OSError, match=os.strerror(number)):
        load(name, batch=2)
