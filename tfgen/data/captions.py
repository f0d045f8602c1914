"""Sentences of clips or images as the features `tokens` and `sentence`."""

import dataclasses

import numpy as np

from tfgen.core.spec import Feature
from tfgen.layers import tokens

MOST_CLASSES = 8000  # distinct sentences that a description still lists


def described(train: list[str], test: list[str] | None = None):
    """Turns the sentences of the rows of both splits into numbers.

    `tokens`, int64 `[words]`, are the numbers of a sentence's words, padded to a
    multiple of 8; its classes are the vocabulary of the training sentences.
    `sentence` numbers the distinct training sentences, so that two rows can be told
    to say the same; -1 is one that no training row has. Its classes are those
    sentences, if there are at most `MOST_CLASSES`. Where training rows are left out
    later, `of_training` follows.

    Args:
        train: a sentence for each training row.
        test: the same for the test rows, if any; words that the training rows do not
            have become 1.

    Returns:
        ({name: Feature}, {name: array} of the training rows, and of the test rows or
        None).
    """
    distinct = {}
    for sentence in train:
        distinct.setdefault(" ".join(tokens.split(sentence)), sentence)
    numbers = {plain: number for number, plain in enumerate(sorted(distinct))}
    vocabulary = tokens.vocabulary_of(distinct)
    longest = max(
        len(tokens.split(sentence)) for sentence in [*distinct, *(test or ())]
    )
    length = -(-longest // 8) * 8

    def arrays(sentences):
        plain = [" ".join(tokens.split(sentence)) for sentence in sentences]
        found = sorted(set(plain))
        rows = tokens.encode(found, vocabulary, length, strict=False)
        place = {sentence: row for row, sentence in enumerate(found)}
        return {
            "tokens": rows[[place[sentence] for sentence in plain]],
            "sentence": np.array([numbers.get(x, -1) for x in plain], "int64"),
        }

    few = len(numbers) <= MOST_CLASSES
    listed = tuple(distinct[plain] for plain in numbers) if few else ()
    features = {
        "tokens": Feature((length,), "int64", classes=vocabulary),
        "sentence": Feature((), "int64", classes=listed),
    }
    return features, arrays(train), None if test is None else arrays(test)


def of_training(features, train, *others):
    """Numbers sentences anew where rows have left the training split.

    `sentence` then numbers, in the old order, those that a training row has; rows of
    others get -1. Models draw wrong sentences from these alone: one that only held-out
    clips have would never be seen to be right. The vocabulary stays.

    Args:
        features: {name: Feature} of the data; without `sentence` nothing changes.
        train: {name: array} of the rows that are trained on.
        *others: the same of rows that are not, or None.

    Returns:
        (features, train, *others), what was given left as it is.
    """
    if "sentence" not in features:
        return features, train, *others
    kept = np.unique(train["sentence"])
    old = features["sentence"]
    listed = tuple(old.classes[number] for number in kept) if old.classes else ()

    def renumbered(arrays):
        if arrays is None:
            return None
        numbers = arrays["sentence"]
        places = np.minimum(np.searchsorted(kept, numbers), len(kept) - 1)
        places = np.where(kept[places] == numbers, places, -1)
        return {**arrays, "sentence": places.astype("int64")}

    features = {**features, "sentence": dataclasses.replace(old, classes=listed)}
    return features, *map(renumbered, (train, *others))
