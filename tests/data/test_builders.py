"""Own TensorFlow Datasets builders, on small files made here and on the real ones."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tfgen.core.errors import BadInput
from tfgen.data import builders, load, load_pair
from tfgen.data.builders import emoji, notes
from tfgen.metrics import fundamental


@pytest.fixture
def manual(tmp_path):
    """The folder into which a user puts files, below `data_dir` = tmp_path."""
    folder = tmp_path / "downloads" / "manual"
    folder.mkdir(parents=True)
    return folder


def digit_lines(labels):
    """Text of digits whose pixel i is (label + i) / 128 - 1."""
    lines = []
    for label in labels:
        values = (label + np.arange(256)) % 257 / 128 - 1
        lines.append(" ".join([f"{label:.4f}", *(f"{v:.4f}" for v in values)]) + " \n")
    return "".join(lines)


def test_usps(manual, tmp_path):
    (manual / "zip.train.gz").write_bytes(
        gzip.compress(digit_lines([3, 1, 4]).encode())
    )
    (manual / "zip.test").write_text(digit_lines([1, 5]))
    data = load("usps", batch=2, data_dir=str(tmp_path))
    assert (len(data.train), len(data.test)) == (3, 2)
    assert data.spec.image.shape == (16, 16, 1) and data.spec.num_classes == 10
    labels = data.train.arrays["label"]
    assert sorted(labels) == [1, 3, 4]
    # v in [-1, 1] is floor((v + 1) * 127.5 + 0.5): with v = k / 128 - 1, of k.
    k = (labels[:, None] + np.arange(256)) % 257
    wanted = np.floor(k / 128 * 127.5 + 0.5).reshape(3, 16, 16, 1)
    np.testing.assert_allclose(data.train.arrays["image"], wanted, atol=1)
    # Prepared: needs no files, and its folder loads without this package's code.
    (manual / "zip.test").unlink()
    assert len(load("usps", batch=2, data_dir=str(tmp_path)).test) == 2
    plain = tfds.builder_from_directory(str(tmp_path / "tfgen_usps" / "1.0.0"))
    assert plain.info.splits["train"].num_examples == 3


def refused(name, folder, message):
    with pytest.raises(BadInput, match=message) as caught:
        load(name, batch=2, data_dir=str(folder))
    assert "\n" not in str(caught.value)


def test_files_that_are_missing(manual, tmp_path):
    refused("usps", tmp_path, "put zip.train.gz or zip.train into .*/downloads/manual")
    (manual / "zip.train").write_text(digit_lines([1]))
    refused("usps", tmp_path, "put zip.test.gz or zip.test into")
    refused("emoji/twitter", tmp_path, "put emoji_twitter_64.png into")


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3\n",
        "not numbers\n",
        digit_lines([4]).replace("4.0000", "44.000", 1),
        digit_lines([4]).replace(" -0.5", " -5.5", 1),
        digit_lines([4]).replace(" 0.0000", " nan", 1),
    ],
)
def test_a_table_that_is_none(manual, tmp_path, text):
    (manual / "zip.train").write_text(text)
    (manual / "zip.test").write_text(digit_lines([1]))
    refused("usps", tmp_path, "zip.train is not a table of digits")


# Emoji ------------------------------------------------------------------------------


def test_groups():
    person = emoji.group("1F9D1")
    assert emoji.group("1F469-1F3FD") == emoji.group("1F468") == person
    assert emoji.group("1F3C3-200D-2640-FE0F") == emoji.group("1F3C3") == "1F3C3"
    assert emoji.group("1F469-200D-2695-FE0F") == emoji.group("1F468-200D-2695-FE0F")
    assert emoji.group("1F9D1-200D-2695-FE0F") == "1F9D1-200D-2695"
    assert emoji.group("1F3C3-200D-2640-FE0F-200D-27A1-FE0F") == "1F3C3"
    assert emoji.group("1F478") == emoji.group("1F934") == emoji.group("1FAC5")
    assert emoji.group("1F436") != emoji.group("1F431")


def test_parts_follow_the_group_alone():
    names = [f"{code:X}" for code in range(0x1F400, 0x1F400 + 2000)]
    rows = [[code, f"name{i}", "Animals", 1, 0, 0] for i, code in enumerate(names)]
    parts = np.array(emoji.assign(rows))
    assert abs(np.mean(parts == "test") - emoji.HELD_OUT) < 0.03  # 4 sd: 0.032
    assert abs(np.mean(parts == "A") - np.mean(parts == "B")) < 0.09
    assert emoji.assign(rows[::-1]) == parts[::-1].tolist()
    tones = [
        ["1F44B-1F3FB", "wave", "People", 0, 0, 0],
        ["1F44B", "wave", "P", 1, 0, 0],
    ]
    assert len(set(emoji.assign(tones))) == 1


def sheets(folder, cells):
    """Sheets of cells of one colour: cell (column, row) of google is (c, r, 9)."""
    side = cells * emoji.PITCH
    for style, blue in (("google", 9), ("twitter", 200)):
        sheet = np.zeros([side, side, 4], "uint8")
        for row in range(cells):
            for column in range(cells):
                top, left = row * emoji.PITCH + 1, column * emoji.PITCH + 1
                colour = (column, row, blue, 255)
                sheet[top : top + 64, left : left + 64] = colour
        sheet[1, 1] = 0  # a transparent pixel of the first cell
        Image.fromarray(sheet).save(folder / f"emoji_{style}_64.png")
    rows = []
    for number in range(cells * cells):
        column, row = divmod(number, cells)
        code, plain = f"{0x1F400 + number // 2:X}", 1 - number % 2
        codes = code if plain else f"{code}-1F3FD"
        rows.append([codes, f"name{number // 2}", "Animals", plain, column, row])
    (folder / "emoji_index.json").write_text(json.dumps({"emoji": rows}))
    return rows


def test_emoji(manual, tmp_path):
    rows = sheets(manual, cells=10)
    pair = load_pair("emoji/google", "emoji/twitter", batch=4, data_dir=str(tmp_path))
    source, target, test = pair.train.source, pair.train.target, pair.test
    for arrays, blue in ((source.arrays, 9), (target.arrays, 200)):
        for image, number in zip(arrays["image"], arrays["pair"], strict=True):
            column, row = rows[number][4:]
            np.testing.assert_array_equal(image[5, 5], [column, row, blue])
    parts = np.array(emoji.assign(rows))
    assert sorted(source.arrays["pair"]) == np.flatnonzero(parts == "A").tolist()
    assert sorted(target.arrays["pair"]) == np.flatnonzero(parts == "B").tolist()
    # The test split: paired, in one order, without skin tones.
    plain = [i for i in np.flatnonzero(parts == "test") if rows[i][3]]
    pairs = test.source.arrays["pair"]
    assert sorted(pairs) == plain and plain
    np.testing.assert_array_equal(pairs, test.target.arrays["pair"])
    everything = load("emoji/google", batch=4, data_dir=str(tmp_path))
    assert len(everything.train) == len(source) + len(target)
    first = everything.train.arrays["image"][everything.train.arrays["pair"] == 0]
    if len(first):
        assert first[0, 0, 0].tolist() == [255, 255, 255]


def test_recoloured(manual, tmp_path):
    sheets(manual, cells=6)
    pair = load_pair(
        "emoji/google", "emoji/recoloured", batch=4, data_dir=str(tmp_path)
    )
    ours, theirs = pair.test.source.arrays["image"], pair.test.target.arrays["image"]
    # Red becomes green, green blue, blue red.
    np.testing.assert_array_equal(theirs, ours[..., [2, 0, 1]])


@pytest.mark.parametrize("text", ["[]", '{"emoji": [[1, 2]]}', "no json"])
def test_an_index_that_is_none(manual, tmp_path, text):
    sheets(manual, cells=2)
    (manual / "emoji_index.json").write_text(text)
    refused("emoji", tmp_path, "emoji_index.json is not an index of emoji")


def test_a_sheet_that_is_none(manual, tmp_path):
    sheets(manual, cells=2)
    (manual / "emoji_google_64.png").write_bytes(b"no picture")
    refused("emoji", tmp_path, "emoji_google_64.png is not a usable picture")


def test_no_stock_builder_is_hidden():
    builders.register()
    names = tfds.list_builders()
    assert {"mnist", "moving_mnist", "tfgen_usps", "tfgen_emoji"} <= set(names)
    assert len([n for n in names if not n.startswith("tfgen_")]) > 200


# The real files ---------------------------------------------------------------------


@pytest.fixture
def real(shared_data, manual, tmp_path):
    for name in (
        "usps_raw/zip.train.gz",
        "usps_raw/zip.test.gz",
        "emoji_google_64.png",
        "emoji_twitter_64.png",
        "emoji_index.json",
    ):
        file = shared_data / "data" / name
        if not file.exists():
            pytest.skip(f"{file} is missing: set TFGEN_TEST_DATA")
        (manual / file.name).symlink_to(file.resolve())
    return str(tmp_path)


def test_real_usps(real, shared_data):
    data = load("usps", batch=4, data_dir=real)
    assert (len(data.train), len(data.test)) == (7291, 2007)
    counts = [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
    assert np.bincount(data.test.arrays["label"]).tolist() == counts
    with np.load(shared_data / "data" / "usps.npz") as given:
        rows = {x.tobytes() for x in given["x_train"]}
    assert {x.tobytes() for x in data.train.arrays["image"]} == rows


@pytest.mark.slow
def test_real_emoji(real):
    pair = load_pair("emoji/google", "emoji/twitter", batch=4, data_dir=real)
    with open(f"{real}/downloads/manual/emoji_index.json") as file:
        rows = json.load(file)["emoji"]
    splits = [pair.train.source, pair.train.target, pair.test.source]
    names = [{rows[i][1] for i in split.arrays["pair"]} for split in splits]
    assert names[0].isdisjoint(names[1]) and (names[0] | names[1]).isdisjoint(names[2])
    assert len(pair.test.source) >= 200
    assert min(map(len, splits[:2])) > 1400


# Notes ------------------------------------------------------------------------------


def test_without_a_soundfont(monkeypatch, tmp_path):
    monkeypatch.setattr(notes, "SYSTEM", ())
    refused("notes/small", tmp_path, "no SoundFont: put an .sf2 file into .*manual")


def test_without_fluidsynth(monkeypatch, tmp_path):
    monkeypatch.setattr(notes, "SYSTEM", (__file__,))
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    refused("notes/small", tmp_path, "FluidSynth is missing: pip install pyfluidsynth")


def test_a_soundfont_that_is_none(manual, tmp_path):
    pytest.importorskip("fluidsynth", reason="needs pyfluidsynth", exc_type=ImportError)
    (manual / "a.sf2").write_text("nothing")
    refused("notes/small", tmp_path, "a.sf2 is not a usable SoundFont")


class FewNotes(notes.TfgenNotes):
    """Some notes of the system's SoundFont."""

    name = "tfgen_few_notes"
    BUILDER_CONFIGS = [
        notes.NotesConfig(
            name="few",
            pitches=(48, 60, 72),
            programs=(0, 40, 73),
            velocities=tuple(range(40, 128, 8)),
            samples=16384,
        )
    ]


@pytest.mark.slow
def test_notes_of_a_soundfont(tmp_path):
    pytest.importorskip("fluidsynth", reason="needs pyfluidsynth", exc_type=ImportError)
    if not any(Path(path).is_file() for path in notes.SYSTEM):
        pytest.skip("the system has no SoundFont")
    data = load("tfgen_few_notes", batch=2, data_dir=str(tmp_path))
    assert len(data.train) + len(data.test) == 99
    assert data.spec.features["instrument"].classes[1] == "violin"
    arrays = data.train.arrays
    for audio, pitch in zip(arrays["audio"], arrays["pitch"], strict=True):
        wanted = fundamental.midi_hertz((48, 60, 72)[pitch])
        # Pianos are stretched, violins vibrate.
        found = fundamental.f0(audio[3000:11000], 16000)
        assert abs(fundamental.cents(found, wanted)) < 50
    # Louder keys sound louder.
    levels = np.abs(arrays["audio"].astype(float)).max(axis=1)
    loud, soft = (levels[arrays["velocity"] > 100], levels[arrays["velocity"] < 60])
    assert np.median(loud) > 1.5 * np.median(soft)
