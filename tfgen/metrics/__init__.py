"""Sample quality: pure functions of features, and what makes features of images.

Bounds, gaps and path lengths are measured of models, the rest looks at none, and
nothing needs a network connection. Features are
float64 arrays `[rows, size]`; `tfgen.metrics.extractors` makes them from uint8
images, and `tfgen.metrics.quality` runs a chosen set of metrics with their floors.
The names below are loaded on first use, so that `import tfgen.metrics` is free.
"""

import importlib

_HOME = {
    "Moments": "moments",
    "Estimate": "moments",
    "frechet_distance": "frechet",
    "frechet_from_moments": "frechet",
    "kernel_distance": "kernel",
    "gaussian_mmd": "mmd",
    "linear_time_mmd": "mmd",
    "classifier_score": "classifier",
    "class_summary": "classifier",
    "label_agreement": "classifier",
    "class_diversity": "images",
    "linear_probe": "probe",
    "precision_recall": "manifold",
    "density_coverage": "manifold",
    "fit_bins": "bins",
    "different_bins": "bins",
    "sliced_wasserstein": "sliced",
    "image_sliced_wasserstein": "sliced",
    "memorisation": "copying",
    "parzen": "parzen_windows",
    "parzen_log_likelihood": "parzen_windows",
    "nearest_neighbour_test": "two_sample",
    "FrechetDistance": "streaming",
    "ClassifierScore": "streaming",
    "motion_energy": "clips",
    "ClipExtractor": "clips",
    "Extractor": "extractors",
    "extractor": "extractors",
    "METRICS": "quality",
    "QualityEvaluation": "quality",
    "sample_quality": "quality",
}

__all__ = list(_HOME)


def __getattr__(name):
    """Import the module that holds `name` when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
