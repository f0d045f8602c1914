"""Sentences as numbers: in Python, and in a graph the same."""

import numpy as np
import pytest
import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.layers import tokens

SENTENCES = ["A large, red circle.", "a small  blue\tsquare"]
VOCABULARY = ("", "[UNK]", "a", "blue", "circle", "large", "red", "small", "square")


def test_numbers_of_words():
    assert tokens.vocabulary_of(SENTENCES) == VOCABULARY
    found = tokens.encode(SENTENCES, VOCABULARY, 6)
    np.testing.assert_array_equal(found, [[2, 5, 6, 4, 0, 0], [2, 7, 3, 8, 0, 0]])
    assert found.dtype == "int64"
    assert tokens.decode(found, VOCABULARY) == [
        "a large red circle",
        "a small blue square",
    ]


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("a large purple circle", "unknown word 'purple' in .*; known: a, blue"),
        ("a a a a a a a", "has 7 words; it must have 1 to 6"),
        ("...", "has 0 words"),
    ],
)
def test_what_cannot_be_read_is_named(sentence, message):
    with pytest.raises(BadInput, match=message):
        tokens.encode([sentence], VOCABULARY, 6)


def test_a_graph_reads_the_same():
    sentences = [*SENTENCES, "A LARGE purple circle", "red", "Ärger!"]
    wanted = tokens.encode(sentences, VOCABULARY, 4, strict=False)
    assert wanted[2, 2] == 1

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def read(texts):
        return tokens.lookup(texts, VOCABULARY, 4)

    found = read(tf.constant(sentences))
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == tf.int64
    # What is too long is cut.
    np.testing.assert_array_equal(read(tf.constant(["a a a a red"])), [[2, 2, 2, 2]])


def test_a_saved_model_reads_it(tmp_path):
    module = tf.Module()
    module.read = tf.function(
        lambda texts: tokens.lookup(texts, VOCABULARY, 6),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    tf.saved_model.save(module, str(tmp_path))
    read = tf.saved_model.load(str(tmp_path)).read
    wanted = tokens.encode(SENTENCES, VOCABULARY, 6)
    np.testing.assert_array_equal(read(tf.constant(SENTENCES)), wanted)
