"""Whatever is wrong with what was given: one line, the exit code, nothing damaged."""

import io
import json
import pathlib
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
VAE = ["--model=vae", "--preset=tiny", "--batch=16", "--steps=6"]
MEASURED = ["--preset=tiny", "--eval_every=2", "--validation_fraction=0.5"]
HUGE = 10**30


def refused(ended, code, *words):
    """Assert that a command ended as design section 4 says."""
    assert len(ended.errors) == 1, ended.stderr
    assert ended.stderr.splitlines()[-1] == ended.errors[0]
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    for word in words:
        assert word in ended.errors[0]
    assert ended.code == code, ended.errors


FLAGS = {
    "no model": ([], ["--model", "wgan_gp"]),
    "misspelt model": (["--model=vea"], ["'vea'", "did you mean vae?", "classifier"]),
    "empty model": (["--model="], ["unknown model", "classifier"]),
    "model in no module": (["--model=no.such:Model"], ["no.such:Model"]),
    "model not in its module": (["--model=tests.toy_gan:Nothing"], ["Nothing"]),
    "model of another kind": (["--model=json:JSONDecoder"], ["not a subclass"]),
    "unknown preset": (
        ["--model=vae", "--preset=big"],
        ["'big'", "paper, small, tiny"],
    ),
    "unknown flag": ([*VAE, "--stepz=5"], ["--stepz", "--steps"]),
    "argument that is no flag": ([*VAE, "runs/a"], ["'runs/a'"]),
    "flag without its value": (["--model=vae", "--batch"], ["--batch"]),
    "no rows": ([*VAE, "--batch=0"], ["--batch"]),
    "rows that are no number": ([*VAE, "--batch=many"], ["--batch", "many"]),
    "negative steps": ([*VAE, "--steps=-1"], ["--steps"]),
    "steps with a fraction": ([*VAE, "--steps=1.5"], ["--steps"]),
    "negative seed": ([*VAE, "--seed=-1"], ["--seed"]),
    "seed too large": ([*VAE, f"--seed={2**31}"], ["--seed"]),
    "unknown xla": ([*VAE, "--xla=maybe"], ["--xla", "auto"]),
    "unknown precision": ([*VAE, "--precision=float16"], ["--precision", "bfloat16"]),
    "unknown strategy": ([*VAE, "--strategy=some"], ["--strategy", "mirrored"]),
    "unknown resume": ([*VAE, "--resume=perhaps"], ["--resume", "must"]),
    "unknown on_nan": ([*VAE, "--on_nan=ignore"], ["--on_nan", "skip"]),
    "no saves": ([*VAE, "--save_every=0"], ["--save_every"]),
    "hparam without =": ([*VAE, "--hparam=latent_size"], ["name=value"]),
    "hparam without name": ([*VAE, "--hparam==5"], ["name=value"]),
    "misspelt hparam": (
        [*VAE, "--hparam=latent_sise=5"],
        ["'latent_sise'", "did you mean latent_size?"],
    ),
    "hparam of another type": (
        [*VAE, "--hparam=latent_size=ten"],
        ["latent_size", "int"],
    ),
    "hparam zero": ([*VAE, "--hparam=latent_size=0"], ["at least 1"]),
    "hparam negative": ([*VAE, "--hparam=learning_rate=-1"], ["above 0"]),
    "hparam NaN": ([*VAE, "--hparam=learning_rate=nan"], ["learning_rate=nan"]),
    "hparam NaN for int": ([*VAE, "--hparam=latent_size=nan"], ["latent_size"]),
    "hparam infinite": ([*VAE, "--hparam=learning_rate=inf"], ["learning_rate=inf"]),
    "hparam of no choice": ([*VAE, "--hparam=likelihood=poisson"], ["bernoulli"]),
    "hparam list of words": ([*VAE, "--hparam=hidden=16,x"], ["hidden"]),
    "hparam list with zero": (
        [*VAE, "--hparam=hidden=16,0"],
        ["cannot be built", "units=0"],
    ),
    "hparam that leaves no pixels": (
        ["--model=classifier", "--preset=tiny", "--hparam=image_size=2"],
        ["cannot be built", "output size would be zero"],
    ),
    "hparam too large for int64": (
        [*VAE, f"--hparam=latent_size={HUGE}"],
        ["vae", "out-of-range"],
    ),
    "hparam too large for memory": ([*VAE, "--hparam=hidden=100000000000"], ["memory"]),
    "fraction above 0.9": (
        [*VAE, "--validation_fraction=1.5"],
        ["validation_fraction"],
    ),
    "fraction NaN": ([*VAE, "--validation_fraction=nan"], ["validation_fraction"]),
    "fraction without rows": (
        [*VAE, "--validation_fraction=0.001"],
        ["validation_fraction", "0 to validate"],
    ),
    "validation without rows": ([*VAE, "--eval_every=2"], ["--validation_fraction"]),
    "metrics of a model that draws nothing": (
        ["--model=classifier", *MEASURED, "--metrics=frechet"],
        ["--metrics", "classifier does not draw"],
    ),
    "metrics of labels": (
        [*VAE, *MEASURED, "--metrics=labels,frechte"],
        ["--metrics=frechte,labels", "frechet, kernel", "launch.evaluate"],
    ),
    "extractor without metrics": ([*VAE, "--extractor=pixels"], ["with --metrics"]),
    "broken files of an archive": ([*VAE, "--on_corrupt=skip"], ["folder:PATH"]),
    "validation of a model that has none": (
        ["--model=tests.toy_gan:ToyGAN", *MEASURED],
        ["no test_step", "--metrics"],
    ),
    "executions that do not divide": (
        [*VAE, "--steps_per_execution=4"],
        ["--steps=6", "--steps_per_execution=4"],
    ),
    "profile of words": ([*VAE, "--profile=now"], ["FIRST:LAST"]),
    "profile backwards": ([*VAE, "--profile=5:3"], ["FIRST:LAST"]),
    "profile beyond the end": ([*VAE, "--profile=3:7"], ["--profile=3:7", "step 6"]),
    "one local worker": ([*VAE, "--local_workers=1"], ["2 workers"]),
    "local workers of another strategy": (
        [*VAE, "--local_workers=2", "--strategy=mirrored"],
        ["--strategy=multi_worker"],
    ),
    "replicas of one device": ([*VAE, "--replicas=2"], ["--strategy=mirrored"]),
    "rows that do not divide": (
        [*VAE, "--batch=15", "--strategy=mirrored", "--replicas=2"],
        ["15", "14 or 16"],
    ),
    "no TPU": ([*VAE, "--strategy=tpu"], ["no TPU", "mirrored"]),
    "workers that nobody named": ([*VAE, "--strategy=multi_worker"], ["TF_CONFIG"]),
    "unknown recipe": (["--recipe", "quickstar"], ["mean quickstart?", "usps_mnist"]),
    "recipe without name": (["--recipe"], ["--recipe=NAME needs a name", "usps_mnist"]),
    "no such flagfile": (["--flagfile=/nowhere.flags"], ["/nowhere.flags"]),
    "no run to resume": ([*VAE, "--resume=must"], ["--resume=must"]),
    "no run to start from": ([*VAE, "--init_from=/nowhere"], ["/nowhere"]),
}


@pytest.mark.parametrize("case", FLAGS)
def test_flags(launcher, pictures, tmp_path, case):
    arguments, words = FLAGS[case]
    ended = launcher.run(
        f"--workdir={tmp_path / 'run'}", f"--dataset={pictures}", *arguments
    )
    refused(ended, 2, *words)
    # What was refused is no run: the corrected command must not find another one.
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("pca:x", "choose one of pixels"),
        ("saved_model:/nowhere", "no saved_model.pb"),
        ("keras:VGG16:/nowhere", "no such file"),
    ],
)
def test_an_extractor_that_there_is_not(launcher, pictures, tmp_path, name, word):
    given = [f"--workdir={tmp_path / 'run'}", f"--dataset={pictures}", *MEASURED]
    given += ["--model=wgan", "--metrics=frechet", f"--extractor={name}"]
    refused(launcher.run(*given), 2, name, word)
    assert not (tmp_path / "run").exists()


def test_other_data_than_the_run_began_with(launcher, tmp_path):
    path, rows = tmp_path / "data.npz", np.zeros([64, 12, 12, 1], "uint8")
    flags = [*VAE, f"--workdir={tmp_path / 'run'}", f"--dataset=npz:{path}"]
    np.savez(path, x_train=rows)
    assert launcher.run(*flags).code == 0
    assert launcher.run(*flags).json["executed"] == 0
    np.savez(path, x_train=rows[:48])
    refused(launcher.run(*flags, "--steps=8"), 2, "has other examples", "--workdir")


@pytest.mark.parametrize("given", [[], ["--workdir="]])
def test_no_workdir(launcher, pictures, given):
    ended = launcher.run(*VAE, f"--dataset={pictures}", *given)
    refused(ended, 2, "--workdir")


WORKERS = ["127.0.0.1:1", "127.0.0.1:2"]
CLUSTERS = {
    "not JSON": "{worker",
    "a list": "[]",
    "no task": json.dumps({"cluster": {"worker": WORKERS}}),
    "a task of no worker": json.dumps(
        {"cluster": {"worker": WORKERS}, "task": {"type": "worker", "index": 2}}
    ),
    "a task of another kind": json.dumps(
        {"cluster": {"worker": WORKERS}, "task": {"type": "cook", "index": 0}}
    ),
    "an address without port": json.dumps(
        {
            "cluster": {"worker": ["127.0.0.1", "127.0.0.2"]},
            "task": {"type": "worker", "index": 0},
        }
    ),
    "a number of workers": json.dumps(
        {"cluster": {"worker": 2}, "task": {"type": "worker", "index": 0}}
    ),
}


@pytest.mark.parametrize("case", CLUSTERS)
def test_cluster(launcher, pictures, tmp_path, case):
    workdir = f"--workdir={tmp_path / 'run'}"
    given = [*VAE, workdir, f"--dataset={pictures}"]
    refused(launcher.run(*given, TF_CONFIG=CLUSTERS[case]), 2, "TF_CONFIG")


def _broken_picture(folder):
    (folder / "pictures").mkdir()
    Image.new("L", (12, 12)).save(folder / "pictures" / "a.png")
    whole = (folder / "pictures" / "a.png").read_bytes()
    (folder / "pictures" / "b.png").write_bytes(whole[: len(whole) // 2])
    return f"folder:{folder / 'pictures'}"


def _two_sizes(folder):
    (folder / "pictures").mkdir()
    Image.new("L", (12, 12)).save(folder / "pictures" / "a.png")
    Image.new("L", (10, 12)).save(folder / "pictures" / "b.png")
    return f"folder:{folder / 'pictures'}"


def _no_pictures(folder):
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.txt").write_text("a picture\n")
    return f"folder:{folder / 'pictures'}"


def _npz(**arrays):
    def make(folder):
        np.savez(folder / "x.npz", **arrays)
        return f"npz:{folder / 'x.npz'}"

    return make


def _truncated(folder):
    _npz(images=np.zeros([50, 12, 12], "uint8"))(folder)
    whole = (folder / "x.npz").read_bytes()
    (folder / "x.npz").write_bytes(whole[: len(whole) // 2])
    return f"npz:{folder / 'x.npz'}"


def _bomb(folder):
    """A megabyte that would decompress to a gigabyte of zeros, 20 times over."""
    header = io.BytesIO()
    rows = 20 * 2**30 // 1024
    description = {"descr": "|u1", "fortran_order": False, "shape": (rows, 32, 32)}
    np.lib.format.write_array_header_1_0(header, description)
    with zipfile.ZipFile(folder / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as member:
            member.write(header.getvalue())
            member.write(bytes(2**20))
    # The directory promises all of it.
    return f"npz:{folder / 'x.npz'}"


def _pickle(folder):
    (folder / "x.npz").write_bytes(pickle.dumps({"images": [1, 2, 3]}))
    return f"npz:{folder / 'x.npz'}"


IMAGES = np.zeros([32, 12, 12], "uint8")
DATA = {
    "no such npz": (lambda folder: f"npz:{folder}/none.npz", "vae", ["none.npz"]),
    "npz that is a folder": (lambda folder: f"npz:{folder}", "vae", ["not a file"]),
    "npz below a file": (
        lambda folder: f"npz:{ROOT}/setup.py/x",
        "vae",
        ["not a file"],
    ),
    "npz that is text": (lambda folder: f"npz:{ROOT}/setup.py", "vae", ["setup.py"]),
    "truncated npz": (_truncated, "vae", ["x.npz"]),
    "pickled array": (_npz(images=np.array([{}, {}])), "vae", ["pickled"]),
    "pickle": (_pickle, "vae", ["x.npz"]),
    "zip bomb": (_bomb, "vae", ["contradicts"]),
    "npz without images": (_npz(pixels=IMAGES), "vae", ["x_train", "pixels"]),
    "npz with two sets of images": (_npz(images=IMAGES, x=IMAGES), "vae", ["both"]),
    "npz without rows": (_npz(images=IMAGES[:0]), "vae", ["rows"]),
    "floats out of range": (_npz(images=IMAGES + 2.0), "vae", ["[0, 1]", "[2, 2]"]),
    "floats with NaN": (_npz(images=IMAGES * np.nan), "vae", ["[0, 1]"]),
    "integers of 8 bytes": (_npz(images=IMAGES.astype("int64")), "vae", ["int64"]),
    "five axes": (_npz(images=IMAGES[:, None, None]), "vae", ["[n, h, w, c]"]),
    "two channels": (_npz(images=np.zeros([8, 4, 4, 2], "u1")), "vae", ["channels"]),
    "labels of other rows": (_npz(images=IMAGES, labels=[1, 2]), "vae", ["labels"]),
    "no such folder": (lambda folder: f"folder:{folder}/no", "vae", ["not a folder"]),
    "folder without pictures": (_no_pictures, "vae", ["no pictures"]),
    "broken picture": (_broken_picture, "vae", ["b.png"]),
    "pictures of two sizes": (_two_sizes, "vae", ["12x12", "12x10"]),
    "unknown kind": (lambda folder: "csv:x", "vae", ["npz:PATH", "folder:PATH"]),
    "empty name": (lambda folder: "", "vae", ["mnist_5k"]),
    "misspelt name": (lambda folder: "mnist_6k", "vae", ["close: mnist_5k"]),
    "not prepared": (lambda folder: "mnist", "vae", ["could not be downloaded"]),
    "7x9 pixels for convolutions": (
        _npz(images=np.zeros([32, 7, 9], "uint8")),
        "wgan",
        ["7", "9"],
    ),
    "no labels for a classifier": (_npz(images=IMAGES), "classifier", ["label"]),
}


@pytest.mark.parametrize("case", DATA)
def test_data(launcher, tmp_path, case):
    make, model, words = DATA[case]
    dataset = make(tmp_path)
    before = sorted(tmp_path.rglob("*.*"))
    ended = launcher.run(
        f"--model={model}",
        "--preset=small",
        f"--dataset={dataset}",
        f"--data_dir={tmp_path / 'tfds'}",
        f"--workdir={tmp_path / 'run'}",
        "--steps=2",
    )
    refused(ended, 2, *words)
    assert not (tmp_path / "run" / "config.json").exists()
    assert [path for path in before if not path.exists()] == []


def _file(folder):
    (folder / "file").write_text("mine\n")
    return folder / "file"


PATHS = {
    "workdir is a file": (2, lambda folder: _file(folder)),
    "workdir below a file": (2, lambda folder: _file(folder) / "run"),
    "workdir nobody may write": (1, lambda folder: "/proc/run"),
    "workdir of a name too long": (1, lambda folder: folder / ("x" * 300)),
}


@pytest.mark.parametrize("case", PATHS)
def test_workdir(launcher, pictures, contents, tmp_path, case):
    code, make = PATHS[case]
    path = make(tmp_path)
    before = contents(tmp_path)
    ended = launcher.run(*VAE, f"--dataset={pictures}", f"--workdir={path}")
    refused(ended, code, str(path)[:100])
    assert contents(tmp_path) == before


def test_data_dir_below_a_file(launcher, tmp_path):
    data_dir = f"--data_dir={_file(tmp_path) / 'tfds'}"
    workdir = f"--workdir={tmp_path / 'run'}"
    ended = launcher.run(*VAE, "--dataset=mnist", data_dir, workdir)
    refused(ended, 1, "file")


# Over a run that exists ---------------------------------------------------------


@pytest.fixture(scope="module")
def finished(_launcher, pictures, tmp_path_factory):
    """A run of 6 steps."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    given = [*VAE, "--save_every=2", "--log_every=2", "--sample_every=0"]
    ended = _launcher.run(*given, f"--dataset={pictures}", f"--workdir={workdir}")
    assert ended.code == 0, ended.stderr
    return workdir


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "run")


IDENTITY = {
    "model": (["--model=wgan"], ["--model=wgan", "vae"]),
    "dataset": (["--dataset=mnist_5k"], ["--dataset=mnist_5k"]),
    "batch": (["--batch=8"], ["--batch=8", "16"]),
    "seed": (["--seed=1"], ["--seed=1", "0"]),
    "xla": (["--xla=off"], ["--xla=off", "auto"]),
    "precision": (["--precision=bfloat16"], ["--precision=bfloat16", "float32"]),
    "validation": (["--validation_fraction=0.5"], ["--validation_fraction=0.5"]),
    "preset": (["--preset=small"], ["latent_size=20", "4"]),
    "hparam": (["--hparam=latent_size=7"], ["latent_size=7", "4"]),
    "unknown hparam": (["--hparam=latents=7"], ["latents"]),
    "resume": (["--resume=never"], ["--resume=never"]),
    "steps behind it": (["--steps=4"], ["--steps=4", "stands at step 6"]),
}


@pytest.mark.parametrize("case", IDENTITY)
def test_run_keeps_what_it_is(launcher, contents, run, case):
    arguments, words = IDENTITY[case]
    before = contents(run)
    ended = launcher.run(f"--workdir={run}", "--steps=8", *arguments)
    refused(ended, 2, *words)
    assert contents(run) == before


def _rewrite(**changes):
    def damage(run):
        content = json.loads((run / "config.json").read_text()) | changes
        content = {name: value for name, value in content.items() if value is not ...}
        (run / "config.json").write_text(json.dumps(content))

    return damage


def _config(text):
    return lambda run: (run / "config.json").write_bytes(text)


def _each_checkpoint(change):
    def damage(run):
        for path in (run / "checkpoints").glob("*.npz"):
            path.write_bytes(change(path.read_bytes()))

    return damage


def _foreign(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return _each_checkpoint(lambda whole: stream.getvalue())


def _header(**content):
    text = np.frombuffer(json.dumps(content).encode(), np.uint8)
    return _foreign(**{"header.json": text})


def _flip_bit(whole):
    """Change one bit of some weight."""
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]


def _best(text):
    return lambda run: (run / "checkpoints" / "best.json").write_text(text)


def _instead_of(name, text=None):
    """Put a file (a folder without text) in the place of what the run wrote."""

    def damage(run):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.mkdir() if text is None else path.write_bytes(text)

    return damage


def _link_to_itself(run):
    (run / "config.json").unlink()
    (run / "config.json").symlink_to("config.json")


DAMAGE = {
    "config.json is text": (2, _config(b"model: vae\n"), ["config.json"]),
    "config.json is bytes": (2, _config(bytes(range(256))), ["config.json"]),
    "config.json is a list": (2, _config(b"[]"), ["config.json"]),
    "config.json of another tool": (2, _config(b'{"model": "vae"}'), ["config.json"]),
    "config.json of another format": (2, _rewrite(format=2), ["format"]),
    "config.json without batch": (2, _rewrite(batch=...), ["batch"]),
    "config.json without Config": (2, _rewrite(config=...), ["config"]),
    "config.json with another Config": (2, _rewrite(config={"a": 1}), ["'a'"]),
    "config.json with a list as Config": (2, _rewrite(config=[]), ["config"]),
    "config.json of an unknown model": (2, _rewrite(model="veil"), ["'veil'"]),
    "config.json with a word as batch": (2, _rewrite(batch="x"), ["batch"]),
    "config.json is a folder": (1, _instead_of("config.json"), ["config.json"]),
    "config.json is a link to itself": (1, _link_to_itself, ["config.json"]),
    "checkpoints is a file": (2, _instead_of("checkpoints", b""), ["not a folder"]),
    "all checkpoints truncated": (
        2,
        _each_checkpoint(lambda whole: whole[: len(whole) // 2]),
        ["damaged"],
    ),
    "all checkpoints empty": (2, _each_checkpoint(lambda whole: b""), ["damaged"]),
    "all checkpoints altered": (2, _each_checkpoint(_flip_bit), ["damaged"]),
    "checkpoints that are text": (2, _each_checkpoint(lambda whole: b"a"), ["damaged"]),
    "checkpoints that are pickled": (
        2,
        _each_checkpoint(lambda whole: pickle.dumps([])),
        ["damaged"],
    ),
    "foreign npz": (2, _foreign(w=np.zeros(3)), ["not a tfgen checkpoint"]),
    "foreign header": (2, _header(a=1), ["not a tfgen checkpoint"]),
    "header that is no JSON": (
        2,
        _foreign(**{"header.json": np.zeros(3, "uint8")}),
        ["not a tfgen checkpoint"],
    ),
    "checkpoint of another format": (2, _header(format=2), ["format 2"]),
    "checkpoint without values": (
        2,
        _header(format=1, step=6, replicas=1, local=[], names=[]),
        ["does not fit", "missing"],
    ),
    "best.json is text": (2, _best("step 4"), ["best.json"]),
    "best.json of another tool": (2, _best('{"epoch": 4}'), ["best.json"]),
    "metrics.csv is a folder": (1, _instead_of("metrics.csv"), ["metrics.csv"]),
    "metrics.csv is bytes": (
        2,
        _instead_of("metrics.csv", bytes(range(256)) * 9),
        ["metrics.csv"],
    ),
    "tensorboard is a file": (1, _instead_of("tensorboard", b""), ["tensorboard"]),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_run(launcher, contents, run, case):
    code, damage, words = DAMAGE[case]
    damage(run)
    before = contents(run)
    ended = launcher.run(f"--workdir={run}", "--steps=8")
    refused(ended, code, *words)
    assert contents(run) == before


def test_checkpoints_of_another_model(launcher, contents, pictures, run, tmp_path):
    other = tmp_path / "other"
    given = ["--model=wgan", "--preset=tiny", "--batch=16", "--steps=8"]
    launcher.run(*given, f"--dataset={pictures}", f"--workdir={other}")
    shutil.copytree(other / "checkpoints", run / "checkpoints", dirs_exist_ok=True)
    before = contents(run)
    ended = launcher.run(f"--workdir={run}", "--steps=10")
    refused(ended, 2, "step_000000008.npz", "does not fit", "decoder", "critic")
    assert contents(run) == before

    ended = launcher.run(
        *VAE,
        f"--dataset={pictures}",
        f"--workdir={tmp_path / 'third'}",
        f"--init_from={other}",
    )
    refused(ended, 2, "does not fit", "missing decoder")


def test_a_profile_that_was_taken(launcher, run):
    ended = launcher.run(f"--workdir={run}", "--steps=8", "--profile=2:5")
    assert ended.code == 0
    assert "--profile=2:5 lies before step 6: nothing is profiled" in ended.stderr


def test_executions_from_a_step_between(launcher, contents, run):
    before = contents(run)
    ended = launcher.run(
        f"--workdir={run}",
        "--steps=20",
        "--steps_per_execution=4",
        "--save_every=4",
        "--log_every=4",
        "--sample_every=4",
    )
    refused(ended, 2, "--steps_per_execution=4", "6")
    assert contents(run) == before


def test_batch_beyond_memory(launcher, pictures, tmp_path):
    given = [*VAE, f"--dataset={pictures}", f"--workdir={tmp_path}"]
    refused(launcher.run(*given, f"--batch={10**13}"), 1, "out of memory")
    assert not (tmp_path / "config.json").exists()


def test_refused_batch_can_be_corrected(launcher, pictures, tmp_path):
    given = ["--model=vae", "--preset=tiny", "--steps=2", f"--dataset={pictures}"]
    given += [f"--workdir={tmp_path}", "--strategy=mirrored", "--replicas=2"]
    refused(launcher.run(*given, "--batch=15"), 2, "15")
    assert launcher.run(*given, "--batch=16").code == 0


@pytest.fixture(scope="module")
def unbroken(_launcher, pictures, tmp_path_factory):
    """The JSON line of a run of 10 steps."""
    workdir = f"--workdir={tmp_path_factory.mktemp('unbroken') / 'run'}"
    ended = _launcher.run(*VAE, f"--dataset={pictures}", workdir, "--steps=10")
    return ended.json


@pytest.mark.parametrize("bytes_", [1500, pytest.param(20_000, marks=pytest.mark.slow)])
def test_full_disk(launcher, run, unbroken, bytes_):
    """No file may grow past a limit: as on a full disk, some write fails."""
    given = [f"--workdir={run}", "--steps=10", "--save_every=2", "--sample_every=0"]
    saved = _checkpoints(run)
    assert len(saved) == 3 and min(map(len, saved.values())) > 40_000

    refused(launcher.run(*given, largest_file=bytes_), 1)
    assert _checkpoints(run) == saved

    resumed = launcher.run(*given).json
    assert resumed["resumed_from"] == 6 and resumed["executed"] == 4
    assert resumed["state_sha256"] == unbroken["state_sha256"]


def _checkpoints(run):
    return {p.name: p.read_bytes() for p in (run / "checkpoints").glob("*.npz")}
