"""How much a linear classifier learns from features and few labels."""

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.metrics.moments import Estimate

CHOICES = tuple(10.0**power for power in range(-6, 1))  # of C


def linear_probe(train, train_labels, test, test_labels, seed: int = 0) -> Estimate:
    """Test accuracy of a linear support vector machine with squared hinge loss.

    C is the best of `CHOICES` in three-fold cross-validation on the training rows:
    section 5 of Radford, Metz and Chintala 2015 judges a discriminator's features so.

    Args:
      train: `[n, d]` features of the labelled rows.
      train_labels: `[n]` integers.
      test: `[m, d]`.
      test_labels: `[m]` integers.
      seed: of folds and of the solver.

    Returns:
      The share of test rows it names right, with its standard error.

    Raises:
      BadInput: fewer than three training rows of some class.
    """
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.svm import LinearSVC

    if np.unique(train_labels, return_counts=True)[1].min() < 3:
        raise BadInput("a linear probe needs three labelled rows of every class")
    search = GridSearchCV(
        LinearSVC(dual=True, random_state=seed, max_iter=2000),
        {"C": CHOICES},
        cv=StratifiedKFold(3, shuffle=True, random_state=seed),
    )
    share = float(search.fit(train, train_labels).score(test, test_labels))
    return Estimate(share, float(np.sqrt(share * (1 - share) / len(test))))
