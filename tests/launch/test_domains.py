"""The launchers on two domains: stages, pictures, scores, exports, bad input."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfgen
from launch import translation
from tests import synthetic
from tests.launch.test_bad_input import refused
from tests.synthetic import digits

ADDA = ["--model=adda", "--preset=tiny", "--batch=8", "--hparam=source_steps=4"]
CYCLEGAN = ["--model=cyclegan", "--preset=tiny", "--batch=4"]


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """--dataset and --target_dataset of grey 12x12 pictures, both with test splits."""
    folder = tmp_path_factory.mktemp("domains")
    names = []
    for name, rows, turns in (("source", 96, 0), ("target", 60, 1)):
        arrays = digits(12, rows + 20)
        images = np.rot90(arrays["image"], turns, axes=(1, 2))
        np.savez(
            folder / f"{name}.npz",
            x=images[:rows],
            y=arrays["label"][:rows],
            x_test=images[rows:],
            y_test=arrays["label"][rows:],
        )
        names.append(f"npz:{folder / name}.npz")
    return [f"--dataset={names[0]}", f"--target_dataset={names[1]}"]


@pytest.fixture(scope="module")
def adapted(_launcher, domains, tmp_path_factory):
    """(how it ended, workdir) of all stages in one command."""
    workdir = tmp_path_factory.mktemp("adapted") / "run"
    ended = _launcher.run(*ADDA, *domains, "--steps=9", f"--workdir={workdir}")
    assert ended.code == 0, ended.stderr
    return ended, workdir


def test_all_stages(adapted):
    found = adapted[0].json
    assert (found["steps"], found["executed"]) == (9, 9)
    assert 0 <= found["test_accuracy"] <= 1
    assert 0 <= found["test_source_only_accuracy"] <= 1
    assert {"discriminator_loss", "mapping_loss"} <= set(found)


def test_stage_by_stage_is_the_same(launcher, domains, adapted, tmp_path):
    def run(stage, steps=9, code=0):
        workdir = f"--workdir={tmp_path / 'run'}"
        ended = launcher.run(
            *ADDA, *domains, f"--stage={stage}", f"--steps={steps}", workdir
        )
        assert ended.code == code, ended.stderr
        return ended

    refused(run("adapt", code=2), 2, "--stage=adapt starts at step 4", "stands at 0")
    refused(run("adopt", code=2), 2, "'adopt'", "all, source, adapt, test")
    refused(run("test", code=2), 2, "nothing is trained")
    first = launcher.run(
        *ADDA, *domains, "--stage=source", f"--workdir={tmp_path / 'run'}"
    ).json  # --steps is its own
    assert (first["steps"], first["executed"]) == (4, 4)
    assert "mapping_loss" not in first and "test_accuracy" not in first
    assert run("source").json["executed"] == 0
    assert run("adapt", steps=6).json["executed"] == 2
    last = run("adapt").json
    assert (last["resumed_from"], last["executed"]) == (6, 3)
    assert last["state_sha256"] == adapted[0].json["state_sha256"]
    tested = run("test").json
    assert tested["executed"] == 0 and tested["steps"] == 9
    for name in ("test_accuracy", "test_source_only_accuracy"):
        assert tested[name] == adapted[0].json[name]


def test_scores_and_figures_of_an_adaptation(launcher, adapted, tmp_path):
    ended, workdir = adapted
    run = f"--workdir={workdir}"
    scored = launcher.run(run, module="launch.evaluate")
    assert scored.code == 0, scored.stderr
    metrics = scored.json["metrics"]
    assert set(metrics) == {"accuracy", "cross_entropy", "source_only_accuracy"}
    assert metrics["accuracy"] == ended.json["test_accuracy"]
    assert json.loads((workdir / "evaluation.json").read_text())[0]["count"] == 20
    for mode, count in (("embedding", 40), ("confusion", 20)):
        drawn = launcher.run(run, f"--mode={mode}", module="launch.sample")
        assert drawn.code == 0, drawn.stderr
        assert drawn.json["images"] == count
        with Image.open(drawn.json["out"]) as picture:
            assert picture.size[0] > picture.size[1] > 300
    refused(
        launcher.run(run, "--mode=grid", module="launch.sample"),
        2,
        "valid: embedding, confusion",
    )


def test_held_out_images_are_as_large_as_the_squares_of_training():
    hparams = {"crop": 8, "image_size": 14}  # 14 is no multiple of 4
    pair = synthetic.pair(14, batch=4)
    model = tfgen.build("cyclegan", "tiny", spec=pair.spec, hparams=hparams)
    found = translation.measure(model, pair, ["cycle_l1_a", "cycle_l1_b"], limit=5)
    assert all(np.isfinite(estimate.value) for estimate, *_ in found.values())


@pytest.mark.slow
def test_squares_of_larger_images(launcher, domains, tmp_path):
    cut = ["--hparam=image_size=14", "--hparam=crop=8", "--steps=1", "--sample_every=1"]
    run = f"--workdir={tmp_path / 'run'}"
    ended = launcher.run(*CYCLEGAN, *domains, *cut, run)
    assert ended.code == 0, ended.stderr
    with Image.open(tmp_path / "run/samples/step_000000001.png") as picture:
        assert picture.size == (6 * 10 - 2, 8 * 10 - 2)
    drawn = launcher.run(run, "--mode=translate", "--num=2", module="launch.sample")
    assert drawn.code == 0, drawn.stderr


@pytest.fixture(scope="module")
def translated(_launcher, domains, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("translated") / "run"
    ended = _launcher.run(
        *CYCLEGAN,
        *domains,
        "--steps=3",
        "--sample_every=3",
        "--validation_fraction=0.2",
        "--eval_every=3",
        f"--workdir={workdir}",
    )
    assert ended.code == 0, ended.stderr
    return workdir


@pytest.mark.slow
def test_pictures_of_a_translator(launcher, translated):
    with Image.open(translated / "samples" / "step_000000003.png") as picture:
        assert picture.size == (6 * 14 - 2, 8 * 14 - 2)
    run = f"--workdir={translated}"
    drawn = launcher.run(run, "--mode=translate", "--num=5", module="launch.sample")
    assert drawn.code == 0, drawn.stderr
    with Image.open(drawn.json["out"]) as picture:
        assert picture.size == (6 * 14 - 2, 5 * 14 - 2)


@pytest.mark.slow
def test_scores_of_a_translator(launcher, translated):
    run = f"--workdir={translated}"
    scored = launcher.run(run, module="launch.evaluate")
    assert scored.code == 0, scored.stderr
    assert set(scored.json["metrics"]) == {"cycle_l1_a", "cycle_l1_b"}
    unpaired = launcher.run(run, "--metrics=psnr_ab", module="launch.evaluate")
    refused(unpaired, 2, "no pairs", "cycle_l1_a")


@pytest.mark.slow
def test_export_of_a_translator(launcher, translated, tmp_path):
    out = tmp_path / "export"
    ended = launcher.run(
        f"--workdir={translated}", f"--out={out}", module="launch.export"
    )
    assert ended.code == 0, ended.stderr
    signatures = tf.saved_model.load(str(out)).signatures
    for shape in ((1, 8, 8, 1), (3, 20, 12, 1)):
        images = tf.zeros(shape)
        ab = signatures["translate_ab"](images=images)["images"]
        there_and_back = signatures["cycle"](images=images)
        assert ab.shape == there_and_back["cycled"].shape == shape
        np.testing.assert_array_equal(ab, there_and_back["translated"])
        back = signatures["translate_ba"](images=ab)["images"]
        np.testing.assert_allclose(back, there_and_back["cycled"], atol=1e-6)


def pictures(folder, count=6, mode="L", broken=()):
    folder.mkdir()
    for number in range(count):
        file = folder / f"{number}.png"
        Image.new(mode, (12, 12), 40 * number).save(file)
        if number in broken:
            file.write_bytes(file.read_bytes()[:40])
    return f"folder:{folder}"


def test_classes_of_the_target_are_those_of_the_source(launcher, tmp_path):
    names = {"source": ["cat", "dog"], "more": ["ant", "cat", "dog"], "other": ["dog"]}
    for name, classes in names.items():
        for split in ("train", "test"):
            for label in classes:
                (tmp_path / name / split).mkdir(parents=True, exist_ok=True)
                pictures(tmp_path / name / split / label, count=4)

    def run(target):
        given = [f"--dataset=folder:{tmp_path / 'source'}", "--steps=5"]
        given += [f"--target_dataset=folder:{tmp_path / target}"]
        return launcher.run(*ADDA, *given, f"--workdir={tmp_path / 'run'}")

    refused(run("more"), 2, "knows 2 classes of 'label'", "has 3")
    refused(run("other"), 2, "knows 'label' as 'cat'", "as 'dog'")
    assert not (tmp_path / "run" / "config.json").exists()


def test_bad_input(launcher, pictures_of, tmp_path):
    grey, rgb, empty, broken = pictures_of
    workdir = f"--workdir={tmp_path / 'run'}"

    def run(*arguments):
        return launcher.run(*arguments, "--steps=2", workdir)

    sampled = ["--metrics=frechet", "--eval_every=1", "--validation_fraction=0.5"]
    cases = [
        ([*CYCLEGAN, grey], ["two domains", "--target_dataset"]),
        ([*ADDA, grey], ["two domains", "--target_dataset"]),
        (["--model=vae", "--preset=tiny", grey, f"--target_{grey[2:]}"], ["'image'"]),
        ([*CYCLEGAN, grey, f"--target_{rgb[2:]}"], ["12x12x1 and 12x12x3", "channels"]),
        ([*CYCLEGAN, grey, f"--target_{empty[2:]}"], ["has no pictures"]),
        ([*CYCLEGAN, grey, f"--target_{broken[2:]}"], ["3.png is not a usable"]),
        ([*ADDA, grey, f"--target_{grey[2:]}"], ["adda needs a labelled source"]),
        ([*CYCLEGAN, f"{grey}@9", f"--target_{grey[2:]}"], ["1 to 6 training rows"]),
        (
            ["--model=vae", "--preset=tiny", grey, "--stage=adapt"],
            ["valid: all, train"],
        ),
        (
            [*CYCLEGAN, grey, f"--target_{grey[2:]}", *sampled],
            ["--metrics are of sampled images, which cyclegan"],
        ),
    ]
    for arguments, words in cases:
        refused(run(*arguments), 2, *words)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_a_broken_picture_is_left_out(launcher, pictures_of, tmp_path):
    grey, _, _, broken = pictures_of
    skip = [f"--target_{broken[2:]}", "--on_corrupt=skip", "--steps=2"]
    skipped = launcher.run(*CYCLEGAN, grey, *skip, f"--workdir={tmp_path / 'run'}")
    assert skipped.code == 0, skipped.stderr
    (line,) = [x for x in skipped.stderr.splitlines() if x.startswith("skipped")]
    assert "1 of 1" in line and "3.png" in line


@pytest.fixture
def pictures_of(tmp_path):
    """--dataset flags of grey, RGB, no, and partly broken pictures."""
    made = [
        pictures(tmp_path / "grey"),
        pictures(tmp_path / "rgb", mode="RGB"),
        pictures(tmp_path / "empty", count=0),
        pictures(tmp_path / "broken", broken=[3]),
    ]
    return [f"--dataset={name}" for name in made]


def test_what_a_resumed_run_may_not_change(launcher, domains, adapted):
    _, workdir = adapted
    other = f"--target_dataset={domains[0].removeprefix('--dataset=')}"
    ended = launcher.run(*ADDA, domains[0], other, f"--workdir={workdir}")
    refused(ended, 2, "--target_dataset", "cannot change in a resumed run")
