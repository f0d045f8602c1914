"""Files of TensorBoard's embedding projector: codes, labels and a picture a point."""

import math
import pathlib

import numpy as np
from google.protobuf import text_format
from tensorboard.plugins.projector import ProjectorConfig, metadata

from tfgen.callbacks.pictures import grid, write_png

WIDEST = 8192  # pixels of a sprite that browsers take as one texture


def most_rows(shape):
    """Return how many images of `shape` `[h, w, c]` one sprite can hold."""
    return (WIDEST // max(shape[:2])) ** 2


def write_projector(sprite, codes, images, labels=None):
    """Write what `tensorboard --logdir` of the folder shows in its projector.

    Beside the sprite, a square of all images row by row, come NAME.tsv of each
    set of codes, labels.tsv and projector_config.pbtxt, which names them and is
    written last. Files of an earlier call are replaced.

    Args:
        sprite: PNG file to write; its folder is made.
        codes: {name: `[rows, size]`}.
        images: uint8 `[rows, h, w, c]`, c = 1 or 3, `most_rows` of them at most.
        labels: Class of each row `[rows]`, or None.
    """
    sprite = pathlib.Path(sprite)
    folder, columns = sprite.parent, math.ceil(math.sqrt(len(images)))
    folder.mkdir(parents=True, exist_ok=True)
    write_png(sprite, grid(images, columns, gap=0))
    if labels is not None:  # one column: a first line would be a point's, not a title
        _table(folder / "labels.tsv", np.asarray(labels)[:, None])
    config = ProjectorConfig()
    for name, values in codes.items():
        _table(folder / f"{name}.tsv", np.asarray(values))
        embedding = config.embeddings.add(
            tensor_name=name, tensor_path=f"{name}.tsv", tensor_shape=values.shape
        )
        if labels is not None:
            embedding.metadata_path = "labels.tsv"
        embedding.sprite.image_path = sprite.name
        # Width comes first.
        embedding.sprite.single_image_dim.extend(images.shape[2:0:-1])
    text = text_format.MessageToString(config)
    (folder / metadata.PROJECTOR_FILENAME).write_text(text)


def _table(path, rows):
    lines = ("\t".join(map(str, row)) for row in rows)
    path.write_text("\n".join(lines) + "\n")
