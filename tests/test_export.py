"""An export is the live model's twin, needs only TensorFlow, is never half there."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests import alone
from tests.synthetic import stream as synthetic_stream
from tfgen import data, models
from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec
from tfgen.layers import volumes

# Loads each folder with nothing but TensorFlow and NumPy, and saves what it returns.
ALONE = """
folder, arrays = sys.argv[1], dict(np.load(sys.argv[2]))
loaded = tf.saved_model.load(folder)
found = {}
for name, function in loaded.signatures.items():
    for argument in function.structured_input_signature[1].values():
        key = "z" if argument.name == "z" else "images"
    if name == "sample":
        runs = [function(num=tf.constant(7), seed=tf.constant(3)) for _ in range(2)]
        first, second = ([v.numpy().tobytes() for v in run.values()] for run in runs)
        assert first == second
        outputs = {"7": runs[0]}
    elif name == "serving_default":
        continue
    else:
        rows = {n: tf.constant(arrays[key][:n]) for n in (1, 3, 8)}
        outputs = {str(n): function(**{key: value}) for n, value in rows.items()}
    for n, output in outputs.items():
        found.update({f"{name} {n} {k}": v.numpy() for k, v in output.items()})
from tensorflow.core.protobuf import saved_model_pb2
proto = saved_model_pb2.SavedModel()
proto.ParseFromString(open(folder + "/saved_model.pb", "rb").read())
functions = proto.meta_graphs[0].graph_def.library.function
compiled = [f.signature.name for f in functions if f.attr["_XlaMustCompile"].b]
assert not compiled, compiled
assert not {"keras", "tfgen"} & set(sys.modules)
np.savez(sys.argv[3], **found)
"""


def build(name, **arguments):
    return models.build(name, "tiny", spec=synthetic_stream().spec, **arguments)


def live(model, arrays):
    """What the live model returns, under the keys of `ALONE`."""
    found = {}
    for name, (function, arguments) in tfgen.export.named_endpoints(model).items():
        function = tf.function(function, arguments, autograph=False)
        if name == "sample":
            calls = {"7": function(tf.constant(7), tf.constant(3))}
        else:
            given = arrays[arguments[0].name]
            calls = {str(n): function(tf.constant(given[:n])) for n in (1, 3, 8)}
        for n, outputs in calls.items():
            found |= {f"{name} {n} {k}": v.numpy() for k, v in outputs.items()}
    return found


def inputs(model):
    random = np.random.default_rng(0)
    low, high = model.spec.image.low, model.spec.image.high
    images = random.uniform(low, high, [8, *model.spec.image.shape])
    size = getattr(model.config, "latent_size", 1)
    z = random.normal(size=[8, size])
    return {"images": images.astype("float32"), "z": z.astype("float32")}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        "vae",
        pytest.param("wgan_gp", marks=SLOW),
        pytest.param("classifier", marks=SLOW),
    ],
)
def test_runs_where_tfgen_and_keras_cannot_be_imported(name, tmp_path):
    model = build(name, seed=1)
    arrays = inputs(model)
    np.savez(tmp_path / "inputs.npz", **arrays)
    folder = tfgen.export(model, tmp_path / "export")
    files = [tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
    alone.run(ALONE, folder, *files)
    found, expected = dict(np.load(files[1])), live(model, arrays)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        # log_prob sums 784 pixels: its last bits differ between graphs.
        tolerance = 1e-6 * max(1.0, np.abs(value).max())
        np.testing.assert_allclose(
            found[key], value, atol=tolerance, rtol=0, err_msg=key
        )


@SLOW
def test_from_replicas_with_the_moving_average(tmp_path, two_replicas, make_stream):
    model = build("wgan_gp", strategy=two_replicas, seed=2)
    model.fit(make_stream(), steps_per_epoch=3, verbose=0)
    tfgen.export(model, tmp_path / "export")
    exported = tfgen.export.load(tmp_path / "export")
    images = exported.sample(5, seed=4)["images"]
    z = np.random.default_rng(0).normal(size=[5, 8]).astype("float32")
    np.testing.assert_allclose(images, model.sample(5, seed=4), atol=1e-6)
    averaged = model.generator_ema(z).numpy()
    np.testing.assert_allclose(exported.decode(z)["images"], averaged, atol=1e-6)
    assert np.abs(model.generator(z).numpy() - averaged).max() > 1e-3
    assert exported.description["step"] == 3


def test_precision_is_kept(tmp_path):
    model = build("wgan_gp", precision="bfloat16")
    tfgen.export(model, tmp_path / "export")
    images = tfgen.export.load(tmp_path / "export").sample(5, 1)["images"]
    np.testing.assert_allclose(images, model.sample(5, 1), atol=1e-6)
    plain = build("wgan_gp")
    assert np.abs(images - plain.sample(5, 1)).max() > 1e-4
    assert keras.config.dtype_policy().name == "float32"


def test_an_earlier_export_is_replaced(tmp_path):
    folder = tmp_path / "export"
    first, second = build("classifier", seed=0), build("classifier", seed=1)
    tfgen.export(first, folder)
    tfgen.export(second, folder)
    images = inputs(second)["images"]
    expected = second.classify(tf.constant(images))["logits"]
    found = tfgen.export.load(folder).classify(images)["logits"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_foreign_folder_is_refused_untouched(tmp_path):
    model = build("classifier")
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.txt").write_text("irreplaceable")
    with pytest.raises(BadInput, match="not empty"):
        tfgen.export(model, foreign)
    with pytest.raises(BadInput, match="is a file"):
        tfgen.export(model, foreign / "chapter.txt")
    assert (foreign / "chapter.txt").read_text() == "irreplaceable"
    assert [path.name for path in foreign.iterdir()] == ["chapter.txt"]


def test_a_failed_write_leaves_the_earlier_export(tmp_path, monkeypatch):
    model = build("classifier")
    tfgen.export(model, tmp_path / "export")
    before = (tmp_path / "export" / "tfgen.json").read_bytes()

    def full(trackable, filepath, **_):
        (pathlib.Path(filepath) / "variables").mkdir(parents=True)
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(OSError, match="No space left"):
        tfgen.export(model, tmp_path / "export")
    assert (tmp_path / "export" / "tfgen.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_clips_are_exported_for_machines_without_fast_volumes(tmp_path):
    spec = data.load("moving_discs", batch=2, image_size=8, frames=2).spec
    model = models.build("video_gan", "tiny", spec=spec)
    folder = tfgen.export(model, tmp_path / "export")
    found = {}
    for name, graph in (
        ("live", tf.function(model.sample).get_concrete_function(2).graph),
        ("exported", tf.saved_model.load(folder).signatures["sample"].graph),
    ):
        functions = graph.as_graph_def().library.function
        nodes = [
            *graph.as_graph_def().node,
            *(n for f in functions for n in f.node_def),
        ]
        found[name] = {node.op for node in nodes}
    assert ("Conv3DBackpropInputV2" in found["live"]) == volumes.has_kernels()
    assert not any(op.startswith("Conv3D") for op in found["exported"])
    assert "Conv2DBackpropInput" in found["exported"]


def test_the_description(tmp_path):
    model = build("classifier")
    tfgen.export(model, tmp_path / "export")
    content = json.loads((tmp_path / "export" / "tfgen.json").read_text())
    assert DataSpec.from_json(content["spec"]) == model.spec
    assert content["spec"]["features"]["image"]["low"] == -1.0
    assert type(model).Config.from_json(content["config"]) == model.config
    assert models.find(content["model"]) is type(model)
    inputs = content["signatures"]["classify"]["inputs"]
    assert inputs == {"images": {"shape": [None, 28, 28, 1], "dtype": "float32"}}
    outputs = content["signatures"]["classify"]["outputs"]
    assert outputs["logits"] == {"shape": [None, 10], "dtype": "float32"}


def test_the_fingerprint_is_of_the_weights():
    model, same, other = (build("classifier", seed=seed) for seed in (0, 0, 1))
    assert tfgen.export.fingerprint(model) == tfgen.export.fingerprint(same)
    assert tfgen.export.fingerprint(model) != tfgen.export.fingerprint(other)


def test_single_outputs_are_named_after_what_they_are(tmp_path):
    names = {}
    for name in ("vae", "wgan_gp"):
        tfgen.export(build(name), tmp_path / name)
        description = tfgen.export.load(tmp_path / name).description
        names |= {k: list(v["outputs"]) for k, v in description["signatures"].items()}
    assert names == {
        "sample": ["images"],
        "decode": ["images"],
        "reconstruct": ["images"],
        "encode": ["mean", "stddev"],
        "log_prob": ["log_prob"],
        "score": ["scores"],
    }


def test_loading_what_is_no_export(tmp_path):
    with pytest.raises(BadInput, match="no export"):
        tfgen.export.load(tmp_path / "nothing")
    tfgen.export(build("classifier"), tmp_path / "export")
    exported = tfgen.export.load(tmp_path / "export")
    with pytest.raises(TypeError, match="classify takes images"):
        exported.classify(pictures=1)
    with pytest.raises(AttributeError, match="no signature 'sample'"):
        exported.sample(1, 2)
    (tmp_path / "export" / "saved_model.pb").write_bytes(b"\xff" * 50)
    with pytest.raises(BadInput, match="damaged"):
        tfgen.export.load(tmp_path / "export")
    (tmp_path / "export" / "tfgen.json").write_text("{}")
    with pytest.raises(BadInput, match="not what tfgen writes"):
        tfgen.export.load(tmp_path / "export")
