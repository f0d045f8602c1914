"""Trains in a process of its own: `python -m tests.conformance.process JSON`.

The job is {"strategy": "mirrored" (two logical CPUs) or "multi_worker", "runs": [
{"model", "replicas", "xla", "sgd", "steps", "restore": folder, "save": folder}]}.
Prints a list, for each run the digest of the state it ends with.
"""

import json
import sys


def main(job):
    from tfgen.core.strategy import make_strategy

    # First of all: workers and devices cannot be set up later.
    strategy = make_strategy(job["strategy"], {"mirrored": 2}.get(job["strategy"]))
    print(json.dumps([one_run(strategy, **run) for run in job["runs"]]))


def one_run(strategy, model, replicas, xla, sgd, steps, restore=None, save=None):
    from tests.conformance import harness
    from tfgen.core import checkpoint

    model = harness.build(model, strategy if replicas > 1 else None, xla, sgd)
    if restore:
        checkpoint.restore_newest(model, restore, warn=sys.exit)
    harness.train(model, steps)
    if save:
        checkpoint.save(model, save)
    return checkpoint.digest(model)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
