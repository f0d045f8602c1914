"""How a translator does on rows of both domains that it did not train on."""

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.metrics.passes import graph, in_parts

from . import held_out

UNPAIRED = ("cycle_l1_a", "cycle_l1_b")
PAIRED = tuple(
    f"{name}_{way}"
    for way in ("ab", "ba")
    for name in ("psnr", "psnr_untranslated", "retrieval", "retrieval_untranslated")
)
METRICS = UNPAIRED + PAIRED


def measure(model, pair, metrics, limit=None):
    """Return {metric: (Estimate, rows, unit)}.

    cycle_l1_a: mean |F(G(a)) - a| of pixels, _b the other way. Of sets whose rows
    have a number `pair` in common besides, with t the counterpart of a: psnr_ab of
    G(a) against t, retrieval_ab the share of G(a) that is nearer to its t than to any
    other, and both of a itself, untranslated; _ba the other way.

    Args:
        model: Has `translate_ab` and `translate_ba`.
        pair: `PairStream`.
        metrics: Names of METRICS.
        limit: Rows of each domain at most.

    Raises:
        BadInput: A metric needs pairs, and the data have none.
    """
    from tfgen.metrics.likelihood import mean_and_error

    domains = [
        held_out.domain(pair, model.endpoint_spec, name, limit)
        for name in ("source", "target")
    ]
    functions = [graph(model.translate_ab), graph(model.translate_ba)]
    found = {}
    for way, ours, theirs in (("ab", 0, 1), ("ba", 1, 0)):
        images = domains[ours]["image"]
        made = in_parts(functions[ours], images)["images"]
        if (name := f"cycle_l1_{way[0]}") in metrics:
            again = in_parts(functions[theirs], made)["images"]
            apart = np.abs(again - images).mean(axis=(1, 2, 3))
            found[name] = mean_and_error(apart), len(images), "pixels"
        if {name for name in PAIRED if name.endswith(way)} & set(metrics):
            rows, others = _counterparts(domains[ours], domains[theirs], pair)
            truth = domains[theirs]["image"][others]
            found |= _against(truth, made[rows], f"_{way}", model.spec.image)
            found |= _against(
                truth, images[rows], f"_untranslated_{way}", model.spec.image
            )
    return {name: found[name] for name in metrics}


def _against(truth, images, ending, feature):
    from tfgen.metrics import translation

    ratio = translation.psnr(images, truth, feature.high - feature.low)
    hits = translation.retrieval(images, truth)
    return {
        f"psnr{ending}": (ratio, len(truth), "dB"),
        f"retrieval{ending}": (hits, len(truth), "share"),
    }


def _counterparts(ours, theirs, pair):
    """Return row numbers of counterparts: equal `pair`."""
    if "pair" not in ours or "pair" not in theirs:
        raise BadInput(
            f"{pair.spec.name} has no pairs to compare with; valid: "
            f"{', '.join(UNPAIRED)}"
        )
    _, mine, other = np.intersect1d(ours["pair"], theirs["pair"], return_indices=True)
    return mine, other
