"""The classifier of pitches: what it hears, what it refuses."""

import numpy as np
import pytest
import tensorflow as tf

from tests import synthetic
from tfgen import models
from tfgen.core.errors import BadInput


@pytest.mark.slow
def test_it_learns_pitches():
    data = synthetic.notes(size=32, batch=64)
    hparams = {"frames": 4, "bins": 128, "channels": (8,), "features": 32}
    hparams |= {"kind": "if", "learning_rate": 0.01}
    model = models.build("pitch_classifier", "tiny", spec=data.spec, hparams=hparams)
    model.fit(data, steps_per_epoch=50, verbose=0)
    # Chance is 1 in 12.
    assert model.evaluate(data, return_dict=True, verbose=0)["accuracy"] > 0.6


def test_sound_and_its_spectrogram_are_heard_alike():
    data = synthetic.notes()
    model = models.build("pitch_classifier", "tiny", spec=data.spec)
    audio = tf.cast(data.arrays["audio"][:5], tf.float32) / 32768
    heard = model.classify_notes(audio)
    seen = model.classify_spectrograms(model.representation.forward(audio))
    for name in ("logits", "features", "probabilities", "pitch"):
        np.testing.assert_array_equal(heard[name], seen[name])
    assert heard["logits"].shape == (5, 12)
    # An index into the pitches, not a MIDI number.
    np.testing.assert_array_equal(heard["pitch"], np.argmax(heard["logits"], axis=1))


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"frames": 1}, "pitch_classifier: 1 frames of 64 samples.*give more frames"),
        ({"kind": "mel"}, "one of phase, if, if_mel"),
    ],
)
def test_what_does_not_fit(hparams, message):
    data = synthetic.notes(size=16)
    with pytest.raises(BadInput, match=message):
        models.build("pitch_classifier", "tiny", spec=data.spec, hparams=hparams)


def test_pictures_are_no_notes(stream):
    with pytest.raises(BadInput, match="has no audio; it has: image, label"):
        models.build("pitch_classifier", "tiny", spec=stream.spec)
