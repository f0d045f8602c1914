"""The last stage of an adaptation: how it classifies test rows of the target domain."""

import numpy as np

from tfgen.core.errors import BadInput

from . import held_out


def is_measurable(model, pair):
    """Return whether `model` classifies the target of a split of two domains."""
    return hasattr(model, "classify") and hasattr(pair, "target")


def measure(model, pair, rows=None):
    """Return {metric: Estimate} on the target rows of a split, all of them.

    accuracy: of the adapted classifier. source_only_accuracy: of the one trained on
    the source alone, where the model keeps it.

    Args:
        model: Has `classify` and perhaps `classify_source`.
        pair: `PairStream` whose target has labels.
        rows: {"image", "label"} as the model wants them; None: made from `pair`.

    Raises:
        BadInput: The target's test rows have no labels.
    """
    from tfgen.metrics.classifier import label_agreement

    if rows is None:
        rows = held_out.domain(pair, model.spec, "target")
    if "label" not in rows:
        raise BadInput(f"{pair.target.spec.name} has no labels to test against")
    found = {}
    for name, method in (
        ("accuracy", "classify"),
        ("source_only_accuracy", "classify_source"),
    ):
        if hasattr(model, method):
            logits = by_parts(getattr(model, method), rows["image"], "logits")
            found[name] = label_agreement(logits, rows["label"]).accuracy
    return found


def by_parts(function, images, output):
    """Return one output of an endpoint for images `[n, ...]`, some hundred at a time."""
    import tensorflow as tf

    graph = tf.function(function, autograph=False)
    starts = range(0, len(images), held_out.ROWS)
    parts = [images[i : i + held_out.ROWS] for i in starts]
    return np.concatenate([graph(tf.constant(x))[output].numpy() for x in parts])
