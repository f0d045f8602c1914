"""Moving Shapes as files: the clips that `moving_shapes` draws in memory.

See `tfgen.data.shapes`, which defines them. Frames are stored as PNG, without loss.
"""

import numpy as np
import tensorflow_datasets as tfds

from tfgen.data import shapes


class TfgenMovingShapes(tfds.core.GeneratorBasedBuilder):
    """Clips of moving shapes, a sentence and the classes of its attributes."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {"2.0.0": "Of two shapes the larger is told first."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=kind.about)
        for name, kind in shapes.VARIANTS.items()
    ]

    @property
    def kind(self) -> shapes.Variant:
        """What is drawn."""
        return shapes.variant(self.builder_config.name)

    def _info(self):
        kind = self.kind
        shape = (kind.frames, kind.side, kind.side, 3)
        labels = {
            name: tfds.features.ClassLabel(
                names=list(kind.classes[name.removesuffix("_2")])
            )
            for name in kind.attributes
        }
        return self.dataset_info_from_configs(
            description=shapes.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "video": tfds.features.Video(shape=shape),
                    "caption": tfds.features.Text(),
                    **labels,
                }
            ),
            # Clips keep their order, by number.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in shapes.SPLITS}

    def _generate_examples(self, split):
        kind = self.kind
        for first in range(0, kind.count(split), shapes.CHUNK):
            index = np.arange(first, min(first + shapes.CHUNK, kind.count(split)))
            labels = kind.labels(split, index)
            clips, told = kind.videos(split, index), kind.sentences(labels)
            for row, number in enumerate(index):
                values = {name: int(column[row]) for name, column in labels.items()}
                example = {"video": clips[row], "caption": told[row], **values}
                yield int(number), example
