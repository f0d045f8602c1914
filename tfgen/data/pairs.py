"""Two data sets side by side: a source and a target domain, unpaired.

Each keeps its own length and its own order, so which source meets which target in a
batch tells nothing. Of the target only the images are served: a model cannot train on
its labels.
"""

import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec
from tfgen.data import sources
from tfgen.data.pipeline import Served, Stream

TARGET_SALT = 1 << 32  # two sets of equal length would meet in the same order


class PairStream(Served):
    """The rows of two streams, zipped: `source`, its `label` if any, and `target`.

    `index` holds the row numbers of the source, `target_index` those of the target.
    Rows of step, update and replica are as in `Stream.dataset`.

    Args:
        source: images, and a label if there are any.
        target: images; of another number, size and seed, as may be.

    Raises:
        BadInput: the batches differ, or one has no image.
    """

    def __init__(self, source: Stream, target: Stream):
        if source.batch != target.batch:
            raise BadInput(f"batches of {source.batch} and {target.batch} rows")
        self.source, self.target = source, target
        self.batch, self.seed = source.batch, source.seed
        features = {"source": source.spec.image}
        if "label" in source.spec.features:
            features["label"] = source.spec.features["label"]
        features["target"] = target.spec.image
        self.spec = DataSpec(
            f"{source.spec.name} -> {target.spec.name}", len(self), features
        )

    def __len__(self) -> int:
        return max(len(self.source), len(self.target))

    def for_pipeline(
        self, context: tf.distribute.InputContext, *, updates: int = 1, start: int = 0
    ) -> tf.data.Dataset:
        """The elements of the replicas that one input pipeline feeds, in turn."""

        @tf.autograph.experimental.do_not_convert
        def merged(source, target):
            label = {"label": source["label"]} if "label" in source else {}
            return {
                "source": source["image"],
                **label,
                "target": target["image"],
                "index": source["index"],
                "target_index": target["index"],
            }

        each = [
            stream.for_pipeline(context, updates=updates, start=start)
            for stream in (self.source, self.target)
        ]
        return tf.data.Dataset.zip(*each).map(merged)


def load_pair(
    source: str,
    target: str,
    *,
    batch: int,
    seed: int = 0,
    data_dir: str | None = None,
    validation_fraction: float = 0.0,
    image_size: int | None = None,
    flip: bool = False,
    on_corrupt: str = "stop",
) -> sources.Data:
    """Loads two data sets as the domains of a translator or of an adaptation.

    Of a set with splits trainA and trainB (`cycle_gan/...`, `emoji/...`) the source
    takes the first and the target the second, so that naming it twice gives its two
    domains.

    Args:
        source: a name of `tfgen.data.load`.
        target: the other.
        batch: rows of each domain per update.
        seed: determines both orders, which differ.
        data_dir: see `tfgen.data.load`, as all below.
        validation_fraction: share of the rows of each domain to hold out; of the
            target without looking at labels.
        image_size: side in pixels.
        flip: mirror images of both domains.
        on_corrupt: what a broken picture does.

    Returns:
        `Data` of `PairStream`s; `test` is None unless both sets have one. Their
        streams `source` and `target` hold all features, for evaluation.
    """
    common = {
        "batch": batch,
        "data_dir": data_dir,
        "validation_fraction": validation_fraction,
        "image_size": image_size,
        "flip": flip,
        "on_corrupt": on_corrupt,
    }
    one = sources.load(source, seed=seed, domain="A", **common)
    other = sources.load(
        target, seed=seed + TARGET_SALT, domain="B", use_labels=False, **common
    )

    def paired(split):
        streams = getattr(one, split), getattr(other, split)
        return None if None in streams else PairStream(*streams)

    train = paired("train")
    return sources.Data(
        train.spec,
        train,
        paired("validation"),
        paired("test"),
        one.skipped + other.skipped,
        one.remarks + other.remarks,
    )
