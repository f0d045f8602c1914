"""`folder:PATH` of clips: animated GIF by Pillow, movies by imageio and ffmpeg.

A folder holds clips when all that it shows are GIFs and movies, one of them moving.
Beside them may lie captions.csv, a table with the columns `file` (path below the
folder) and `caption`: a sentence for every clip; and, if it likes, `video`: what the
clip was cut from. Clips of one video are held out together. Sub-folders are splits
and classes, see `tfgen.data.tree`.
"""

import csv
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from tfgen.core.errors import BadInput
from tfgen.core.spec import Feature
from tfgen.data import captions, tree
from tfgen.data.image import GIVE_A_SIZE, chosen_frames, fit
from tfgen.data.rows import MEMORY_LIMIT, Rows, check_memory, one_line

MOVIES = (".mp4", ".avi", ".mov", ".mkv", ".webm")
CAPTIONS = "captions.csv"
NEEDED = "imageio with ffmpeg: pip install 'imageio[ffmpeg]', or tfgen's extra `video`"


def are_in(root: Path, stills) -> bool:
    """Whether a folder holds clips.

    Args:
        root: the folder.
        stills: endings of pictures, .gif among them.
    """
    others = [ending for ending in stills if ending != ".gif"]
    found = tree.files(root, (*MOVIES, ".gif"))
    if not found or tree.files(root, others):
        return False
    return any(path.suffix.lower() in MOVIES or _moves(path) for path in found)


def read(
    path: str,
    image_size: int | None = None,
    frames: int | None = None,
    on_corrupt: str = "stop",
) -> Rows:
    """Decodes all clips below a folder.

    Args:
        path: the folder.
        image_size: side in pixels to cut and resize to; without it all frames must
            have the same size.
        frames: of each clip, see `tfgen.data.image.chosen_frames`; without it all
            clips must have the same length.
        on_corrupt: "stop" or "skip" where a clip is broken.

    Returns:
        "video", uint8 `[frames, h, w, 3]`; "tokens" and "sentence" where there are
        captions; "label" if there are sub-folders. `groups` tells the videos that the
        clips were cut from.

    Raises:
        BadInput: a broken clip, lengths or sizes that differ, a clip without a
            caption or, where some have one, without a video; a movie and no imageio.
        OSError: something cannot be read.
    """
    root = Path(path).expanduser()
    found, videos, skipped = [], [], []
    for file in tree.files(root, (*MOVIES, ".gif")):
        try:
            clip = _decoded(file, image_size, frames)
        except BadInput as error:
            if on_corrupt == "stop" or NEEDED in str(error):
                raise
            skipped.append(str(error))
            continue
        if videos and clip.shape != videos[0].shape:
            this, first = ("x".join(map(str, x.shape[:3])) for x in (clip, videos[0]))
            raise BadInput(
                f"{found[0]} is {first} (frames x height x width) and {file} is "
                f"{this}: give frames and image_size, --hparam=frames=16 "
                "--image_size=64 say"
            )
        found.append(file)
        videos.append(clip)
        check_memory(clip.nbytes * len(videos), f"folder:{path}", f": {GIVE_A_SIZE}")
    if not videos:
        raise BadInput(f"folder:{path} has no usable clip: {skipped[0]}")
    video = np.stack(videos)
    features = {"video": Feature(video.shape[1:], "uint8", 0.0, 255.0)}
    train, groups = {"video": video}, None
    if (root / CAPTIONS).is_file():
        table = _table(root, found)
        described, words, _ = captions.described(table["caption"])
        features, train = features | described, train | words
        if "video" in table:
            groups = np.unique(table["video"], return_inverse=True)[1]
    arranged = tree.Tree(root, found, "clips")
    classes, labels = arranged.labels()
    if groups is not None:
        groups = arranged.divided({"groups": groups})["train"]["groups"]
    return Rows(
        features | classes,
        **arranged.divided(train | labels),
        skipped=tuple(skipped),
        remarks=tree.remarks(root),
        groups=groups,
    )


def _table(root: Path, files: list[Path]) -> dict[str, list[str]]:
    """The caption of each clip, and its video where the table has that column."""
    table = root / CAPTIONS
    try:
        with table.open(newline="", encoding="utf-8") as content:
            reader = csv.DictReader(content)
            rows = {Path(row["file"]): row for row in reader}
            columns = {"caption", "video"} & set(reader.fieldnames or ())
            if not {"file", "caption"} <= set(reader.fieldnames or ()):
                raise ValueError("other columns")
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise BadInput(
            f"{table} is not a table with the columns file and caption"
        ) from error
    found = {}
    for column in sorted(columns):
        for file in files:
            row = rows.get(file.relative_to(root), {})
            found.setdefault(column, []).append((row.get(column) or "").strip())
            if not found[column][-1]:
                raise BadInput(f"{table} has no {column} of {file.relative_to(root)}")
    return found


def _decoded(path: Path, size: int | None, frames: int | None) -> np.ndarray:
    """One clip, uint8 `[frames, h, w, 3]`."""
    movie = path.suffix.lower() in MOVIES
    decoded, held = [], 0
    try:
        for picture in _movie(path) if movie else _animation(path):
            decoded.append(fit(picture, size, 3))
            held += decoded[-1].nbytes
            if held > MEMORY_LIMIT // 4:
                raise ValueError("too long to hold: cut it, or give a smaller size")
        if not decoded:
            raise ValueError("no frames")
    except BadInput:
        raise
    except Exception as error:  # decoders raise nearly anything on broken files
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the clip's
        raise BadInput(f"{path} is not a usable clip: {one_line(error)}") from error
    chosen = chosen_frames(len(decoded), frames or len(decoded))
    return np.stack([decoded[number] for number in chosen])


def _animation(path: Path):
    with warnings.catch_warnings():
        # Pillow warns from 89 megapixels on and raises above twice that.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=["GIF"]) as opened:
            for frame in ImageSequence.Iterator(opened):
                yield frame.convert("RGBA" if frame.has_transparency_data else "RGB")


def _moves(path: Path) -> bool:
    try:
        with Image.open(path, formats=["GIF"]) as opened:
            return getattr(opened, "n_frames", 1) > 1
    except Exception:  # a broken one is named when it is read
        return False


def _movie(path: Path):
    try:
        import imageio.v3 as imageio
        import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise BadInput(f"{path}: movies need {NEEDED}") from error
    for frame in imageio.imiter(path, plugin="FFMPEG"):
        yield Image.fromarray(frame)
