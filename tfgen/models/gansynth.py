"""GANSynth: notes of musical instruments (Engel et al. 2019).

A generator makes a spectrogram of log-magnitudes and instantaneous frequencies from z
and a pitch y, which is turned into sound without a further network; an auxiliary
classifier of the discriminator says which pitch it heard:

    L_D = E D(fake) - E D(real) + 10 E (||grad_x D(x)|| - 1)^2 + 0.001 E D(real)^2
          + 10 E CE(pitch(real), y)
    L_G = -E D(fake) + 10 E CE(pitch(fake), y)

with x between real and fake. D never receives y, and fakes teach it no pitch. All this,
the penalty's unit of length above all, is in physical units: the generator's output is
de-normalised, the discriminator normalises and clips what it is given.

`gansynth` grows as published: stages stable_1, grow_2, stable_2, ..., stable_K work at
one resolution, or fade the next one in. Which of them a step belongs to, and how far
the fade is, are functions of the step. At each stage the optimizers start anew; a finer
block's layers have not been touched before it comes in. A stage computes the blocks it
needs, on pictures of its own resolution, and gets what the published networks get of
whole ones: a pixel stands for s x s of the whole, so its length counts s-fold in the
penalty. `gansynth_flat` trains all blocks at once.

Departures: fakes carry the pitches of the batch's real rows, for D turned by half the
batch: the distribution of the published draws from the training set's histogram. D is
updated first. Spectrograms are scaled by the widest values that notes can have, not by
the data's, but for `if_mel`, whose scale is the published one. In `small` what lies
under a floor is silence: no z can tell the phases and levels of noise. D's deviation
is over a replica's rows: N replicas of B rows equal one device with N shards of them.
"""

import dataclasses
import functools

import keras
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.core.restart import restart
from tfgen.layers import box, spectrogram
from tfgen.losses import adversarial, classification, health, penalties
from tfgen.networks import progressive


@dataclasses.dataclass(frozen=True)
class FlatConfig(Config):
    """Of `gansynth_flat`; the defaults are those of the published best run."""

    representation: str = option(
        "if_mel", "magnitude and phase as", choices=spectrogram.KINDS
    )
    mel: str = option("official", "matrix of if_mel", choices=spectrogram.MEL_MODES)
    floor: float = option(0.0, "of |S|, under which is silence", at_least=0)
    frames: int = option(128, "of a spectrogram, in time", at_least=1)
    bins: int = option(1024, "of a spectrogram; windows are 2 bins long", at_least=4)
    samples: int = option(0, "of a note, 0 = as many as the data's", at_least=0)
    sample_rate: int = option(16_000, "Hz, that data are brought to", at_least=1)
    resolutions: int = option(7, "blocks, each twice as fine as the last", at_least=1)
    channels: int = option(256, "feature maps of a block, at most", at_least=1)
    channel_budget: int = option(4096, "feature maps of block b times 2^b", at_least=1)
    latent_size: int = option(256, "length of z", at_least=1)
    penalty_weight: float = option(10.0, "of the gradient penalty", at_least=0)
    drift_weight: float = option(0.001, "of the squared real scores", at_least=0)
    pitch_weight: float = option(10.0, "of real notes' cross-entropy", at_least=0)
    generator_pitch_weight: float = option(10.0, "of fakes' one", at_least=0)
    learning_rate: float = option(8e-4, "Adam, both networks", above=0)
    average_decay: float = option(
        0.999, "of the generator's moving average a step", at_least=0, at_most=1
    )


@dataclasses.dataclass(frozen=True)
class GANSynthConfig(FlatConfig):
    """Of `gansynth`; 800,000 notes a stage in batches of 8."""

    stable_steps: int = option(100_000, "at each resolution but the last", at_least=1)
    grow_steps: int = option(100_000, "to fade in the next one", at_least=1)


_LOW = {"frames": 256, "bins": 512}
_SMALL = {
    "representation": "phase",  # notes that all begin at once: it is told by the pitch
    "floor": 0.1,
    "frames": 64,
    "bins": 256,
    "samples": 8192,
    "resolutions": 6,
    "channels": 32,
    "channel_budget": 512,
    "latent_size": 16,
    "average_decay": 0.998,
}
_TINY = {
    "representation": "if",  # the scale of mel power is for windows of 2,048 samples
    "frames": 8,
    "bins": 16,
    "samples": 64,
    "resolutions": 2,
    "channels": 4,
    "channel_budget": 16,
    "latent_size": 4,
    "average_decay": 0.9,
}


class Scale:
    """The objective on blocks 1 ... `last`, with heads from block `first` on.

    Args:
        model: Whose networks and weights of terms these are.
        first: The first block that makes and sees pictures.
        last: The last.
    """

    def __init__(self, model, first, last):
        self.model, self.blocks = model, {"first": first, "last": last}
        self.generator = model.generator.parts(first, last)
        self.discriminator = model.discriminator.parts(first, last)
        # Sides of a pixel at block `last`, in pixels of the whole.
        self.side = 2 ** (model.generator.last - last)

    def discriminator_loss(self, real, y, z, mix, progress):
        """Return L_D and reports.

        Args:
            real: `[rows, frames, bins, 2]`, physical units.
            y: Their pitches, one-hot.
            z: The fakes' latents.
            mix: Uniform `[rows, 1, 1, 1]`.
            progress: `[rows]`.
        """
        config = self.model.config
        real = box.shrink(real, self.side)
        real = progressive.shrunk(real, progress=progress, **self.blocks)
        fake = self.make(z, tf.roll(y, y.shape[0] // 2, axis=0), progress)
        score, logits = self.judge(real, progress)
        scores = score, self.judge(fake, progress)[0]
        estimate = adversarial.wasserstein_estimate(*scores)
        penalty = penalties.gradient_penalty(
            lambda x: self.judge(x / self.side, progress)[0],
            *(real * self.side, fake * self.side, mix),
        )
        pitch, right = _cross_entropy(logits, y)
        loss = config.penalty_weight * penalty - estimate + config.pitch_weight * pitch
        drift = tf.reduce_mean(tf.square(score))
        return loss + config.drift_weight * drift, {
            "wasserstein_estimate": estimate,
            "gradient_penalty": penalty,
            "pitch_cross_entropy": pitch,
            "pitch_accuracy": right,
            **health.of_judgement(*scores),
            **health.of_samples(real, fake),
        }

    def generator_loss(self, y, z, progress):
        """Return L_G and reports; arguments as of `discriminator_loss`."""
        score, logits = self.judge(self.make(z, y, progress), progress)
        pitch, right = _cross_entropy(logits, y)
        loss = adversarial.wasserstein_generator_loss(score)
        return loss + self.model.config.generator_pitch_weight * pitch, {
            "generator_loss": loss,
            "fake_pitch_cross_entropy": pitch,
            "fake_pitch_accuracy": right,
        }

    def make(self, z, y, progress, network=None):
        """Return spectrograms in physical units."""
        network = network or self.model.generator
        made = network([z, y], progress, **self.blocks)
        return self.model.representation.denormalise(made)

    def judge(self, spectrograms, progress):
        """Return scores and logits of pitches of spectrograms in physical units."""
        seen = self.model.representation.normalise(spectrograms)
        return self.model.discriminator(seen, progress, **self.blocks)


class GANSynthFlat(GenerativeModel):
    """All blocks from the start.

    Args:
        config: `FlatConfig`.
        spec: `audio` `[samples]` in [-1, 1], `pitch` with MIDI numbers as classes.
        generator: `progressive.Generator` of z and one-hot pitches.
        discriminator: `progressive.Discriminator`.
    """

    Config = FlatConfig
    PRESETS = {"paper": {}, "small": _SMALL, "tiny": _TINY}
    GROWS = False
    reports_health = True

    def __init__(self, config, spec, generator, discriminator):
        super().__init__(config, spec, generator=generator, discriminator=discriminator)
        self.representation = _representation(config, spec)
        self.pitches = [int(name) for name in spec.features["pitch"].classes]
        self.whole = Scale(self, generator.first, generator.last)

    @classmethod
    def create(cls, config, spec):
        """Build the networks for the pitches and the length of the notes of `spec`."""
        how = {"samples": config.samples, "sample_rate": config.sample_rate}
        spec = spec.for_notes("gansynth", **how)
        last = config.resolutions
        *sides, outputs = _representation(config, spec).shape
        start = tuple(side // 2 ** (last - 1) for side in sides)
        if sides != [side * 2 ** (last - 1) for side in start]:
            raise BadInput(
                f"spectrograms of {sides[0]}x{sides[1]} cannot be halved "
                f"{last - 1} times: change frames, bins or resolutions"
            )
        budgets = [config.channel_budget // 2**block for block in range(1, last + 1)]
        widths = [min(max(1, budget), config.channels) for budget in budgets]
        classes = len(spec.features["pitch"].classes)
        first = 1 if cls.GROWS else last
        sizes = config.latent_size + classes, start, widths, outputs, first
        judge = progressive.Discriminator(classes, *sizes[1:])
        model = cls(config, spec, progressive.Generator(*sizes), judge)
        model.average("generator", progressive.Generator(*sizes), config.average_decay)
        return model

    def default_optimizers(self):
        """Adam without momentum for both."""
        rate = self.config.learning_rate
        return {
            f"{name}_optimizer": keras.optimizers.Adam(rate, 0.0, 0.99, epsilon=1e-8)
            for name in ("discriminator", "generator")
        }

    def progress(self):
        """Return p of the current step: the last resolution alone."""
        return tf.constant(self.config.resolutions - 1.0)

    def train_step(self, batch):
        """One update of both networks."""
        return self.update(self.whole, batch)

    def update(self, scale, batch):
        """One update of the discriminator and one of the generator, on some blocks."""
        real, y = self.representation.forward(batch["audio"]), self.one_hot(batch)
        rows, latents = real.shape[0], [self.config.latent_size]
        progress = tf.fill([rows], self.progress())
        z = self.noise("discriminator_z", rows, latents)
        mix = self.noise("mix", rows, [1, 1, 1], kind="uniform")
        _, judged = self.descend(
            scale.discriminator_loss,
            scale.discriminator,
            self.discriminator_optimizer,
            *(real, y, z, mix, progress),
        )
        _, made = self.descend(
            scale.generator_loss,
            scale.generator,
            self.generator_optimizer,
            *(y, self.noise("z", rows, latents), progress),
        )
        return self.track(**judged, **made)

    def test_step(self, batch):
        """Return the estimate and the pitch classifier's accuracy on held-out notes."""
        real, y = self.representation.forward(batch["audio"]), self.one_hot(batch)
        rows = real.shape[0]
        z = self.noise("test_z", rows, [self.config.latent_size])
        progress = tf.fill([rows], self.progress())
        real = progressive.shrunk(real, progress=progress, **self.whole.blocks)
        fake = self.whole.make(z, y, progress, self.generator_ema)
        score, logits = self.whole.judge(real, progress)
        fake_score, _ = self.whole.judge(fake, progress)
        estimate = adversarial.wasserstein_estimate(score, fake_score)
        right = _cross_entropy(logits, y)[1]
        return self.track(wasserstein_estimate=estimate, pitch_accuracy=right)

    def one_hot(self, batch):
        """Return the pitches of a batch, `[rows, classes]`."""
        return tf.one_hot(batch["pitch"], len(self.pitches))

    def prior(self, num, seed=0, first=0):
        """Return z `[num, latent_size]`; row i is a function of (seed, first + i)."""
        return noise.normal(seed, 0, "sample", num, [self.config.latent_size], first)

    def sample(self, num, seed=0, first=0):
        """Return `num` notes `[num, samples]`, of the pitches in turn."""
        pitches = tf.constant(self.pitches, tf.int64)
        place = (first + tf.range(num)) % len(self.pitches)
        return self.render(self.prior(num, seed, first), tf.gather(pitches, place))

    def generate(self, pitch, seed=0):
        """Return notes `[rows, samples]` of MIDI pitches `[rows]`."""
        return self.render(self.prior(tf.shape(pitch)[0], seed), pitch)

    def render(self, z, pitch):
        """Return notes of latents and MIDI pitches, clipped to [-1, 1]."""
        audio = self.representation.inverse(self.spectrogram(z, pitch))
        return tf.clip_by_value(audio, -1.0, 1.0)

    def spectrogram(self, z, pitch):
        """Return spectrograms of latents and MIDI pitches, in physical units.

        A pitch that the model does not know becomes the nearest that it does.
        """
        apart = tf.abs(tf.cast(pitch, tf.int64)[:, None] - self.pitches)
        y = tf.one_hot(tf.argmin(apart, axis=1), len(self.pitches))
        progress = tf.fill([tf.shape(z)[0]], self.progress())
        return self.whole.make(z, y, progress, self.generator_ema)

    def endpoints(self):
        """Return sample(num, seed), generate(pitch, seed), spectrogram, render."""

        def named(name, function):
            return lambda *arguments: {name: function(*arguments)}

        z = tf.TensorSpec([None, self.config.latent_size], name="z")
        pitch = tf.TensorSpec([None], tf.int64, name="pitch")
        seed = SAMPLE_ARGUMENTS[1]
        return {
            "sample": (named("audio", self.sample), SAMPLE_ARGUMENTS),
            "generate": (named("audio", self.generate), [pitch, seed]),
            "render": (named("audio", self.render), [z, pitch]),
            "spectrogram": (named("spectrogram", self.spectrogram), [z, pitch]),
        }


class GANSynth(GANSynthFlat):
    """Grown from coarse to fine, a stage a resolution and one between each two."""

    Config = GANSynthConfig
    PRESETS = {
        "paper": {},
        "if_mel": _LOW,
        "if_high": {"representation": "if"},
        "if": {**_LOW, "representation": "if"},
        "phase_high": {"representation": "phase"},
        "phase": {**_LOW, "representation": "phase"},
        "small": {**_SMALL, "stable_steps": 200, "grow_steps": 200},
        "tiny": {**_TINY, "stable_steps": 2, "grow_steps": 2},
    }
    GROWS = True

    def __init__(self, config, spec, generator, discriminator):
        super().__init__(config, spec, generator, discriminator)
        start = 0
        for name, steps in self.stages().items():
            kind, last = name.split("_")
            scale = Scale(self, int(last) - (kind == "grow"), int(last))
            step = functools.partial(self.stage_step, scale, start)
            setattr(self, f"{name}_step", step)
            start += steps or 0

    def stages(self):
        """stable_1, grow_2, stable_2, ..., stable_K; the last without an end."""
        stable, grow = self.config.stable_steps, self.config.grow_steps
        parts = {"stable_1": stable}
        for block in range(2, self.config.resolutions + 1):
            parts |= {f"grow_{block}": grow, f"stable_{block}": stable}
        return {**parts, f"stable_{self.config.resolutions}": None}

    def progress(self):
        """Return p of the current step: how many fades are done, and what of this."""
        stable, grow = self.config.stable_steps, self.config.grow_steps
        fades = range(self.config.resolutions - 1)
        starts = [fade * (stable + grow) + stable for fade in fades]
        gone = self.step.value - tf.constant(starts, tf.int64)
        # Whole numbers until here: in float32, steps above 2^24 fall together.
        done = tf.cast(tf.clip_by_value(gone, 0, grow), tf.float32)
        return tf.reduce_sum(done / grow)

    def stage_step(self, scale, start, batch):
        """As `train_step`, of a stage that starts at step `start`."""
        for optimizer in (self.discriminator_optimizer, self.generator_optimizer):
            # Of more updates than the stage had steps: also where the first was undone.
            updates = tf.cast(optimizer.iterations.value, tf.int64)
            restart(optimizer, updates > self.step.value - start)
        return self.update(scale, batch)


def _representation(config, spec):
    """Return how the notes of the networks' spec become spectrograms."""
    audio = spec.features["audio"]
    try:
        return spectrogram.Representation(
            config.representation,
            config.frames,
            config.bins,
            fft=2 * config.bins,
            hop=config.bins // 2,
            samples=audio.shape[0],
            sample_rate=audio.sample_rate,
            mel_mode=config.mel,
            floor=config.floor,
        )
    except ValueError as error:
        raise BadInput(str(error)) from None


def _cross_entropy(logits, y):
    """Return the mean in nats, and the share of rows that are right."""
    loss, reports = classification.cross_entropy(logits, tf.argmax(y, axis=-1))
    return loss, reports["accuracy"]
