"""The last stage of an adaptation: how it classifies test rows of the target domain."""

import numpy as np

from tfgen.core.errors import BadInput

from . import held_out


def is_measurable(model, pair):
    """Return whether `model` classifies the target of a split of two domains."""
    return hasattr(model, "classify") and hasattr(pair, "target")


def measure(model, stream, rows=None):
    """Return {metric: Estimate} of a classifier on labelled rows.

    accuracy, cross_entropy: of the classifier, adapted where it is. For models that
    keep it, source_only_accuracy: of the one trained on the source alone.

    Args:
        model: Has `classify` and perhaps `classify_source`.
        stream: The split, for messages; of two domains its target is measured.
        rows: {"image", "label"} as the model wants them; None: the target's.

    Raises:
        BadInput: The rows have no labels.
    """
    from tfgen.metrics.classifier import label_agreement

    stream = getattr(stream, "target", stream)
    if rows is None:
        images = model.spec.replace(features={"image": model.spec.image})
        rows = held_out.arrays(stream, images)
    if "label" not in rows:
        raise BadInput(f"{stream.spec.name} has no labels to test against")
    logits = by_parts(model.classify, rows["image"], "logits")
    agreement = label_agreement(logits, rows["label"])
    found = {name: getattr(agreement, name) for name in ("accuracy", "cross_entropy")}
    if hasattr(model, "classify_source"):
        logits = by_parts(model.classify_source, rows["image"], "logits")
        agreement = label_agreement(logits, rows["label"])
        found["source_only_accuracy"] = agreement.accuracy
    return found


def by_parts(function, images, output):
    """Return one output of an endpoint for images `[n, ...]`, some hundred at a time.

    Args:
        function: Returns a dict of tensors.
        images: Array.
        output: Name of the output.
    """
    import tensorflow as tf

    graph = tf.function(function, autograph=False)
    starts = range(0, len(images), held_out.ROWS)
    parts = [images[i : i + held_out.ROWS] for i in starts]
    return np.concatenate([graph(tf.constant(x))[output].numpy() for x in parts])
