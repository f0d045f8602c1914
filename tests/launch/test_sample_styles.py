"""A generator with styles: pictures of each mode of launch.sample, its path length."""

import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfgen
from launch import sample_styles
from tests.launch.made_runs import make_run
from tests.launch.test_sample import as_bytes, sample
from tests.synthetic import digits, stream
from tfgen.core import noise
from tfgen.core.errors import BadInput

SIDE, GAP = 8, 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("styles")
    np.savez(
        folder / "digits.npz", x_train=digits(8)["image"], x_test=digits(8, 16)["image"]
    )
    source = f"npz:{folder}/digits.npz"
    data = tfgen.data.load(source, batch=16)
    path, model = make_run(folder / "run", "stylegan2", data, source)
    # At the start the mean of w is 0 and noise has no say.
    return path, model


def tiles(picture, columns):
    """The images of a picture, uint8 `[rows, columns, SIDE, SIDE]`."""
    picture, step = np.pad(picture, ((0, GAP), (0, GAP))), SIDE + GAP
    parts = picture.reshape(len(picture) // step, step, columns, step)
    return parts.transpose(0, 2, 1, 3)[:, :, :SIDE, :SIDE].astype(int)


def drawn(run, launcher, columns, *flags):
    ended = sample(launcher, f"--workdir={run[0]}", "--seed=5", *flags)
    assert ended.code == 0, ended.stderr
    return tiles(np.asarray(Image.open(ended.json["out"])), columns), ended.json


def z_of(model, num, purpose="sample"):
    from tfgen.core import noise

    return noise.normal(5, 0, purpose, num, [model.config.latent_size])


@pytest.mark.slow
def test_grid_takes_psi(run, launcher):
    found, _ = drawn(run, launcher, 2, "--num=4", "--truncation=0.5")
    wanted = as_bytes(run[1], run[1].sample(4, 5, truncation=0.5))
    assert np.abs(found.reshape(4, SIDE, SIDE) - wanted).max() <= 1


def test_truncation(run, launcher):
    model = run[1]
    flags = ["--mode=truncation", "--num=2", "--columns=3", "--truncation=0.8"]
    found, _ = drawn(run, launcher, 3, *flags)
    for column, psi in enumerate((0.0, 0.4, 0.8)):
        wanted = as_bytes(model, model.generate(z_of(model, 2), psi))
        assert np.abs(found[:, column] - wanted).max() <= 1
    np.testing.assert_array_equal(found[0, 0], found[1, 0])  # the mean of w


@pytest.mark.slow
def test_mixtures_have_coarse_styles_of_the_left(run, launcher):
    model = run[1]
    flags = ["--mode=mix", "--num=3", "--crossover=1"]
    found, told = drawn(run, launcher, 4, *flags)
    assert (told["images"], told["crossover"]) == (15, 1)
    w = model.map(z_of(model, 6)).numpy()
    sources = as_bytes(model, model.synthesize(w))
    assert np.abs(found[1:, 0] - sources[:3]).max() <= 1
    assert np.abs(found[0, 1:] - sources[3:]).max() <= 1
    mixed = np.concatenate([w[1, :1], w[5, 1:]])[None]
    assert np.abs(found[2, 3] - as_bytes(model, model.synthesize(mixed))[0]).max() <= 1
    refused = sample(launcher, f"--workdir={run[0]}", "--mode=mix", "--crossover=9")
    assert refused.code == 2 and "valid: 0 to 4" in refused.stderr
    flags = ["--mode=mix", "--truncation=0.5", "--truncation_layers=9"]
    refused = sample(launcher, f"--workdir={run[0]}", *flags)
    assert refused.code == 2 and "valid: 1 to 4" in refused.stderr


@pytest.mark.slow
def test_a_walk_passes_its_stops(run, launcher, tmp_path):
    model, out = run[1], tmp_path / "walk.gif"
    flags = ["--mode=walk", "--num=1", "--columns=2", f"--out={out}", "--seed=5"]
    ended = sample(launcher, f"--workdir={run[0]}", *flags)
    assert ended.code == 0, ended.stderr
    with Image.open(out) as film:
        assert film.n_frames == 2 * sample_styles.STOPS
        stops = []
        for number in range(0, film.n_frames, 2):
            film.seek(number)
            stops.append(np.asarray(film.convert("L"), int))
    w = model.map(z_of(model, sample_styles.STOPS, "walk"))
    assert np.abs(stops - as_bytes(model, model.synthesize(w))).max() <= 1
    refused = sample(launcher, f"--workdir={run[0]}", "--mode=walk", "--out=walk.png")
    assert refused.code == 2 and ".gif or .mp4" in refused.stderr


@pytest.mark.parametrize(("psi", "layers"), [(1.0, None), (0.5, None), (0.5, 3)])
@pytest.mark.parametrize("mode", ["truncation", "mix", "walk"])
def test_styles_are_drawn_to_their_mean(mode, psi, layers, monkeypatch):
    # A mapping w = z A + 1, the same for each of 4 copies, and what is made of w.
    a, made = np.random.default_rng(0).normal(size=[3, 3]).astype("float32"), []

    def mapped(name, z, psi=None):
        if name == "generate":  # truncates as the model does, by a mean of its own
            return np.zeros([len(z), SIDE, SIDE, 1], "float32")
        return np.tile((z @ a + 1)[:, None], [1, 4, 1])

    def synthesize(source, w):
        made.append(w)
        return np.zeros([len(w), SIDE, SIDE, 1], "float32")

    monkeypatch.setattr(sample_styles, "_synthesize", synthesize)
    source = types.SimpleNamespace(
        signatures={"map": {"inputs": {"z": {"shape": [None, 3]}}}},
        takes_label=False,
        images=mapped,
        spec=stream(SIDE).spec,
    )
    source.spec = source.spec.for_images("test", low=-1.0, high=1.0)
    num = {"truncation": 4, "mix": 2, "walk": 1}[mode]
    flags = {"num": num, "seed": 5, "columns": 2, "crossover": 1}
    flags |= {"truncation": psi, "truncation_layers": layers}
    flags = types.SimpleNamespace(**flags)
    sample_styles.MODES[mode](source, flags)
    if mode == "truncation" and layers is None:
        assert not made
        return

    def z_of(purpose, num):
        return noise.normal(5, 0, purpose, num, [3]).numpy().astype("float64")

    mean = np.mean(z_of("centre", sample_styles.CENTRE) @ a + 1, axis=0)
    z = z_of("sample" if mode != "walk" else "walk", 4)
    if mode == "walk":  # each stop, and half way along the great circle to the next
        after = np.roll(z, -1, axis=0)
        lengths = np.linalg.norm(z, axis=1) * np.linalg.norm(after, axis=1)
        cosine = np.sum(z * after, axis=1) / lengths
        between = (z + after) / np.sqrt(2 + 2 * cosine)[:, None]
        z = np.stack([z, between], axis=1).reshape([-1, 3])
    shares = [0.0, psi] if mode == "truncation" else [psi]
    for share, w in zip(shares, made, strict=True):
        for copy in range(4):
            of_copy = share if copy < (layers or 4) else 1.0
            wanted = mean + of_copy * (z @ a + 1 - mean)
            np.testing.assert_allclose(w[: len(z), copy], wanted, atol=1e-5)


def test_layers_to_truncate_are_layers():
    w = np.zeros([1, 4, 3], "float32")
    with pytest.raises(BadInput, match="--truncation_layers=5; valid: 1 to 4"):
        sample_styles._truncated(w, w[0], 0.5, 5)
    flags = types.SimpleNamespace(truncation=1.0, truncation_layers=2)
    source = types.SimpleNamespace(images=lambda *_: w)
    with pytest.raises(BadInput, match="--truncation_layers needs --truncation"):
        sample_styles._mapped(source, flags, w, [])


@pytest.mark.slow
def test_projection(run, launcher):
    flags = ["--mode=project", "--num=2", "--projection_steps=3", "--extractor=pca:4"]
    found, told = drawn(run, launcher, 2, *flags)
    assert found.shape[:2] == (2, 2)
    assert told["extractor"] == "pca:4" and told["distance"] > 0
    kept = np.load(run[0] / "samples" / "project_projection.npz")
    model = run[1]
    copies = np.tile(kept["w"][:, None], [1, model.generator.copies, 1])
    made = as_bytes(model, model.synthesize(copies, tf.constant(kept["noise"])))
    assert np.abs(found[:, 1] - made).max() <= 1


def test_what_has_no_styles_says_so(launcher, tmp_path, pictures):
    data = tfgen.data.load(pictures, batch=16, validation_fraction=0.25)
    path, _ = make_run(tmp_path / "gan", "wgan_gp", data, pictures, validation=0.25)
    for flags, words in (
        (["--mode=project"], "no mode 'project' for wgan_gp; valid: grid, interpolate"),
        (["--truncation=0.5"], "wgan_gp has no mean of w"),
    ):
        ended = sample(launcher, f"--workdir={path}", *flags)
        assert ended.code == 2
        assert words in ended.errors[0]


def test_films(tmp_path):
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, [3, 33, 40, 3], dtype=np.uint8)
    sample_styles.write_film(tmp_path / "film.gif", frames, rate=10)
    with Image.open(tmp_path / "film.gif") as film:
        assert (film.n_frames, film.size) == (3, (40, 33))
        assert film.info["duration"] == 100
    pytest.importorskip("imageio_ffmpeg")
    sample_styles.write_film(tmp_path / "film.mp4", frames)
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.slow
def test_path_length(run, launcher):
    from tfgen.metrics import extractor, path_length

    flags = [f"--workdir={run[0]}", "--metrics=ppl", "--extractor=pca:5", "--num=8"]
    ended = launcher.run(*flags, module="launch.evaluate")
    assert ended.code == 0, ended.stderr
    network = extractor("pca:5", digits(8)["image"])
    wanted = path_length.measure(run[1], network, 8)
    assert ended.json["metrics"]["ppl"] == pytest.approx(wanted.value, rel=1e-3)
    assert ended.json["standard_errors"]["ppl"] == pytest.approx(wanted.error, rel=1e-3)
