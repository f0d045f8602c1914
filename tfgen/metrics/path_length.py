"""Perceptual path length: how fast images change along lines in w.

    PPL = E |f(G(w_0)) - f(G(w_0 + e (w_1 - w_0)))|^2 / e^2

w_0 and w_1 are mapped from independent latents, f are features, the noise of both
images is the same. Of the values, the lowest and the highest percent are dropped, as
published (Karras et al. 2019; 2020, ends of the paths). For images A w, pixels as
features and normal w it is 2 ||A||_F^2, but for what is dropped.

Lower is smoother, and 0 is a generator that has collapsed: read it beside recall. The
published values have the LPIPS distance of VGG16 for f, so that they compare with none
of another extractor.
"""

import numpy as np

from tfgen.core import noise
from tfgen.core.errors import BadInput
from tfgen.metrics import passes
from tfgen.metrics.likelihood import mean_and_error

METRICS = ("ppl",)
EPSILON = 1e-4  # e
DROPPED = 1.0  # percent at either end


def is_measurable(model):
    """Return whether `model` maps latents to w and makes images of w alone."""
    return all(hasattr(model, name) for name in ("map", "synthesize"))


def measure(model, extractor, num, seed=0, epsilon=EPSILON, progress=None):
    """Return the path length of a model as `Estimate`.

    Args:
        model: Has `map(z)`, with labels `map(z, label)`, and `synthesize(w)`; images
            in the range that `model.spec` states.
        extractor: See `tfgen.metrics.extractor`.
        num: Pairs of latents.
        seed: Of the latents.
        epsilon: e, a share of the way.
        progress: Called with (pairs done, num).

    Raises:
        BadInput: Fewer than two pairs, or networks of less than float32, which
            cannot tell the two images apart.
    """
    import tensorflow as tf

    if num < 2:
        raise BadInput(f"ppl needs two pairs of latents or more, got {num}")
    if model.compute_dtype != "float32":
        raise BadInput(
            f"ppl compares images of latents {epsilon:g} of the way apart, which "
            f"{model.compute_dtype} cannot tell apart: it needs a run in float32"
        )
    image = model.spec.image
    rows = passes.rows_at_once((2, *image.shape))

    @tf.function(autograph=False)
    def distances(first):
        z = noise.normal(seed, 0, "ppl", rows, [2, model.config.latent_size], first)
        label = [model.sample_labels(rows, first)] if _is_labelled(model) else []
        start, end = (model.map(z[:, number], *label) for number in (0, 1))
        pair = [
            extractor.features_of(
                (model.synthesize(w) - image.low) * (255.0 / (image.high - image.low))
            )
            for w in (start, start + epsilon * (end - start))
        ]
        return tf.reduce_sum(tf.square(pair[1] - pair[0]), axis=1)

    parts = []
    # Products of 10 bits cannot tell the two images apart.
    allowed = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        for first in range(0, num, rows):
            parts.append(distances(tf.constant(first)).numpy())
            if progress:
                progress(min(first + rows, num), num)
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(allowed)
    return of_distances(np.concatenate(parts)[:num], epsilon)


def of_distances(squared, epsilon=EPSILON):
    """Return mean squared distance / e^2 without both tails, and its standard error.

    Args:
        squared: |f - f'|^2 of each pair, `[num]`.
        epsilon: e.
    """
    values = np.asarray(squared, np.float64) / epsilon**2
    low = np.percentile(values, DROPPED, method="lower")
    high = np.percentile(values, 100.0 - DROPPED, method="higher")
    return mean_and_error(values[(values >= low) & (values <= high)])


def _is_labelled(model):
    return getattr(model.config, "labels", False)
