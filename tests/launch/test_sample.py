"""launch.sample: every mode's picture holds the images it should."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import tfgen
from launch import latents, sample_modes
from tests.launch.made_runs import make_run
from tfgen.core import checkpoint
from tfgen.core.spec import to_uint8

SIDE, GAP = 12, 2


@pytest.fixture(scope="module")
def runs(tmp_path_factory, pictures):
    data = tfgen.data.load(pictures, batch=16, validation_fraction=0.25)
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: make_run(folder / name, name, data, pictures, validation=0.25, **more)
        for name, more in {
            "vae": {"hparams": {"latent_size": 2}},
            "wgan_gp": {},
            "classifier": {},
            "dcgan": {"hparams": {"image_size": 12}},
            "cgan": {},
            "cvae": {},
            "ae": {"hparams": {"latent_size": 2}},
        }.items()
    }


def sample(launcher, *flags):
    return launcher.run(*flags, module="launch.sample")


def tiles(path, columns):
    """The images of a picture, uint8 `[rows, columns, SIDE, SIDE]`."""
    picture = np.asarray(Image.open(path))
    picture = np.pad(picture, ((0, GAP), (0, GAP)))
    step = SIDE + GAP
    parts = picture.reshape(len(picture) // step, step, columns, step)
    return parts.transpose(0, 2, 1, 3)[:, :, :SIDE, :SIDE]


def as_bytes(model, images):
    return to_uint8(np.asarray(images), model.spec.image)[..., 0]


def test_grid_of_a_run_and_of_its_export(runs, launcher, tmp_path):
    path, model = runs["wgan_gp"]
    ended = sample(launcher, f"--workdir={path}", "--num=6", "--seed=5")
    assert ended.code == 0, ended.stderr
    assert ended.json["out"] == str(path / "samples" / "grid.png")
    expected = as_bytes(model, model.sample(6, seed=5)).reshape(2, 3, SIDE, SIDE)
    found = tiles(ended.json["out"], 3)
    assert np.abs(found.astype(int) - expected).max() <= 1

    tfgen.export(model, tmp_path / "export")
    flags = [f"--saved_model={tmp_path}/export", "--num=6", "--seed=5"]
    again = sample(launcher, *flags, f"--out={tmp_path}/grid.png")
    assert again.code == 0, again.stderr
    np.testing.assert_array_equal(tiles(tmp_path / "grid.png", 3), found)


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_interpolation_joins_samples(runs, launcher, tmp_path, path):
    workdir, model = runs["vae"]
    out = tmp_path / "between.png"
    flags = [f"--workdir={workdir}", "--mode=interpolate", "--num=2", "--columns=4"]
    ended = sample(launcher, *flags, f"--path={path}", f"--out={out}", "--seed=1")
    assert ended.code == 0, ended.stderr
    found = tiles(out, 4).astype(int)
    assert found.shape[0] == 2
    ends = as_bytes(model, model.sample(4, seed=1))
    assert np.abs(found[:, 0] - ends[:2]).max() <= 1
    assert np.abs(found[:, -1] - ends[2:]).max() <= 1


def test_manifold_is_the_plane_of_latents(runs, launcher):
    path, model = runs["vae"]
    ended = sample(launcher, f"--workdir={path}", "--mode=manifold", "--num=9")
    assert ended.code == 0, ended.stderr
    found = tiles(ended.json["out"], 3).astype(int)
    # Quantiles of the normal at 1/6, 1/2, 5/6.
    q = 0.967421566
    corner, centre = as_bytes(model, model.decode(np.float32([[-q, q], [0, 0]])))
    assert np.abs(found[0, 0] - corner).max() <= 1
    assert np.abs(found[1, 1] - centre).max() <= 1
    # Six pairs of neighbours across, six down; bytes are rounded, by 1/2 a pixel.
    apart = [
        np.linalg.norm((found[a] - found[b]) / 255)
        for row in range(3)
        for step in range(2)
        for a, b in (
            ((row, step), (row, step + 1)),
            ((step, row), (step + 1, row)),
        )
    ]
    assert ended.json["jump_largest"] == pytest.approx(max(apart), abs=0.05)
    assert ended.json["jump_mean"] == pytest.approx(np.mean(apart), abs=0.05)
    ratio = ended.json["jump_largest"] / ended.json["jump_mean"]
    assert ended.json["jump_ratio"] == pytest.approx(ratio) and ratio > 1


def test_jumps_of_a_square_of_tiles():
    # Pixels of tile (row, column): steps of 1 across; down 2, and once 7. Two pixels.
    down = np.array([0, 2, 4, 11])
    tiles = down[:, None] + np.arange(4)
    images = np.repeat(tiles.reshape(16, 1, 1, 1), 2, axis=2).astype("uint8")
    found, root = latents.jumps(images, 4), 2**0.5
    assert found["jump_mean"] == pytest.approx(root * (12 * 1 + 4 * (2 + 2 + 7)) / 24)
    assert found["jump_largest"] == pytest.approx(root * 7)
    assert found["jump_ratio"] == pytest.approx(7 / (56 / 24))
    assert latents.jumps(np.ones([4, 2, 2, 1]), 2)["jump_ratio"] is None


def test_reconstructions_lie_below_their_images(runs, launcher, pictures):
    path, model = runs["vae"]
    flags = [f"--workdir={path}", "--mode=reconstruct", "--num=3"]
    ended = sample(launcher, *flags)
    assert ended.code == 0, ended.stderr
    found = tiles(ended.json["out"], 3)
    assert found.shape[0] == 2
    data = tfgen.data.load(pictures, batch=16, seed=3, validation_fraction=0.25)
    held_out = np.asarray(data.validation.arrays["image"])[..., 0]
    for image in found[0]:
        assert (held_out == image).all(axis=(1, 2)).any()
    made = as_bytes(model, model.reconstruct(found[0][..., None] / np.float32(255)))
    assert np.abs(found[1].astype(int) - made).max() <= 1


def test_reconstructions_of_several_saves(runs, launcher, tmp_path):
    path, model = runs["vae"]
    out = tmp_path / "strip.png"
    flags = [f"--workdir={path}", "--mode=reconstruct", "--num=3", f"--out={out}"]
    later = tfgen.load(path)
    later.step.assign(5)
    later.decoder.set_weights([w + 0.3 for w in later.decoder.get_weights()])
    checkpoint.save(later, path / "checkpoints")
    ended = sample(launcher, *flags, "--at=0,5")
    checkpoint.path_of(path / "checkpoints", 5).unlink()  # others look at this run
    assert ended.code == 0, ended.stderr
    found = tiles(out, 3)
    assert found.shape[0] == 3
    originals = found[0][..., None] / np.float32(255)
    for row, each in zip(found[1:], (model, later), strict=True):
        made = as_bytes(each, each.reconstruct(originals))
        assert np.abs(row.astype(int) - made).max() <= 1
    assert np.abs(found[1].astype(int) - found[2]).max() > 10
    ended = sample(launcher, *flags, "--at=7")
    assert ended.code == 2
    assert "7" in ended.errors[0]


def test_latents_of_two_runs_side_by_side(runs, launcher, tmp_path, events):
    (vae, _), (ae, _), (gan, _) = (runs[name] for name in ("vae", "ae", "wgan_gp"))
    heights = []
    for number, more in enumerate(([], [f"--beside={ae}"])):
        out = tmp_path / f"{number}.png"
        flags = [f"--workdir={vae}", "--mode=latents", f"--out={out}"]
        ended = sample(launcher, *flags, *more)
        assert ended.code == 0, ended.stderr
        picture = np.asarray(Image.open(out))
        assert picture.ndim == 3
        heights.append(len(picture))
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)
    assert len(events(vae)["latents"][0]) == 2  # two pictures of step 0
    refused = sample(launcher, *flags, f"--beside={gan}")
    assert refused.code == 2
    assert "no model of a latent plane" in refused.errors[0]


@pytest.mark.parametrize("name", ["vae", "ae"])
def test_tensorboard_reads_the_projector(runs, launcher, name):
    """Through the plugin itself: codes, labels and the sprite are of the same rows."""
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
    from werkzeug.test import Client

    path, model = runs[name]
    ended = sample(launcher, f"--workdir={path}", "--mode=projector", "--num=10")
    assert ended.code == 0, ended.stderr
    assert ended.json["out"] == str(path / "tensorboard" / "sprite.png")
    ((code, size),) = ended.json["codes"].items()
    assert (ended.json["images"], size) == (10, 2)

    plugin = ProjectorPlugin(TBContext(logdir=str(path / "tensorboard")))
    apps = plugin.get_plugin_apps()

    def get(route, **query):
        answer = Client(apps[route]).get("/", query_string={"run": ".", **query})
        assert answer.status_code == 200, answer.data
        return answer

    assert get("/runs").json == ["."]
    (embedding,) = get("/info").json["embeddings"]
    assert embedding["tensorName"] == code
    assert embedding["tensorShape"] == [10, 2]
    assert embedding["sprite"]["singleImageDim"] == [SIDE, SIDE]
    codes = np.frombuffer(get("/tensor", name=code).data, "float32").reshape(10, 2)
    labels = [int(line) for line in get("/metadata", name=code).text.splitlines()]
    sprite = get("/sprite_image", name=code).data
    sprite = np.asarray(Image.open(io.BytesIO(sprite)))
    # Four images a row: the last two of twelve are blank.
    assert sprite.shape == (3 * SIDE, 4 * SIDE)
    images = sprite.reshape(3, SIDE, 4, SIDE).swapaxes(1, 2).reshape(12, SIDE, SIDE)
    encoded = model.encode(images[:10, ..., None] / np.float32(255))
    encoded = encoded["mean"] if isinstance(encoded, dict) else encoded
    np.testing.assert_allclose(codes, encoded, atol=1e-5)
    held_out = tfgen.data.load(
        json.loads((path / "config.json").read_text())["dataset"],
        batch=16,
        seed=3,
        validation_fraction=0.25,
    ).validation.arrays
    pairs = zip(np.asarray(held_out["image"])[..., 0], held_out["label"], strict=True)
    known = {image.tobytes(): label for image, label in pairs}
    assert [known[image.tobytes()] for image in images[:10]] == labels
    assert len(set(labels)) > 1


def test_codes_of_several_layers_and_no_labels(tmp_path):
    from tfgen.callbacks.projector import most_rows, write_projector

    images = np.zeros([5, 3, 4, 3], "uint8")
    codes = {"mean_1": np.float32(np.eye(5)), "mean_2": np.full([5, 2], 1 / 3)}
    write_projector(tmp_path / "new" / "all.png", codes, images)
    text = (tmp_path / "new" / "projector_config.pbtxt").read_text()
    assert text.count('image_path: "all.png"') == 2
    assert "single_image_dim: 4\n    single_image_dim: 3" in text
    assert "metadata" not in text
    assert (tmp_path / "new" / "mean_2.tsv").read_text() == (
        "\t".join([str(1 / 3)] * 2) + "\n"
    ) * 5
    # Browsers take 8192 x 8192.
    assert most_rows((28, 28, 1)) == 292**2
    assert most_rows((256, 64, 3)) == 1024


def test_refusals(runs, launcher, tmp_path):
    vae, gan, classifier = (runs[name][0] for name in ("vae", "wgan_gp", "classifier"))
    cases = {
        (): "either --workdir or --saved_model",
        (f"--workdir={gan}", "--mode=manifold"): "valid: grid, interpolate",
        (f"--workdir={vae}", "--mode=collage"): (
            "valid: grid, interpolate, manifold, reconstruct"
        ),
        (f"--workdir={classifier}",): "does not make images",
        (f"--workdir={vae}", "--num=0"): "--num",
        (f"--workdir={vae}", "--num=99999"): "lower --num",
        (f"--workdir={gan}", "--mode=mix", "--num=100"): "10200 images are more than",
        (f"--workdir={gan}", "--mode=walk", "--num=300"): "12000 images are more than",
        (f"--workdir={vae}", "--columns=4"): "read by --mode=interpolate, complete, ",
        (f"--workdir={vae}", "--mode=reconstruct", "--label=1"): "--label is read by",
        (f"--workdir={vae}", "--mode=arithmetic", "--num=9"): "--num is read by",
        (f"--workdir={vae}", "--truncation=nan"): "--truncation=nan is not a finite",
        (f"--workdir={vae}", "--out=picture.jpg"): ".png",
        (f"--workdir={vae}", f"--out={tmp_path}/no/a.png"): "no folder",
        (f"--saved_model={vae}", f"--out={tmp_path}/a.png"): "no export",
        (f"--saved_model={vae}",): "--out is needed",
    }
    for flags, words in cases.items():
        ended = sample(launcher, *flags)
        assert ended.code == 2, (flags, ended.stderr)
        assert len(ended.errors) == 1 and words in ended.errors[0], ended.errors
    assert list(tmp_path.iterdir()) == []


def test_num_is_told_for_each_mode_that_counts_its_own_way():
    assert set(sample_modes.NUM) <= set(sample_modes.READ_BY["num"])
    told = sample_modes.num_help()
    for words in ("Images [64]", "classes: images of each class [64]", "side [6]"):
        assert words in told


def test_completions_of_held_out_images(runs, launcher):
    path, model = runs["cvae"]
    flags = [f"--workdir={path}", "--mode=complete", "--num=3", "--columns=4"]
    ended = sample(launcher, *flags, "--seed=2")
    assert ended.code == 0, ended.stderr
    found = tiles(ended.json["out"], 7)
    assert len(found) == 3
    observed, image, prediction = np.moveaxis(found[:, :3], 1, 0)
    # One quadrant, bottom left, is observed; it is kept in every completion.
    half = SIDE // 2
    for others in (observed, prediction, *np.moveaxis(found[:, 3:], 1, 0)):
        np.testing.assert_array_equal(others[:, half:, :half], image[:, half:, :half])
    assert np.all(observed[:, :half] == 128)
    assert len(np.unique(found[:, 3:].reshape(12, -1), axis=0)) == 12
    expected = as_bytes(model, model.reconstruct(image[..., None] / np.float32(255)))
    assert np.abs(prediction.astype(int) - expected).max() <= 1


def test_spherical_path_keeps_to_the_sphere():
    first, last = np.float32([[3, 0, 0]]), np.float32([[0, 3, 0]])
    share = np.linspace(0, 1, 5, dtype="float32")[:, None]
    path = latents.spherical(first, last, share)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 3, rtol=1e-6)
    np.testing.assert_allclose(path[2], [4.5**0.5, 4.5**0.5, 0], rtol=1e-6)
    # Parallel and opposite latents have no circle: the straight path, no NaN.
    for other in (2 * first, -first):
        straight = latents.linear(first, other, share)
        np.testing.assert_allclose(latents.spherical(first, other, share), straight)


def test_classes(runs, launcher, tmp_path):
    path, model = runs["cgan"]
    out = tmp_path / "classes.png"
    flags = [f"--workdir={path}", "--mode=classes", "--num=4", "--seed=2"]
    ended = sample(launcher, *flags, f"--out={out}")
    assert ended.code == 0, ended.stderr
    z, classes = model.prior(4, 2).numpy(), model.spec.num_classes
    images = model.decode(np.tile(z, [classes, 1]), np.repeat(np.arange(classes), 4))
    expected = as_bytes(model, images).reshape(classes, 4, SIDE, SIDE)
    assert np.abs(tiles(out, 4).astype(int) - expected).max() <= 1
    ended = sample(
        launcher, *flags[:1], "--label=1", "--num=4", "--seed=2", f"--out={out}"
    )
    assert ended.code == 0, ended.stderr
    expected = as_bytes(model, model.decode(z, np.ones(4, int))).reshape(
        2, 2, SIDE, SIDE
    )
    assert np.abs(tiles(out, 2).astype(int) - expected).max() <= 1
    for bad, says in (
        ("--label=99", "valid: 0 to"),
        ("--num=5000", "images are more than 10000: lower --num"),
        ("--mode=arithmetic", "is of one --label"),
        ("--exemplars=1:2:3", "--exemplars is read by --mode=arithmetic only"),
        ("--crossover=1", "--crossover is read by --mode=mix only"),
    ):
        mode = ["--mode=classes"] if bad.startswith("--num") else []
        ended = sample(launcher, *flags[:1], bad, *mode, f"--out={out}")
        assert ended.code == 2
        assert says in ended.stderr


def test_a_path_is_of_one_class(runs, launcher, tmp_path):
    path, model = runs["cgan"]
    out = tmp_path / "between.png"
    flags = [f"--workdir={path}", "--mode=interpolate", "--num=2", "--columns=3"]
    ended = sample(launcher, *flags, "--seed=2", f"--out={out}")
    assert ended.code == 0, ended.stderr
    ends = model.prior(4, 2).numpy()[[0, 2, 1, 3]]  # of row 0, of row 1
    images = model.decode(ends, np.array([0, 0, 1, 1]))
    expected = as_bytes(model, images).reshape(2, 2, SIDE, SIDE)
    assert np.abs(tiles(out, 3)[:, [0, 2]].astype(int) - expected).max() <= 1


def test_arithmetic_is_of_averages(runs, launcher, tmp_path):
    path, model = runs["dcgan"]
    out = tmp_path / "sum.png"
    flags = [f"--workdir={path}", "--mode=arithmetic", "--seed=2", f"--out={out}"]
    ended = sample(launcher, *flags, "--exemplars=0,3,5:1,2,9:4,6,7")
    assert ended.code == 0, ended.stderr
    z = model.prior(10, 2).numpy()[[[0, 3, 5], [1, 2, 9], [4, 6, 7]]]
    assert np.abs(z).max() <= 1  # the network's own prior, a cube
    mean = z.mean(axis=1)
    rows = np.concatenate([z, mean[:, None]], axis=1).reshape([12, -1])
    found = tiles(out, 4).astype(int)
    expected = as_bytes(model, model.decode(rows)).reshape(3, 4, SIDE, SIDE)
    assert np.abs(found[:3] - expected).max() <= 1
    (result,) = as_bytes(model, model.decode(mean[:1] - mean[1:2] + mean[2:]))
    assert np.abs(found[3, 0] - result).max() <= 1
    for bad in ("0,3:1,2", "0,3:1,2:4", "a:b:c", "0:1:-2"):
        assert sample(launcher, *flags, f"--exemplars={bad}").code == 2
