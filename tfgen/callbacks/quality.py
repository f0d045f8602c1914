"""Sample quality during training."""

import numpy as np

from tfgen.callbacks.steps import AtSteps
from tfgen.core.spec import adapter, to_uint8
from tfgen.metrics import passes
from tfgen.metrics.extractors import extractor
from tfgen.metrics.quality import QualityEvaluation


class SampleQuality(AtSteps):
    """Measure generated images against held-out ones every `every` steps.

    Args:
        train: Stream of the training rows.
        held_out: Stream of rows the model is not trained on.
        every: Steps between measurements.
        metrics: Names in `tfgen.metrics.quality.METRICS`.
        features: Name of the extractor: "pca:30", "pixels", "saved_model:PATH", ...
        num: Images a measurement; the same latents each time.
        sinks: Called with (step, {name: number}); beside each number its floor, the
            same of as many real images, as `<name>_floor`.
    """

    def __init__(self, train, held_out, every, metrics, features, num=2000, sinks=()):
        super().__init__()
        self.train, self.held_out, self.every = train, held_out, every
        self.metrics, self.features = metrics, features
        self.num, self.sinks = num, sinks

    def begin(self, step):
        """Extract the features of the real images, once."""
        self._draw = passes.sampler(self.model, self.num)
        train = real_images(self.train, self.model.spec)
        self._evaluation = QualityEvaluation(
            train,
            real_images(self.held_out, self.model.spec),
            extractor(self.features, train),
            self.metrics,
        )

    def at(self, step, logs):
        """Measure when due."""
        if not self.due(self.every):
            return
        numbers = self._evaluation(to_uint8(self._draw(), self.model.spec.image))
        values = {name: record["value"] for name, record in numbers.items()}
        values |= {
            f"{name}_floor": record["floor"]
            for name, record in numbers.items()
            if record["floor"] is not None
        }
        for sink in self.sinks:
            sink(step, values)


def real_images(stream, spec, limit=10_000):
    """Return a stream's images as a model of `spec` sees them, uint8 `[n, h, w, c]`.

    Args:
        stream: Where they come from.
        spec: The model's, whose size they are brought to.
        limit: At most this many, drawn at random, always the same ones: data are
            often sorted by class.
    """
    adapt, _ = adapter(stream.spec, spec)
    rows = np.sort(np.random.default_rng(0).permutation(len(stream))[:limit])

    def seen(part):
        batch = {name: array[part] for name, array in stream.arrays.items()}
        return to_uint8(adapt(batch)["image"].numpy(), spec.image)

    return passes.in_parts(seen, rows, rows=passes.made_at_once(spec))
