"""Where a run trains: one device, replicas, workers, or a TPU slice."""

import json
import os

from tfgen.core.errors import BadInput

STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")


def choose(gpus, environment):
    """Return what "auto" means, by what the machine has.

    Workers when TF_CONFIG names several, replicas for two GPUs or more, else one
    device. A TPU is never chosen by itself.
    """
    if _workers(environment) > 1:
        return "multi_worker"
    return "mirrored" if gpus > 1 else "one"


def make_strategy(kind="auto", replicas=None):
    """Return a `tf.distribute.Strategy`, or None for one device.

    Call it before any other TensorFlow operation: workers and logical devices can
    only be set up at the start of a process.

    Args:
        kind: One of STRATEGIES.
        replicas: How many, for "mirrored". None, and for each worker of
            "multi_worker": one a GPU. Without GPUs they are logical CPUs, which share
            the cores: for tests and for developing, not for speed.

    Raises:
        BadInput: The machine does not have what was asked for.
    """
    import tensorflow as tf

    if kind not in STRATEGIES:
        raise BadInput(f"unknown strategy {kind!r}; valid: {', '.join(STRATEGIES)}")
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "auto":
        kind = choose(len(gpus), os.environ)
    if kind == "one":
        if (replicas or 1) > 1:
            raise BadInput(f"--replicas={replicas} needs --strategy=mirrored")
        return None
    if kind == "tpu":
        return _tpu(tf)
    if replicas is not None and gpus and replicas > len(gpus):
        raise BadInput(f"{replicas} replicas asked for, this machine has {len(gpus)}")
    if kind == "multi_worker":
        if _workers(os.environ) < 2:
            raise BadInput(
                "multi_worker needs --local_workers=2 or more, or TF_CONFIG naming "
                "two workers or more"
            )
        if not gpus and (replicas or 1) > 1:
            raise BadInput("a worker without GPUs holds one replica: --replicas=1")
        if gpus and replicas not in (None, len(gpus)):
            raise BadInput(
                f"a worker takes all its {len(gpus)} GPUs; hide some by "
                "CUDA_VISIBLE_DEVICES in place of --replicas"
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    count = replicas or len(gpus) or 1
    if gpus:
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(count)])
    _logical_cpus(tf, count)
    # Sums in a fixed order: the same result run after run.
    return tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(count)],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def _logical_cpus(tf, count):
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or [cpu]) >= count:
        return
    one = tf.config.LogicalDeviceConfiguration()
    try:
        tf.config.set_logical_device_configuration(cpu, [one] * count)
    except RuntimeError:
        raise BadInput(
            f"{count} replicas on CPUs must be set up before TensorFlow is first used"
        ) from None


def _tpu(tf):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, KeyError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            f"no TPU found ({reason}); valid here: one, mirrored, multi_worker. No TPU "
            "build of TensorFlow 2.21 exists: tensorflow-tpu stops at 2.20"
        ) from None


def _workers(environment):
    try:
        config = json.loads(environment.get("TF_CONFIG", "{}"))
        return sum(map(len, config.get("cluster", {}).values()))
    except (ValueError, AttributeError, TypeError):
        raise BadInput("TF_CONFIG is not JSON of the form TensorFlow reads") from None
