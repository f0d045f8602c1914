"""Classifier of the pitch of notes: the feature extractor of the audio metrics.

A convolutional network on the logarithmic magnitude of a spectrogram, softmax
cross-entropy:

    loss = -mean log softmax(logits)[pitch]

Convolutions halve time and frequency, time is averaged out, and a dense layer reads
what is left along frequency: pitch is a place on that axis. Exported, it gives logits
and the features of the dense layer (after ReLU), of sound and of spectrograms that a
generator made in the same representation. Rows are independent, so N replicas of B rows
equal one device with N * B rows.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.model import GenerativeModel
from tfgen.layers.spectrogram import KINDS, Representation
from tfgen.losses import classification


@dataclasses.dataclass(frozen=True)
class PitchClassifierConfig(Config):
    """The defaults read four seconds at 16 kHz, 1024 bins."""

    kind: str = option("if_mel", "of spectrogram", choices=KINDS)
    floor: float = option(0.0, "of |S|, under which is silence", at_least=0)
    frames: int = option(128, "spectra a note", at_least=1)
    bins: int = option(1024, "of frequency, half a window in samples", at_least=16)
    samples: int = option(0, "length of a note, 0 = the data's", at_least=0)
    sample_rate: int = option(0, "Hz, 0 = the data's", at_least=0)
    channels: tuple[int, ...] = option((16, 32, 32), "of the convolutions")
    features: int = option(128, "units of the dense layer", at_least=1)
    learning_rate: float = option(1e-3, "Adam", above=0)


class PitchClassifier(GenerativeModel):
    """One step: one descent of the cross-entropy.

    Args:
        config: `PitchClassifierConfig`.
        spec: audio `[samples]` in [-1, 1] and a pitch with its classes.
        network: normalised magnitudes `[rows, frames, bins, 1]` -> [logits `[rows,
            pitches]`, features].
        representation: `Representation` of the spectrograms.
    """

    Config = PitchClassifierConfig
    PRESETS = {
        "paper": {},
        "small": {"kind": "phase", "floor": 0.1, "frames": 64, "bins": 256},
        "tiny": {"frames": 16, "bins": 32, "channels": (2, 2), "features": 8},
    }
    monitor = ("accuracy", "max")

    def __init__(self, config, spec, network, representation):
        super().__init__(config, spec, network=network)
        self.representation = representation

    @classmethod
    def create(cls, config, spec):
        """Build the network for the notes and pitches of `spec`."""
        spec = spec.for_notes(
            "pitch_classifier", samples=config.samples, sample_rate=config.sample_rate
        )
        try:
            representation = Representation(
                config.kind,
                config.frames,
                config.bins,
                fft=2 * config.bins,
                hop=config.bins // 2,
                samples=spec.audio.shape[0],
                sample_rate=spec.audio.sample_rate,
                floor=config.floor,
            )
        except ValueError as error:
            raise BadInput(f"pitch_classifier: {error}") from None
        magnitude = x = keras.Input((config.frames, config.bins, 1), name="magnitude")
        for channels in config.channels:
            x = keras.layers.Conv2D(
                channels, 3, strides=2, padding="same", activation="relu"
            )(x)
        x = keras.ops.mean(x, axis=1)
        x = keras.layers.Flatten()(x)
        x = keras.layers.Dense(config.features, activation="relu")(x)
        pitches = len(spec.features["pitch"].classes)
        logits = keras.layers.Dense(pitches, dtype="float32")(x)
        features = keras.layers.Activation("linear", dtype="float32")(x)
        network = keras.Model(magnitude, [logits, features], name="network")
        return cls(config, spec, network, representation)

    def default_optimizers(self):
        """Adam."""
        return {"optimizer": keras.optimizers.Adam(self.config.learning_rate)}

    def train_step(self, batch):
        """One descent of the cross-entropy."""
        _, parts = self.descend(
            self.cross_entropy,
            self.network,
            self.optimizer,
            self.magnitude(self.representation.forward(batch["audio"])),
            batch["pitch"],
        )
        return self.track(**parts)

    def test_step(self, batch):
        """Return the cross-entropy and accuracy on held-out notes."""
        magnitude = self.magnitude(self.representation.forward(batch["audio"]))
        _, parts = self.cross_entropy(magnitude, batch["pitch"])
        return self.track(**parts)

    def magnitude(self, spectrograms):
        """Return what the network sees of spectrograms, `[rows, frames, bins, 1]`."""
        return self.representation.normalise(spectrograms)[..., :1]

    def cross_entropy(self, magnitude, pitch):
        """Return the mean cross-entropy in nats, and it with the accuracy."""
        logits, _ = self.network(magnitude)
        return classification.cross_entropy(logits, pitch)

    def classify_notes(self, audio):
        """Return logits, probabilities, features and pitch of sound `[rows, samples]`.

        "pitch" is the number of the class, an index into the pitches of the data.
        """
        return self.classify_spectrograms(self.representation.forward(audio))

    def classify_spectrograms(self, spectrograms):
        """Return the same of spectrograms `[rows, frames, bins, 2]`, not normalised."""
        logits, features = self.network(self.magnitude(spectrograms))
        return classification.answers(logits, features, "pitch")

    def endpoints(self):
        """Return classify_notes(audio), classify_spectrograms(spectrograms)."""
        audio = tf.TensorSpec([None, *self.spec.audio.shape], name="audio")
        pictures = tf.TensorSpec([None, *self.representation.shape], name="spectrogram")
        return {
            "classify_notes": (self.classify_notes, [audio]),
            "classify_spectrograms": (self.classify_spectrograms, [pictures]),
        }
