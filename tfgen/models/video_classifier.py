"""Classifier of clips: the judge of attributes and the features of video metrics.

Five 3-D convolutions, halving the frames' sides down to 4 and the time down to 2, one
hidden layer, softmax cross-entropy, as Li et al. 2018 score their clips:

    loss = -mean log softmax(logits)[label]

`label` names the feature to tell: a data set of Moving Shapes has shape, size, colour,
motion and direction, each a classifier of its own. Where things are counts, so maps are
flattened, not averaged. Rows are independent, so N replicas of B rows equal one device
with N * B rows.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.model import GenerativeModel
from tfgen.layers import volumes
from tfgen.losses import classification


@dataclasses.dataclass(frozen=True)
class VideoClassifierConfig(Config):
    """The defaults are for 16 frames of 64 pixels."""

    label: str = option("label", "feature to tell the classes of")
    image_size: int = option(0, "side in pixels, 0 = the data's", at_least=0)
    frames: int = option(0, "of a clip, 0 = the data's", at_least=0)
    channels: int = option(16, "of the first convolution", at_least=1)
    features: int = option(128, "units of the hidden layer", at_least=1)
    learning_rate: float = option(1e-3, "Adam", above=0)


class VideoClassifier(GenerativeModel):
    """One step: one descent of the cross-entropy.

    Args:
        config: `VideoClassifierConfig`.
        spec: clips `video` `[frames, h, w, c]` in [-1, 1] and the label.
        network: clips -> [logits `[rows, classes]`, features].
    """

    Config = VideoClassifierConfig
    PRESETS = {
        "paper": {},
        "small": {"channels": 8, "features": 64},
        "tiny": {"label": "colour", "channels": 2, "features": 8},
    }
    monitor = ("accuracy", "max")

    def __init__(self, config, spec, network):
        super().__init__(config, spec, network=network)

    @classmethod
    def create(cls, config, spec):
        """Build the network for the clips of `spec` and the classes of the label."""
        labels = [
            name
            for name, feature in spec.features.items()
            if feature.classes and not feature.shape
        ]
        if config.label not in labels:
            raise BadInput(
                f"hparam label={config.label}: data {spec.name!r} has no such classes; "
                f"it has: {', '.join(labels) or 'none'}"
            )
        spec = spec.for_videos(
            "video_classifier",
            low=-1.0,
            high=1.0,
            size=config.image_size,
            frames=config.frames,
            also=[config.label],
        )
        classes = len(spec.features[config.label].classes)
        return cls(config, spec, _network(config, spec.video.shape, classes))

    def default_optimizers(self):
        """Adam."""
        return {"optimizer": keras.optimizers.Adam(self.config.learning_rate)}

    def train_step(self, batch):
        """One descent of the cross-entropy."""
        _, parts = self.descend(
            self.cross_entropy,
            self.network,
            self.optimizer,
            batch["video"],
            batch[self.config.label],
        )
        return self.track(**parts)

    def test_step(self, batch):
        """Return the cross-entropy and accuracy on held-out clips."""
        _, parts = self.cross_entropy(batch["video"], batch[self.config.label])
        return self.track(**parts)

    def cross_entropy(self, videos, labels):
        """Return the mean cross-entropy in nats, and it with the accuracy."""
        logits, _ = self.network(videos)
        return classification.cross_entropy(logits, labels)

    def classify(self, videos):
        """Return logits, probabilities, features and the likeliest label."""
        logits, features = self.network(videos)
        return classification.answers(logits, features)

    def endpoints(self):
        """Return classify(videos)."""
        videos = tf.TensorSpec([None, *self.spec.video.shape], name="videos")
        return {"classify": (self.classify, [videos])}


def _network(config, shape, classes):
    videos = x = keras.Input(shape, name="videos")
    for depth in range(5):
        frames, side = x.shape[1:3]
        strides = [1 + (depth > 0 and frames > 2), *[1 + (side > 4)] * 2]
        width = config.channels * min(2**depth, 4)
        x = volumes.Conv3D(width, 3, strides, "same", activation="relu")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(config.features, activation="relu")(x)
    logits = keras.layers.Dense(classes, dtype="float32")(x)
    features = keras.layers.Activation("linear", dtype="float32")(x)
    return keras.Model(videos, [logits, features], name="network")
