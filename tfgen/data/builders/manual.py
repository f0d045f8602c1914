"""Files that a user puts into the folder `manual_dir` of TensorFlow Datasets."""

from pathlib import Path

from tfgen.core.errors import BadInput


def find(dl_manager, names: list[str], advice: str) -> Path:
    """Returns the first of some files, of which any will do.

    Args:
        dl_manager: of `_split_generators`.
        names: file names.
        advice: where the files come from.

    Raises:
        BadInput: none of them is there; one line that says what goes where.
    """
    try:
        folder = Path(dl_manager.manual_dir)
    except AssertionError:  # missing or empty
        folder = Path(dl_manager._manual_dir)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BadInput(f"put {' or '.join(names)} into {folder}: {advice}")
