"""Sentences as numbers of words.

A sentence is put into lower case, loses its punctuation and is split at white space.
A vocabulary is a tuple whose first two entries stand for padding and for a word that
it does not have; the number of a word is its place in it.
"""

import re

import numpy as np
import tensorflow as tf

from tfgen.core.errors import BadInput

PADDING, UNKNOWN = "", "[UNK]"
# ASCII punctuation, in a form that Python and RE2 read alike.
_PUNCTUATION = r"[!-/:-@\[-`{-~]"


def split(sentence: str) -> list[str]:
    """Returns the words of a sentence.

    >>> split("A large, red circle.")
    ['a', 'large', 'red', 'circle']
    """
    return re.sub(_PUNCTUATION, "", sentence.lower()).split()


def vocabulary_of(sentences) -> tuple[str, ...]:
    """Returns padding, the unknown word, then the words of sentences, sorted."""
    words = {word for sentence in sentences for word in split(sentence)}
    return (PADDING, UNKNOWN, *sorted(words))


def encode(sentences, vocabulary, length: int, strict: bool = True) -> np.ndarray:
    """Returns the numbers of the words of sentences, int64 `[rows, length]`.

    Args:
        sentences: texts.
        vocabulary: see above.
        length: words in a row; shorter sentences are padded with 0.
        strict: refuse unknown words; False: give them number 1.

    Raises:
        BadInput: a sentence without words or with more than `length`, or an unknown
            word, which is named.
    """
    numbers = {word: number for number, word in enumerate(vocabulary)}
    tokens = np.zeros([len(sentences), length], "int64")
    for row, sentence in zip(tokens, sentences, strict=True):
        words = split(sentence)
        if not 1 <= len(words) <= length:
            raise BadInput(
                f"{sentence!r} has {len(words)} words; it must have 1 to {length}"
            )
        if strict and (unknown := [word for word in words if word not in numbers]):
            raise BadInput(
                f"unknown word {unknown[0]!r} in {sentence!r}; known: "
                f"{', '.join(vocabulary[2:])}"
            )
        row[: len(words)] = [numbers.get(word, 1) for word in words]
    return tokens


def decode(tokens, vocabulary) -> list[str]:
    """Returns the sentences that rows of numbers stand for, without padding."""
    return [" ".join(vocabulary[number] for number in row if number) for row in tokens]


def lookup(sentences, vocabulary, length: int):
    """Does what `encode` does, in a graph: unknown words become 1, the rest is cut.

    Words are compared with all of the vocabulary rather than hashed, so the graph
    holds no table and is exported as it is.

    Args:
        sentences: string tensor `[rows]`.
        vocabulary: see above.
        length: words in a row.

    Returns:
        int64 `[rows, length]`.
    """
    lower = tf.strings.lower(sentences, encoding="utf-8")
    plain = tf.strings.regex_replace(lower, _PUNCTUATION, "")
    words = tf.strings.split(plain).to_tensor("", shape=[None, length])
    same = words[..., None] == tf.constant(vocabulary)
    number = tf.argmax(tf.cast(same, tf.int32), axis=-1)
    return tf.where(tf.reduce_any(same, axis=-1), number, tf.ones_like(number))
