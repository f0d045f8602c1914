"""Two processes on loopback train like two replicas of one process."""

import json
import socket

import numpy as np
import pytest

from tests.conformance import harness
from tfgen.core import checkpoint

STEPS = 3
TIMEOUT = 240  # seconds; a worker that waits for the other waits for ever
CASES = [
    pytest.param(name, xla, marks=[] if quick else pytest.mark.slow)
    for name, xla, quick in [
        ("vae", False, False),
        ("vae", True, False),
        ("wgan", False, False),
        ("wgan", True, False),
        ("wgan_gp", False, True),
        ("wgan_gp", True, False),
    ]
]


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start_workers(job):
    """Start the two workers of a job; each knows all addresses and its own number."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    return [
        harness.start_process(
            job,
            TF_CONFIG=json.dumps(
                {"cluster": cluster, "task": {"type": "worker", "index": number}}
            ),
        )
        for number in range(2)
    ]


@pytest.mark.parametrize(("name", "xla"), CASES)
def test_two_workers_equal_two_replicas(name, xla, tmp_path, two_replicas):
    run = {"model": name, "replicas": 2, "xla": xla, "sgd": True, "steps": STEPS}
    job = {"strategy": "multi_worker", "runs": [run | {"save": str(tmp_path)}]}
    workers = start_workers(job)
    try:
        model = harness.build(name, two_replicas, xla, sgd=True)
        start = harness.trained(model)
        pair = harness.trained(harness.train(model, STEPS))
    finally:
        digests = harness.answers(workers, TIMEOUT)
    assert digests[0] == digests[1]

    # One file, of the chief; it restores on replicas and on one device.
    assert checkpoint.steps(tmp_path) == [STEPS]
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000003.npz"]
    checkpoint.restore(model, checkpoint.path_of(tmp_path, STEPS))
    # Sums in another order, as in test_replicas.
    assert harness.difference(start, pair, harness.trained(model)) < 1e-4
    one = harness.build(name, None, xla, sgd=True)
    checkpoint.restore(one, checkpoint.path_of(tmp_path, STEPS))
    for key, value in harness.trained(model).items():
        np.testing.assert_array_equal(value, harness.trained(one)[key])
