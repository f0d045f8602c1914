"""Does a generator copy its training rows? Nearest-neighbour distances tell."""

from typing import NamedTuple

import numpy as np
import scipy.stats
from sklearn.neighbors import NearestNeighbors

from tfgen.core.errors import BadInput
from tfgen.metrics.moments import as_features


class Memorisation(NamedTuple):
    """How near fakes are to training rows; see `memorisation`."""

    distance_ratio: float
    closer_probability: float
    p_value: float
    suspect_share: float
    exact_copies: int
    nearest: np.ndarray


def nearest_rows(train: np.ndarray, queries: np.ndarray):
    """Index `[m]` of the nearest row of `train` and its exact distance `[m]`."""
    centre = train.mean(axis=0)
    search = NearestNeighbors(n_neighbors=1).fit(train - centre)
    index = search.kneighbors(queries - centre, return_distance=False)[:, 0]
    # The search's own distances cancel to about 1e-7; copies must come out as 0.
    return index, np.linalg.norm(queries - train[index], axis=1)


def memorisation(train, held_out, fake, suspect_quantile: float = 0.01) -> Memorisation:
    """Compare distances to the training set: fakes against held-out real rows.

    A generator of new samples is as far from the training rows as held-out rows
    are; one that copies is nearer. Blurred fakes are nearer too in pixel space, so
    read it beside a sharpness-sensitive metric, on more than one extractor.

    Args:
      train: features `[n, d]` of the rows that the generator was trained on.
      held_out: features `[m, d]` of real rows that it never saw.
      fake: features `[l, d]`.
      suspect_quantile: a fake nearer to a training row than this quantile of the
        held-out distances is a suspect.

    Returns:
      distance_ratio: median distance of fakes / of held-out rows; 1 is expected,
        0 is copying (inf when every held-out row is in the training set too).
      closer_probability: P(a fake is nearer than a held-out row), ties by half: the
        area under the ROC curve; 0.5 is expected, 1 is copying everything.
      p_value: Mann-Whitney, one-sided, of fakes being nearer.
      suspect_share: share of suspects; about `suspect_quantile` is expected. It
        catches a few copies among many new samples, which medians do not.
      exact_copies: fakes with a training row at distance 0.
      nearest: `[l]` index of each fake's nearest training row, for a picture.

    Raises:
      BadInput: unusable features, or feature sizes that differ.

    Source: in the manner of Meehan et al. 2020 (arXiv 2004.05675), without cells.
    """
    train = as_features(train, "train features")
    held_out = as_features(held_out, "held-out features")
    fake = as_features(fake, "fake features")
    sizes = train.shape[1], held_out.shape[1], fake.shape[1]
    if len(set(sizes)) != 1:
        raise BadInput(
            f"train, held-out and fake features have sizes {sizes}: use one extractor"
        )
    nearest, fake_distance = nearest_rows(train, fake)
    _, held_out_distance = nearest_rows(train, held_out)
    test = scipy.stats.mannwhitneyu(
        fake_distance, held_out_distance, alternative="less"
    )
    # U counts the pairs in which the fake is farther.
    farther = test.statistic / (len(fake) * len(held_out))
    threshold = np.quantile(held_out_distance, suspect_quantile)
    median = np.median(held_out_distance)
    return Memorisation(
        float(np.median(fake_distance) / median) if median > 0 else float("inf"),
        float(1 - farther),
        float(test.pvalue),
        float(np.mean(fake_distance < threshold)),
        int(np.sum(fake_distance == 0)),
        nearest,
    )
