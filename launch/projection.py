"""A picture's place in w: projection into StyleGAN2's latent space.

    min over w and noise   d(G(w + e), x) + 1e5 * autocorrelation of the noise

One w for all layers, and all noise images, by Adam; e is noise whose size goes with the
spread of w and vanishes at 3/4 of the way. The rate rises over the first 5 % of the
steps and falls over the last quarter. Karras et al. 2020 (StyleGAN2), appendix D, whose
distance is LPIPS; here d is the mean squared difference of an extractor's features.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from tfgen.core import noise
from tfgen.losses import noise_maps

LATENTS = 10_000  # that mean and spread of w are taken of
RATE, RISE, FALL = 0.1, 0.05, 0.25
WOBBLE, STILL = 0.05, 0.75  # of e, in spreads of w; and when it has ended
NOISE_WEIGHT = 1e5


class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """`RATE` with a linear rise at the start and a cosine fall at the end."""

    def __init__(self, steps):
        self.steps = steps

    def __call__(self, step):
        """Return the rate of a step, counted from 0."""
        share = tf.cast(step, tf.float32) / self.steps
        fall = 0.5 - 0.5 * tf.cos(math.pi * tf.minimum(1.0, (1.0 - share) / FALL))
        return RATE * fall * tf.minimum(1.0, share / RISE)


def project(model, images, extractor, steps=1000, seed=0, label=None, progress=None):
    """Find the w and the noise of images, each for itself.

    Args:
        model: A `StyleGAN2`; its moving average is used.
        images: `[rows, h, w, c]` in the model's range.
        extractor: Of the features to match; see `tfgen.metrics.extractor`.
        steps: Of Adam.
        seed: Of latents and noise.
        label: Classes `[rows]`, of a labelled model.
        progress: Called with (steps done, steps).

    Returns:
        {"w": `[rows, latent_size]`, "noise": `[rows, noise_size]`, "images": what they
        make, "distance": d `[rows]`}, arrays.
    """
    generator, rows = model.generator_ema, len(images)
    mean, spread = statistics(model, seed, rows, label)
    drawn = noise.normal(seed, 0, "projection_noise", rows, [generator.noise_size])
    w = keras.Variable(mean, name="w")
    maps = keras.Variable(_standardised(generator, drawn), name="noise")
    optimizer = keras.optimizers.Adam(Rate(steps))
    optimizer.build([w, maps])
    image = model.spec.image

    def features(images):
        scale = 255.0 / (image.high - image.low)
        return extractor.features_of((images - image.low) * scale)

    def make(w, maps):
        copies = tf.tile(w[:, tf.newaxis], [1, generator.copies, 1])
        return model.synthesize(copies, maps)

    wanted = features(tf.constant(images, tf.float32))

    def distance(made):
        return tf.reduce_mean(tf.square(features(made) - wanted), axis=1)

    @tf.function(autograph=False)
    def step(number):
        left = tf.maximum(0.0, 1.0 - tf.cast(number, tf.float32) / (STILL * steps))
        wobble = noise.normal(seed, number, "wobble", rows, w.shape[1:])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([w.value, maps.value])
            made = make(w.value + WOBBLE * left**2 * spread * wobble, maps.value)
            parts = [
                noise_maps.autocorrelation(part)
                for part in noise_maps_of(generator, maps.value)
            ]
            loss = distance(made) + NOISE_WEIGHT * tf.add_n(parts)
        gradients = tape.gradient(loss, [w.value, maps.value])
        optimizer.apply(gradients, [w, maps])
        maps.assign(_standardised(generator, maps.value))

    for number in range(steps):
        step(tf.constant(number))
        if progress:
            progress(number + 1, steps)
    made = make(w.value, maps.value)
    found = {"w": w.value, "noise": maps.value, "images": made}
    found["distance"] = distance(made)
    return {name: np.asarray(value) for name, value in found.items()}


def statistics(model, seed, rows, label=None):
    """Return the mean of w for each row, and its spread: root of E |w - mean|^2."""
    size, part = model.generator_ema.latent_size, LATENTS // 10
    classes = [None] if label is None else sorted(set(map(int, label)))
    means, squares = {}, []
    for number in classes:
        found = []
        for first in range(0, LATENTS, part):
            z = noise.normal(seed, 0, "projection", part, [size], first)
            given = (
                [] if number is None else [tf.fill([part], tf.cast(number, tf.int64))]
            )
            found.append(model.map(z, *given)[:, 0].numpy())
        found = np.concatenate(found)
        means[number] = found.mean(axis=0)
        squares.append(np.mean(np.sum((found - means[number]) ** 2, axis=1)))
    labels = [None] * rows if label is None else map(int, label)
    return np.stack([means[number] for number in labels]), np.sqrt(np.mean(squares))


def noise_maps_of(generator, flat):
    """Return noise `[rows, noise_size]` as its images, a list of `[rows, s, s]`."""
    sides = generator.noise_sides
    parts = tf.split(flat, [side**2 for side in sides], axis=1)
    return [
        tf.reshape(part, [-1, side, side])
        for part, side in zip(parts, sides, strict=True)
    ]


def _standardised(generator, flat):
    parts = map(noise_maps.standardised, noise_maps_of(generator, flat))
    return tf.concat([tf.reshape(part, [flat.shape[0], -1]) for part in parts], axis=1)
