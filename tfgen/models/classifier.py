"""Convolutional classifier: the feature extractor of the sample metrics.

Two convolutions with pooling, one hidden layer, softmax cross-entropy:

    loss = -mean log softmax(logits)[label]

Exported, it gives logits and the hidden layer's features (after ReLU).
Rows are independent, so N replicas of B rows equal one device with N * B rows.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.model import GenerativeModel
from tfgen.losses import classification


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(Config):
    """The defaults reach 99 % on MNIST in two epochs."""

    image_size: int = option(0, "side in pixels, 0 = the data's", at_least=0)
    channels: int = option(
        32, "of the first convolution; the second has twice", above=0
    )
    features: int = option(128, "units of the hidden layer", at_least=1)
    learning_rate: float = option(1e-3, "Adam", above=0)


class Classifier(GenerativeModel):
    """One step: one descent of the cross-entropy.

    Args:
        config: `ClassifierConfig`.
        spec: images `[h, w, c]` in [-1, 1] and a label with its classes.
        network: images -> [logits `[rows, classes]`, features].
    """

    Config = ClassifierConfig
    PRESETS = {
        "paper": {},
        "small": {"channels": 16, "features": 64},
        "tiny": {"channels": 2, "features": 8},
    }
    monitor = ("accuracy", "max")

    def __init__(self, config, spec, network):
        super().__init__(config, spec, network=network)

    @classmethod
    def create(cls, config, spec):
        """Build the network for the images and classes of `spec`."""
        if not spec.num_classes:
            raise BadInput(f"classifier needs labelled data; {spec.name} has no label")
        spec = spec.for_images(
            "classifier", low=-1.0, high=1.0, size=config.image_size, also=["label"]
        )
        images = x = keras.Input(spec.image.shape, name="images")
        for channels in (config.channels, 2 * config.channels):
            x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
            x = keras.layers.MaxPooling2D()(x)
        x = keras.layers.Flatten()(x)
        x = keras.layers.Dense(config.features, activation="relu")(x)
        logits = keras.layers.Dense(spec.num_classes, dtype="float32")(x)
        features = keras.layers.Activation("linear", dtype="float32")(x)
        return cls(
            config, spec, keras.Model(images, [logits, features], name="network")
        )

    def default_optimizers(self):
        """Adam."""
        return {"optimizer": keras.optimizers.Adam(self.config.learning_rate)}

    def train_step(self, batch):
        """One descent of the cross-entropy."""
        _, parts = self.descend(
            self.cross_entropy,
            self.network,
            self.optimizer,
            batch["image"],
            batch["label"],
        )
        return self.track(**parts)

    def test_step(self, batch):
        """Return the cross-entropy and accuracy on held-out images."""
        _, parts = self.cross_entropy(batch["image"], batch["label"])
        return self.track(**parts)

    def cross_entropy(self, images, labels):
        """Return the mean cross-entropy in nats, and it with the accuracy."""
        logits, _ = self.network(images)
        return classification.cross_entropy(logits, labels)

    def classify(self, images):
        """Return logits, probabilities, features and the likeliest label."""
        logits, features = self.network(images)
        return classification.answers(logits, features)

    def endpoints(self):
        """Return classify(images)."""
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {"classify": (self.classify, [images])}
