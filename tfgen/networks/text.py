"""Networks that read a sentence: tokens `[rows, words]` -> what conditions a clip.

Words come as numbers (`tfgen.layers.tokens`): 0 is padding and 1 an unknown word. Both
are read as zeros.
"""

import math
import zlib

import keras
import numpy as np

from tfgen.core.errors import BadInput
from tfgen.layers.recurrence import GRU

FEWEST = 10  # words that the convolutions of `branch` need
DEVIATION = 0.3  # of an entry of a word's vector, as GloVe's have


class WordVectors(keras.layers.Layer):
    """Frozen vectors of words, N(0, 0.3^2 I): tokens `[rows, words]` -> `[..., size]`.

    They stand where the papers have vectors pretrained on text. A word's vector is a
    function of its letters alone, so it is the same in every vocabulary; padding and
    unknown words are zeros. Nearly orthogonal, they say which word it is and nothing
    of what words have in common.

    Args:
        vocabulary: Words by number.
        size: Length of a vector.
    """

    def __init__(self, vocabulary, size, **kwargs):
        super().__init__(**kwargs)
        self.table = np.zeros([len(vocabulary), size], "float32")
        for number, word in enumerate(vocabulary[2:], start=2):
            self.table[number] = DEVIATION * _normal(word, size)

    def call(self, tokens):
        """Look the vectors up."""
        return keras.ops.take(
            keras.ops.convert_to_tensor(self.table, self.compute_dtype), tokens, axis=0
        )


class LearnedWords(keras.layers.Embedding):
    """Learned vectors of words, N(0, I) at the start: tokens -> `[rows, words, size]`.

    Padding and unknown words are zeros.

    Args:
        words: Size of the vocabulary.
        size: Length of a vector.
    """

    def __init__(self, words, size, **kwargs):
        start = keras.initializers.RandomNormal(stddev=1.0)
        super().__init__(words, size, embeddings_initializer=start, **kwargs)

    def call(self, tokens):
        """Look the vectors up."""
        known = keras.ops.cast(tokens > 1, self.compute_dtype)
        return known[..., None] * super().call(tokens)


class BagOfBigrams(keras.layers.Layer):
    """A frozen vector of a sentence: tokens `[rows, words]` -> `[rows, size]`.

    The mean over its words and pairs of neighbouring words of a random vector of each,
    times the root of their number: each entry is N(0, 1) over sentences. Stands for the
    pretrained sentence vectors of Li et al. 2018; which word follows which is all it
    knows of order.

    Args:
        vocabulary: Words by number.
        size: Length of the vector.
    """

    def __init__(self, vocabulary, size, **kwargs):
        super().__init__(**kwargs)
        words = len(vocabulary)
        self.single = np.zeros([words, size], "float32")
        self.first, self.second = np.zeros_like(self.single), self.single.copy()
        for number, word in enumerate(vocabulary[2:], start=2):
            self.single[number] = _normal(word, size)
            # A pair's vector is a product of signs, so that no table of pairs is held.
            self.first[number] = np.sign(_normal(f"{word} _", size))
            self.second[number] = np.sign(_normal(f"_ {word}", size))

    def call(self, tokens):
        """Add the vectors up."""
        single, first, second = (
            keras.ops.take(keras.ops.convert_to_tensor(table), tokens, axis=0)
            for table in (self.single, self.first, self.second)
        )
        pairs = first[:, :-1] * second[:, 1:]
        total = keras.ops.sum(single, axis=1) + keras.ops.sum(pairs, axis=1)
        known = keras.ops.cast(tokens > 1, "float32")
        terms = keras.ops.sum(known, axis=1)
        terms += keras.ops.sum(known[:, :-1] * known[:, 1:], axis=1)
        total /= keras.ops.sqrt(keras.ops.maximum(terms, 1.0))[:, None]
        return keras.ops.cast(total, self.compute_dtype)


def branch(config, feature, kernel=(), *, name):
    """Return tokens -> [filters of stage 1, filters of stage 2, sentence vector].

    One of the two convolutional encoders of Balaji et al. 2019: three convolutions over
    words, filters from the flattened second one (L1) and from the last one (L2, which
    is the sentence vector too). Half of each stage's filters come from either.

    Args:
        config: Has word_size, text_channels, text_size and filters.
        feature: `Feature` of the tokens.
        kernel: Sides of the filters; empty: the network returns the sentence vector.
        name: Of the network.

    Raises:
        BadInput: Sentences shorter than `FEWEST` words.
    """
    (words,) = feature.shape
    if words < FEWEST:
        raise BadInput(
            f"tokens of {words} words do not fit: this network takes sentences "
            f"padded to {FEWEST} words or more"
        )
    tokens = keras.Input([words], dtype="int64", name="tokens")
    x = WordVectors(feature.classes, config.word_size)(tokens)
    x = _convolution(config.text_channels, 3)(x)
    x = keras.layers.MaxPooling1D(2)(x)
    x = _convolution(config.text_channels, 3)(x)
    levels = [keras.layers.Flatten()(x)]
    x = keras.layers.MaxPooling1D(2)(x)
    # Over all that is left: 2 of 16 words, as published.
    x = _convolution(config.text_size, x.shape[1])(x)
    levels.append(keras.layers.Flatten()(x))
    sentence = keras.layers.Activation("linear", dtype="float32")(levels[1])
    if not kernel:
        return keras.Model(tokens, sentence, name=name)
    shape = (*kernel, config.filters, config.filters)
    banks = [
        keras.layers.Reshape(shape, dtype="float32")(_bank(math.prod(shape))(level))
        for level in levels
    ]
    half = config.filters // 2
    stages = [
        keras.layers.Concatenate(dtype="float32")([bank[..., part] for bank in banks])
        / math.sqrt(math.prod(shape[:-1]))
        for part in (slice(half), slice(half, None))
    ]
    return keras.Model(tokens, [*stages, sentence], name=name)


def sentence(config, feature):
    """Return a function of tokens, in a functional network -> `[rows, text_size]`.

    Args:
        config: Its `sentence` says how: "gru": word vectors of 64 that are learned, a
            bidirectional GRU and the mean of its states; "bigrams": `BagOfBigrams` of
            `sentence_size` and a dense layer.
        feature: `Feature` of the tokens.
    """

    def read(tokens):
        if config.sentence == "bigrams":
            x = BagOfBigrams(feature.classes, config.sentence_size)(tokens)
            return keras.layers.Dense(config.text_size, "leaky_relu")(x)
        x = LearnedWords(len(feature.classes), 64)(tokens)
        both = [GRU(config.text_size // 2, backwards)(x) for backwards in (False, True)]
        x = keras.layers.Concatenate()(both)
        return _MeanOfWords()([x, tokens])

    return read


class Judge:
    """A discriminator in two halves: clips -> features, features and text -> logits.

    The first half does not read the sentence: clips that are judged beside several
    sentences pass it once.

    Attributes:
        trunk: clips `[rows, frames, h, w, c]` -> list of features.
        head: [*features, *text] -> logits `[rows, judgements]`.
        network: Both, as one network.
    """

    def __init__(self, trunk, head, name):
        self.trunk, self.head = trunk, head
        clips = keras.Input(trunk.input.shape[1:], name="clips")
        text = [
            keras.Input(x.shape[1:], dtype=x.dtype)
            for x in head.inputs[len(listed(trunk.output)) :]
        ]
        features = listed(trunk(clips))
        self.network = keras.Model([clips, *text], head([*features, *text]), name=name)

    def features(self, clips, training=True):
        """Return the trunk's features, a list."""
        return listed(self.trunk(clips, training=training))

    def judge(self, features, text, training=True):
        """Return logits `[rows, judgements]`."""
        return self.head([*features, *text], training=training)


def _convolution(width, kernel):
    """Over words, from a start that keeps the mean square of what it convolves."""
    return keras.layers.Conv1D(
        width, kernel, activation="relu", kernel_initializer="he_normal"
    )


def _bank(entries):
    """A bank of filters, of about unit variance at the start."""
    start = keras.initializers.VarianceScaling(1 / DEVIATION**2)
    return keras.layers.Dense(entries, kernel_initializer=start, dtype="float32")


class _MeanOfWords(keras.layers.Layer):
    """The mean of `[rows, words, size]` over words that are not padding."""

    def call(self, inputs):
        x, tokens = inputs
        weight = keras.ops.cast(tokens > 0, x.dtype)
        weight /= keras.ops.maximum(keras.ops.sum(weight, axis=1, keepdims=True), 1.0)
        return keras.ops.sum(weight[..., None] * x, axis=1)


def _normal(text, size):
    random = np.random.default_rng(zlib.crc32(text.encode()))
    return random.standard_normal(size).astype("float32")


def listed(outputs):
    """Return a network's outputs as a list; Keras gives a single one without."""
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
