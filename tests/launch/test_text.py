"""launch.sample of sentences, and an export that reads them without tfgen."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import tfgen
from tests import alone
from tests.launch.made_runs import make_run
from tests.launch.test_clips import frames_of
from tfgen.core.spec import to_uint8

FRAMES, SIDE, GAP = 4, 8, 2


@pytest.fixture(scope="module")
def runs(tmp_path_factory, clip_folder):
    data = tfgen.data.load(clip_folder, batch=4)
    path = tmp_path_factory.mktemp("runs")
    hparams = {"text_filter_gan": {"image_size": 16}}
    return {
        name: make_run(path / name, name, data, clip_folder, hparams=hparams.get(name))
        for name in ("dt2v", "text_filter_gan")
    }


def sentences(model):
    return model.spec.features["sentence"].classes


def test_a_clip_of_a_sentence(launcher, runs, tmp_path):
    path, model = runs["dt2v"]
    told = sentences(model)[2]
    ended = launcher.run(
        f"--workdir={path}",
        f"--text={told}",
        "--seed=4",
        f"--out={tmp_path}/clip.png",
        module="launch.sample",
    )
    assert ended.code == 0, ended.stderr
    assert ended.json["mode"] == "text" and ended.json["text"] == [told]
    made = model.generate(model.sentences[2:3], 4).numpy()
    wanted = to_uint8(made, model.spec.video)[0]
    with Image.open(tmp_path / "clip.png") as opened:
        row = np.asarray(opened)
    assert row.shape == (SIDE, FRAMES * (SIDE + GAP) - GAP, 3)
    shown = np.stack([row[:, k * 10 : k * 10 + SIDE] for k in range(FRAMES)])
    # A byte: batches of other sizes are other matrix products.
    assert np.abs(shown.astype(int) - wanted).max() <= 1


@pytest.mark.slow
def test_what_a_training_shows(launcher, events, clip_folder, tmp_path):
    ended = launcher.run(
        "--model=text2video",
        f"--dataset={clip_folder}",
        "--preset=tiny",
        "--batch=4",
        "--steps=3",
        "--sample_every=3",
        f"--workdir={tmp_path}",
    )
    assert ended.code == 0, ended.stderr
    model, samples = tfgen.load(tmp_path), tmp_path / "samples"
    lines = (samples / "sentences.txt").read_text().splitlines()
    count = len(sentences(model))
    assert lines == [sentences(model)[row % count] for row in range(16)]
    with Image.open(samples / "step_000000003_streams.png") as streams:
        # Two clips a row: frame, foreground, mask, background and gist of each.
        assert streams.size[0] == 10 * (SIDE + GAP) - GAP
    assert frames_of(samples / "step_000000003.gif").shape[1] == 4 * (SIDE + GAP) - GAP
    shown = events(tmp_path)
    for name in ("gist", "mask", "foreground", "background"):
        assert list(shown[f"samples/{name}"]) == [3]
    ((told,),) = shown["sentences"].values()
    assert told.tensor.string_val[0].decode().splitlines()[0] == f"1. {lines[0]}"


def test_from_one_sentence_to_another(launcher, runs, tmp_path):
    path, model = runs["text_filter_gan"]
    first, second = sentences(model)[:2]
    ended = launcher.run(
        f"--workdir={path}",
        "--mode=morph",
        f"--text={first}",
        f"--text={second}",
        "--num=2",
        f"--out={tmp_path}/clip.gif",
        module="launch.sample",
    )
    assert ended.code == 0, ended.stderr
    assert ended.json["images"] == 2
    assert frames_of(tmp_path / "clip.gif").shape[1:] == (16, 16 * 2 + GAP, 3)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--text=A large puce circle"], "unknown word 'puce' in .*; known: a, blue"),
        (["--text="], "has 0 words; it must have 1 to 16"),
        (["--mode=text"], "--mode=text needs --text, such as .A large blue"),
        (["--mode=morph", "--text=a"], "no mode 'morph' for dt2v; valid: grid, text"),
        (["--mode=grid", "--text=a"], "--text is read by --mode=text, morph only"),
    ],
)
def test_what_it_refuses(launcher, runs, tmp_path, arguments, error):
    path, _ = runs["dt2v"]
    out = f"--out={tmp_path}/clip.gif"
    ended = launcher.run(f"--workdir={path}", *arguments, out, module="launch.sample")
    assert ended.code == 2
    assert re.search(error, ended.stderr), ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dt2v", "text_filter_gan"])
def test_an_export_reads_sentences_without_tfgen(name, runs, tmp_path):
    _, model = runs[name]
    tfgen.export(model, tmp_path / "export")
    told = sentences(model)[1]
    code = f"""
import json
generate = tf.saved_model.load(sys.argv[1]).signatures["generate"]
clips = generate(text=tf.constant([{told!r}, "what was this"]), seed=tf.constant(3))
print(json.dumps(clips["videos"].numpy().tolist()))
"""
    found = np.array(json.loads(alone.run(code, tmp_path / "export")), "float32")
    unknown = np.zeros_like(model.sentences[:1])
    unknown[0, :3] = 1
    tokens = np.concatenate([model.sentences[1:2], unknown])
    np.testing.assert_allclose(found, model.generate(tokens, 3), atol=1e-5)
