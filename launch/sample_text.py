"""Clips of sentences that are given in words."""

import numpy as np

from tfgen.core.errors import BadInput

NEEDS = {"text": "generate", "morph": "morph"}


def text(source, flags):
    """Return --num clips of each --text in turn, their columns, and what they say."""
    several = _sentences(source, flags)
    clips = source.images("generate", np.repeat(several, flags.num), flags.seed)
    return clips, flags.num if flags.num > 1 else None


def morph(source, flags):
    """Return --num clips whose sentence turns from the first --text into the second."""
    several = _sentences(source, flags)
    if len(several) != 2:
        raise BadInput("--mode=morph needs two of --text: from what, to what")
    ends = [np.repeat(sentence, flags.num) for sentence in several]
    return source.images("morph", *ends, flags.seed), None


def _sentences(source, flags):
    """Return --text as an array, all words of it known to the model."""
    from tfgen.layers import tokens

    if not flags.text:
        told = source.spec.features["sentence"].classes
        raise BadInput(f"--mode={flags.mode} needs --text, such as {told[0]!r}")
    feature = source.spec.features["tokens"]
    tokens.encode(flags.text, feature.classes, feature.shape[0])
    return np.array(flags.text)
