"""USPS digits: 16x16 grey pictures of handwritten ZIP codes (LeCun et al. 1989).

Lines of zip.train and zip.test hold a digit and 256 values in [-1, 1], row by row;
they come with "The Elements of Statistical Learning" (Hastie, Tibshirani, Friedman).
"""

import numpy as np
import tensorflow_datasets as tfds

from tfgen.core.errors import BadInput
from tfgen.data.builders import manual

SIDE = 16
ADVICE = "the files of the ZIP code data of 'The Elements of Statistical Learning'"


class TfgenUsps(tfds.core.GeneratorBasedBuilder):
    """7,291 training and 2,007 test digits, ink bright on 0."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"zip.train.gz and zip.test.gz: {ADVICE}"

    def _info(self):
        return self.dataset_info_from_configs(
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIDE, SIDE, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        files = {
            split: manual.find(dl_manager, [f"zip.{split}.gz", f"zip.{split}"], ADVICE)
            for split in ("train", "test")
        }
        return {split: self._generate_examples(file) for split, file in files.items()}

    def _generate_examples(self, file):
        try:
            table = np.loadtxt(file, ndmin=2)
        except (ValueError, OSError) as error:
            raise BadInput(f"{file} is not a table of digits: {error}") from error
        labels, values = table[:, 0], table[:, 1:]
        whole = table.shape[1] == 1 + SIDE * SIDE and np.all(np.abs(values) <= 1)
        if not whole or not set(labels) <= set(range(10)):
            raise BadInput(
                f"{file} is not a table of digits: a line holds a digit and "
                f"{SIDE * SIDE} values in [-1, 1]"
            )
        # -1 becomes 0 and 1 becomes 255, rounded to the nearest.
        images = np.floor((values + 1) * 127.5 + 0.5).astype("uint8")
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield row, {"image": image.reshape(SIDE, SIDE, 1), "label": int(label)}
