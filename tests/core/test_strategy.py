"""What --strategy=auto means, and what make_strategy refuses."""

import json

import pytest
import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.core.strategy import STRATEGIES, choose, make_strategy


def cluster(**hosts):
    task = {"type": "worker", "index": 0}
    return {"TF_CONFIG": json.dumps({"cluster": hosts, "task": task})}


TWO = cluster(worker=["127.0.0.1:1", "127.0.0.1:2"])


@pytest.mark.parametrize(
    ("gpus", "environment", "wanted"),
    [
        (0, {}, "one"),
        (1, {}, "one"),
        (4, {}, "mirrored"),
        (0, TWO, "multi_worker"),
        (4, TWO, "multi_worker"),
        (0, cluster(chief=["127.0.0.1:1"], worker=["127.0.0.1:2"]), "multi_worker"),
        (0, cluster(worker=["127.0.0.1:1"]), "one"),
        (4, cluster(worker=["127.0.0.1:1"]), "mirrored"),
        (0, {"TF_CONFIG": "{}"}, "one"),
    ],
)
def test_auto(gpus, environment, wanted):
    assert choose(gpus, environment) == wanted
    assert wanted in STRATEGIES


@pytest.mark.parametrize("text", ["not json", "[1]", '{"cluster": 3}'])
def test_a_broken_tf_config_is_named(text):
    with pytest.raises(BadInput, match="TF_CONFIG"):
        choose(0, {"TF_CONFIG": text})


def test_one_device_is_no_strategy():
    assert make_strategy("one") is None
    assert make_strategy("one", 1) is None


def test_auto_on_this_machine(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert make_strategy("auto") is None


@pytest.mark.parametrize("count", [1, 2])
def test_mirrored_on_logical_cpus(count):
    strategy = make_strategy("mirrored", count)
    assert strategy.num_replicas_in_sync == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("two",), "unknown strategy 'two'; valid: auto, one, mirrored"),
        (("one", 2), "--replicas=2 needs --strategy=mirrored"),
        (("multi_worker",), "multi_worker needs --local_workers=2 or more"),
        (("mirrored", 8), "8 replicas on CPUs must be set up before TensorFlow"),
    ],
)
def test_what_cannot_be(arguments, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    tf.constant(0) + 1  # the devices are fixed from here on
    with pytest.raises(BadInput, match=message) as error:
        make_strategy(*arguments)
    assert "\n" not in str(error.value)


def test_a_worker_without_gpus_holds_one_replica(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", TWO["TF_CONFIG"])
    with pytest.raises(BadInput, match="a worker without GPUs holds one replica"):
        make_strategy("multi_worker", 2)


@pytest.mark.parametrize("replicas", [5, 2])
def test_no_more_replicas_than_gpus(replicas, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU"])
    with pytest.raises(BadInput, match=f"{replicas} replicas asked for.* has 1"):
        make_strategy("mirrored", replicas)


def test_no_tpu_is_said_clearly(monkeypatch):
    for name in ("TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TPU_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadInput, match="no TPU found .*valid here: one, mirrored") as e:
        make_strategy("tpu")
    assert "\n" not in str(e.value)
