"""What models of clips with sentences share: data, other sentences, sampling."""

import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.layers import tokens as words


class Captioned(GenerativeModel):
    """Base: a model of clips given sentences.

    A subclass has `generate(tokens, seed, first)`.

    Args:
        config: Its Config.
        spec: As `clips_with_sentences` returns it.
        **networks: By name.
    """

    reports_health = True

    def __init__(self, config, spec, **networks):
        super().__init__(config, spec, **networks)
        sentences, tokens = spec.features["sentence"].classes, spec.features["tokens"]
        self.sentences = words.encode(
            sentences, tokens.classes, tokens.shape[0], strict=False
        )

    def other_sentences(self, purpose, sentence):
        """Return tokens of a training sentence other than each row's own.

        Drawn uniformly from the distinct sentences by the noise of this step.

        Args:
            purpose: Of the draw.
            sentence: Numbers of the rows' sentences `[rows]`; -1: one that no training
                row has, from which all training sentences differ.
        """
        drawn = self.noise(purpose, sentence.shape[0], [], kind="uniform")
        count = len(self.sentences)
        others = tf.where(sentence < 0, count, count - 1)
        shift = tf.cast(drawn * tf.cast(others, tf.float32), tf.int64)
        shift = 1 + tf.minimum(shift, tf.cast(others, tf.int64) - 1)
        return tf.gather(self.sentences, (sentence + shift) % count)

    def sample(self, num, seed=0, first=0):
        """Return `num` clips in [-1, 1], of the training sentences in turn.

        Row i is a function of (seed, first + i).
        """
        return self.generate(self.in_turn(num, first), seed, first)

    def in_turn(self, num, first=0):
        """Return tokens of `num` training sentences, from number `first` on."""
        turn = (tf.range(num) + first) % len(self.sentences)
        return tf.gather(self.sentences, turn)

    def told(self, num):
        """Return the sentences of the first `num` samples, as they were written."""
        classes = self.spec.features["sentence"].classes
        return [classes[row % len(classes)] for row in range(num)]

    def generate_text(self, text, seed=0):
        """Return a clip of each sentence, a string tensor `[rows]`.

        Unknown words are read as such: check sentences with `tokens.encode` first.
        """
        return self.generate(self.tokens(text), seed)

    def tokens(self, text):
        """Return the numbers of the words of sentences, a string tensor `[rows]`."""
        feature = self.spec.features["tokens"]
        return words.lookup(text, feature.classes, feature.shape[0])

    def endpoints(self):
        """Return sample(num, seed) and generate(text, seed)."""
        text = tf.TensorSpec([None], tf.string, name="text")
        return {
            "sample": (self.sample, SAMPLE_ARGUMENTS),
            "generate": (self.generate_text, [text, SAMPLE_ARGUMENTS[1]]),
        }


def clips_with_sentences(spec, user, size=0, frames=0):
    """Return what a model of captioned clips in [-1, 1] wants of data.

    Args:
        spec: `DataSpec` of the data.
        user: Name of the model.
        size: Side of its square frames in pixels, 0 = those of the data.
        frames: Of a clip, 0 = those of the data.

    Raises:
        BadInput: The data have no clips with sentences, fewer than two distinct
            sentences, or more than a description lists.
    """
    wanted = spec.for_videos(
        user, low=-1.0, high=1.0, size=size, frames=frames, also=["tokens", "sentence"]
    )
    sentences = wanted.features["sentence"].classes
    if len(sentences) < 2:
        raise BadInput(
            f"{user} needs clips of two sentences or more, listed with the data; "
            f"{spec.name!r} lists {len(sentences)}"
        )
    return wanted
