"""The last stage of an adaptation: how it classifies test rows of the target domain."""

from tfgen.core.errors import BadInput
from tfgen.metrics.passes import graph, in_parts

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
    logits = logits_of(model.classify, rows["image"])
    agreement = label_agreement(logits, rows["label"])
    found = {name: getattr(agreement, name) for name in ("accuracy", "cross_entropy")}
    if hasattr(model, "classify_source"):
        logits = logits_of(model.classify_source, rows["image"])
        agreement = label_agreement(logits, rows["label"])
        found["source_only_accuracy"] = agreement.accuracy
    return found


def logits_of(classify, inputs, rows=None):
    """Return the logits of many inputs; `classify` is a model's endpoint."""
    return in_parts(graph(lambda x: classify(x)["logits"]), inputs, rows=rows)
