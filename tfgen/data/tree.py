"""Files below a folder, by split and by class.

A folder with a sub-folder `train` holds splits, as in TensorFlow Datasets' ImageFolder:
root/train/class/file to train on, the same below `test` to test on, or below
`validation` or `val` where there is no `test`. Without these names all files train,
and the sub-folders are classes.
"""

from pathlib import Path

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.core.spec import Feature
from tfgen.data.pipeline import pick

TRAIN = "train"
HELD_OUT = ("test", "validation", "val")  # the first that is there is the test split


def files(root: Path, endings) -> list[Path]:
    """Paths of the files with certain endings, sorted; those with a dot are hidden.

    Files of a split that is not read are left out, see `remarks`.
    """
    found, unread = [], _unread(root)
    for entry in root.rglob("*"):
        parts = entry.relative_to(root).parts
        hidden = any(part.startswith(".") for part in parts)
        if entry.suffix.lower() not in endings or hidden or parts[0] in unread:
            continue
        if entry.is_file():
            found.append((parts, entry))
    return [entry for _, entry in sorted(found)]


def remarks(root: Path) -> tuple[str, ...]:
    """A line for each split that is not read."""
    return tuple(
        f"{root / name} is not read: {root / 'test'} is what is tested on"
        for name in _unread(root)
    )


def _unread(root: Path) -> list[str]:
    """Names of held-out splits beside `test`; two of them are one too many."""
    there = [name for name in HELD_OUT if (root / name).is_dir()]
    return there[1:] if (root / TRAIN).is_dir() else []


class Tree:
    """Some of the files below a folder, arranged by their sub-folders.

    Args:
        root: the folder.
        paths: the files, sorted.
        what: they are, for messages: "pictures".

    Attributes:
        parents: the sub-folders that each lies in, below its split.

    Raises:
        BadInput: splits beside other things, or none to train on.
    """

    def __init__(self, root: Path, paths: list[Path], what: str):
        self.root, self.paths, self.what = root, paths, what
        self.parents = [path.relative_to(root).parts[:-1] for path in paths]
        self._splits = {"train": slice(None)}
        tops = [parts[0] if parts else "" for parts in self.parents]
        names = [name for name in (TRAIN, *HELD_OUT) if name in tops]
        if not names:
            return
        for path, top in zip(paths, tops, strict=True):
            if top not in names:
                raise BadInput(
                    f"folder:{root} has the split {names[0]!r} and, beside it, "
                    f"{str(path.relative_to(root))!r}: move all {what} below 'train' "
                    "and 'test', or none"
                )
        if names[0] != TRAIN:
            raise BadInput(
                f"folder:{root} has the split {names[0]!r} and no {TRAIN!r}: give the "
                "folder below it, or add one"
            )
        for split, name in zip(("train", "test"), names, strict=False):
            first = tops.index(name)  # sorted: a split's files follow each other
            self._splits[split] = slice(first, first + tops.count(name))
        self.parents = [parts[1:] for parts in self.parents]

    def labels(self):
        """Classes from sub-folders: ({"label": Feature}, {"label": array}), or empty.

        Raises:
            BadInput: some files lie in sub-folders and others beside these, or a class
                is in no training file.
        """
        classes = sorted({parts[0] for parts in self.parents if parts})
        if classes and not all(self.parents):
            loose = self.paths[self.parents.index(())].relative_to(self.root)
            raise BadInput(
                f"folder:{self.root} has both sub-folders, such as {classes[0]!r}, and "
                f"{self.what} beside them, such as {str(loose)!r}: move the "
                f"{self.what} into one"
            )
        if not classes:
            return {}, {}
        numbers = np.array([classes.index(parts[0]) for parts in self.parents], "int64")
        trained = set(numbers[self._splits["train"]])
        if missing := [n for i, n in enumerate(classes) if i not in trained]:
            raise BadInput(
                f"folder:{self.root} has no training {self.what} of the class "
                f"{missing[0]!r}, which is in another split"
            )
        return {"label": Feature((), "int64", classes=tuple(classes))}, {
            "label": numbers
        }

    def divided(self, arrays):
        """Arrays of all files by split: {"train": {name: array}}, perhaps "test"."""
        return {
            split: {name: pick(array, part) for name, array in arrays.items()}
            for split, part in self._splits.items()
        }
