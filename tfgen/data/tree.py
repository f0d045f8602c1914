"""Files below a folder, and the classes that its sub-folders stand for."""

from pathlib import Path

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.core.spec import Feature


def files(root: Path, endings) -> list[Path]:
    """Paths of the files with certain endings, sorted; those with a dot are hidden."""
    found = []
    for entry in root.rglob("*"):
        parts = entry.relative_to(root).parts
        hidden = any(part.startswith(".") for part in parts)
        if entry.suffix.lower() in endings and not hidden and entry.is_file():
            found.append((parts, entry))
    return [entry for _, entry in sorted(found)]


def labels(root: Path, paths: list[Path], what: str):
    """Classes from sub-folders: ({"label": Feature}, {"label": array}), or empty.

    Args:
        root: the folder.
        paths: the files.
        what: they are, for messages: "pictures".

    Raises:
        BadInput: some files lie in sub-folders and others beside these.
    """
    parents = [path.relative_to(root).parts[:-1] for path in paths]
    classes = sorted({parts[0] for parts in parents if parts})
    if classes and not all(parents):
        loose = paths[parents.index(())]
        raise BadInput(
            f"folder:{root} has both sub-folders, such as {classes[0]!r}, and {what} "
            f"beside them, such as {loose.name!r}: move the {what} into one"
        )
    if not classes:
        return {}, {}
    numbers = np.array([classes.index(parts[0]) for parts in parents], "int64")
    return {"label": Feature((), "int64", classes=tuple(classes))}, {"label": numbers}
