"""Emoji as two styles of the same things: unpaired domains with a paired test set.

The sheets are those of the npm packages emoji-datasource-google and -twitter
(img/*/sheets-256/64.png); emoji_index.json lists, from their emoji.json,
`[code points, short name, category, 1 if without skin tone, column, row]` for each
emoji that both sheets have, under the key "emoji". Cells are 66 pixels apart and hold
64x64 pixels within a border of 1.

Emoji that differ in skin tone, gender or direction alone stay together: all of them
train, or none does. Training never sees the names of the test split, and trainA and
trainB have no name in common, so a translator meets no pair.
"""

import hashlib
import json
import re

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfgen.core.errors import BadInput
from tfgen.data.builders import manual

SIDE, PITCH, BORDER = 64, 66, 1
HELD_OUT = 0.15  # share of the names that make the test split
ADVICE = "sheets of 64 pixels of the npm packages emoji-datasource-*, and their index"
STYLES = {
    "google": "Noto Emoji, Apache-2.0",
    "twitter": "Twemoji, CC BY 4.0",
    "recoloured": "the google style with red, green, blue turned to green, blue, red",
}
# Skin tones, the emoji variation selector, gender signs and the arrow to the right.
_SIGNS = re.compile(r"-(1F3F[B-F]|FE0F|200D-2640|200D-2642|200D-27A1)\b")
# Code points of one thing: person, child, older person, royalty, Christmas, dancer,
# couple, pregnant person.
_SAME = [
    ("1F9D1", "1F468", "1F469"),
    ("1F9D2", "1F466", "1F467"),
    ("1F9D3", "1F474", "1F475"),
    ("1FAC5", "1F934", "1F478"),
    ("1F9D1-200D-1F384", "1F385", "1F936"),
    ("1F57A", "1F483"),
    ("1F46B", "1F46C", "1F46D"),
    ("1FAC4", "1F930", "1FAC3"),
]


class TfgenEmoji(tfds.core.GeneratorBasedBuilder):
    """64x64 RGB on white. `pair` is the same number for an emoji in every style."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=text)
        for name, text in STYLES.items()
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"emoji_google_64.png, emoji_twitter_64.png, emoji_index.json: {ADVICE}"
    )

    def _info(self):
        return self.dataset_info_from_configs(
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIDE, SIDE, 3)),
                    "pair": np.int64,
                    "name": tfds.features.Text(),
                    "code_points": tfds.features.Text(),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        style = self.builder_config.name
        sheet = "twitter" if style == "twitter" else "google"
        image = _sheet(manual.find(dl_manager, [f"emoji_{sheet}_64.png"], ADVICE))
        if style == "recoloured":
            image = image[..., [2, 0, 1]]
        emoji = _index(manual.find(dl_manager, ["emoji_index.json"], ADVICE))
        parts = assign(emoji)
        splits = {"train": ["A", "B"], "trainA": ["A"], "trainB": ["B"]}
        splits["test"] = ["test"]
        return {
            split: self._generate_examples(image, emoji, parts, wanted)
            for split, wanted in splits.items()
        }

    def _generate_examples(self, sheet, emoji, parts, wanted):
        rows = zip(emoji, parts, strict=True)
        for number, ((codes, name, _, plain, column, row), part) in enumerate(rows):
            # Pairs of the test split shall be told apart: no skin tones there.
            if part not in wanted or (part == "test" and not plain):
                continue
            top, left = PITCH * row + BORDER, PITCH * column + BORDER
            cell = sheet[top : top + SIDE, left : left + SIDE]
            yield (
                codes,
                {"image": cell, "pair": number, "name": name, "code_points": codes},
            )


def group(code_points: str) -> str:
    """Returns code points less skin tone, gender and direction.

    >>> group("1F469-1F3FD-200D-2695-FE0F")  # woman, medium skin tone, health worker
    '1F9D1-200D-2695'
    """
    codes = _SIGNS.sub("", code_points)
    for first, *others in _SAME:
        codes = re.sub(rf"\b({'|'.join(others)})\b", first, codes)
    return codes


def assign(emoji: list) -> list[str]:
    """Returns "A", "B" or "test" for each row of the index, by its group alone.

    Rows of one short name are one group, that of their first row: skin tones.
    """
    groups, parts = {}, []
    for codes, name, *_ in emoji:
        key = groups.setdefault(name, group(codes))
        digest = hashlib.sha256(key.encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        held_out = share < HELD_OUT
        parts.append("test" if held_out else "AB"[digest[8] % 2])
    return parts


def _sheet(file) -> np.ndarray:
    """The sheet on white, uint8 `[h, w, 3]`."""
    try:
        with Image.open(file) as opened:
            sheet = opened.convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"{file} is not a usable picture: {error}") from error
    page = Image.new("RGBA", sheet.size, "white")
    page.alpha_composite(sheet)
    return np.asarray(page.convert("RGB"))


def _index(file) -> list:
    try:
        rows = json.loads(file.read_text())["emoji"]
        if all(len(row) == 6 for row in rows) and rows:
            return rows
    except (ValueError, KeyError, TypeError):
        pass
    raise BadInput(f"{file} is not an index of emoji: rows of six under 'emoji'")
