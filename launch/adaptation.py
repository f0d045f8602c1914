"""The last stage of an adaptation: how it classifies test rows of the target domain."""

from tfgen.core.errors import BadInput
from tfgen.metrics.passes import graph, in_parts

from . import held_out


def is_measurable(model, pair):
    """Return whether `model` classifies the target of a split of two domains."""
    return hasattr(model, "classify") and hasattr(pair, "target")


def check_classes(model, pair):
    """Refuse labelled target rows whose classes are not those of the source.

    Args:
        model: Its spec names the classes of the source.
        pair: `PairStream`.

    Raises:
        BadInput: The classes differ; a class is known by its name and number.
    """
    held_out.domain(pair, model.spec, "target", limit=1)


def measure(model, stream, rows=None):
    """Return {metric: Estimate} of a classifier on labelled rows.

    accuracy, cross_entropy: of the classifier, adapted where it is. For models that
    keep it, source_only_accuracy: of the one trained on the source alone.

    Args:
        model: Has `classify` and perhaps `classify_source`.
        stream: The split, for messages; of two domains its target is measured.
        rows: {"image", "label"} as the model wants them; None: the target's.

    Raises:
        BadInput: The rows have no labels, or those of other classes.
    """
    from tfgen.metrics.classifier import label_agreement

    if rows is None:
        rows = held_out.domain(stream, model.spec, "target")
    stream = getattr(stream, "target", stream)
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
