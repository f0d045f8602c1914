"""Moving Shapes: clips of shapes that move as a sentence says.

    A large red circle is moving in a zigzag path towards east.

After the data of Balaji et al. 2019, whose sentences it speaks; sizes, colours and
speeds are defined here, as the released code does not fix them. A clip is a function
of (variant, split, index) alone: the attributes are those of combination `index`
modulo their number, and place, and texture where there is one, come from a random
stream of the clip's own.

The centre of gravity of a shape in frame k is

    start + k v d          straight: d = north, south, east or west; v = 2 pixels
    start + k v d          diagonal: d = (+-1, +-1); v = 1.5 pixels on each axis
    start + k v d + A t(k / 8) p    zigzag: t a triangle wave of period 1 that starts
                           at 0 and rises, p to the right or down, A = 6 pixels

with the start uniform over those that keep the whole shape inside. North is up.
"""

import functools
import itertools
from dataclasses import dataclass, replace

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.core.spec import Feature
from tfgen.data import captions, drawing
from tfgen.data.rows import Rows

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}
AXES = {"north": (0, -1), "south": (0, 1), "east": (1, 0), "west": (-1, 0)}
DIAGONALS = {
    f"{vertical}{horizontal}": tuple(np.add(AXES[vertical], AXES[horizontal]).tolist())
    for vertical in ("north", "south")
    for horizontal in ("east", "west")
}
DIRECTIONS = AXES | DIAGONALS
STRAIGHT = tuple(("straight", direction) for direction in AXES)
DIAGONAL = tuple(("diagonal", direction) for direction in DIAGONALS)
PATHS = (*STRAIGHT, *(("zigzag", direction) for direction in AXES), *DIAGONAL)
ATTRIBUTES = ("shape", "size", "colour", "motion", "direction")
PERIOD = 8  # frames of a zigzag
CHUNK = 64  # clips drawn at a time
SPLITS = ("train", "test")
SEED = 20190810
WAVES = 12  # of a texture
BAND = (2, 7)  # their numbers of periods in a canvas
CONTRAST = 0.4  # brightest texture


@dataclass(frozen=True)
class Variant:
    """What the clips of one configuration are.

    Attributes:
        about: in one line.
        side: of the canvas in pixels.
        frames: of a clip.
        sizes: pixels of each size.
        colours: names in `COLOURS`.
        paths: pairs of motion and direction.
        speed: pixels a frame along an axis; on diagonals 3/4 of it on both.
        swing: pixels of a zigzag to either side.
        textured: a moving texture behind, instead of black.
        objects: 1, or 2 with no attribute in common but those that all have; the
            larger is told first, so that a clip has one sentence.
        held_out: share of the combinations that only the test split has.
        clips: numbers of training and test clips.
    """

    about: str
    side: int = 64
    frames: int = 16
    sizes: tuple[tuple[str, float], ...] = (("small", 12.0), ("large", 22.0))
    colours: tuple[str, ...] = tuple(COLOURS)
    paths: tuple[tuple[str, str], ...] = PATHS
    speed: float = 2.0
    swing: float = 6.0
    textured: bool = False
    objects: int = 1
    held_out: float = 0.0
    clips: tuple[int, int] = (7200, 720)

    @functools.cached_property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Attribute -> names of its values."""
        motions, directions = zip(*self.paths, strict=True)
        return {
            "shape": drawing.SHAPES,
            "size": tuple(name for name, _ in self.sizes),
            "colour": self.colours,
            "motion": tuple(dict.fromkeys(motions)),
            "direction": tuple(dict.fromkeys(directions)),
        }

    @functools.cached_property
    def attributes(self) -> tuple[str, ...]:
        """Names of all attributes, those of a second object with _2."""
        second = [f"{name}_2" for name in ATTRIBUTES] if self.objects == 2 else []
        return (*ATTRIBUTES, *second)

    @functools.cached_property
    def combinations(self) -> np.ndarray:
        """Numbers of the attributes of all sentences, `[sentences, attributes]`."""
        classes = self.classes
        paths = [
            (classes["motion"].index(motion), classes["direction"].index(direction))
            for motion, direction in self.paths
        ]
        counts = (len(classes[name]) for name in ATTRIBUTES[:3])
        one = np.array(
            [
                (*rest, *path)
                for *rest, path in itertools.product(*map(range, counts), paths)
            ]
        )
        if self.objects == 1:
            return one
        first, second = np.divmod(np.arange(len(one) ** 2), len(one))
        several = np.ptp(one, axis=0) > 0
        chosen = (one[first] != one[second])[:, several].all(axis=1)
        pixels = np.array([pixels for _, pixels in self.sizes])[one[:, 1]]
        chosen &= pixels[first] > pixels[second]
        both = np.concatenate([one[first[chosen]], one[second[chosen]]], axis=1)
        return np.random.default_rng(SEED).permutation(both)

    def allowed(self, split: str) -> np.ndarray:
        """The combinations that a split goes through, in turn.

        With `held_out`, the test split has the combinations that training lacks. So it
        has where there are more combinations than clips.
        """
        rows, train = self.combinations, split == "train"
        if self.held_out:
            order = np.random.default_rng(SEED).permutation(len(rows))
            cut = round(self.held_out * len(rows))
            return rows[np.sort(order[cut:] if train else order[:cut])]
        if len(rows) > sum(self.clips):
            cut = self.clips[0]
            return rows[:cut] if train else rows[cut : cut + self.clips[1]]
        return rows

    def count(self, split: str) -> int:
        """Clips of a split: as many of each sentence."""
        clips, sentences = self.clips[SPLITS.index(split)], len(self.allowed(split))
        if self.held_out and split == "train":
            return clips // len(self.combinations) * sentences
        return clips

    def labels(self, split: str, index) -> dict[str, np.ndarray]:
        """Numbers of the attributes of clips, {attribute: int64 `[n]`}."""
        allowed = self.allowed(split)
        rows = allowed[np.asarray(index) % len(allowed)]
        return dict(zip(self.attributes, rows.T.astype("int64"), strict=True))

    def sentences(self, labels) -> list[str]:
        """The sentences of clips with these labels."""
        columns = [labels[name] for name in self.attributes]
        rows, places = np.unique(np.stack(columns, 1), axis=0, return_inverse=True)
        told = [self._sentence(row) for row in rows]
        return [told[place] for place in places]

    def _sentence(self, numbers) -> str:
        parts = []
        for first in range(0, len(numbers), len(ATTRIBUTES)):
            shape, size, colour, motion, direction = (
                self.classes[name][number]
                for name, number in zip(ATTRIBUTES, numbers[first:], strict=False)
            )
            path = {
                "straight": f"straight line towards {direction}",
                "zigzag": f"zigzag path towards {direction}",
                "diagonal": f"diagonal path in the {direction} direction",
            }[motion]
            parts.append(f"a {size} {colour} {shape} is moving in a {path}")
        sentence = " and ".join(parts)
        return sentence[0].upper() + sentence[1:]

    def displacement(self, motion: str, direction: str) -> np.ndarray:
        """Where a shape is in each frame, from its start: (x, y), `[frames, 2]`."""
        k = np.arange(self.frames)[:, None]
        along = np.array(DIRECTIONS[direction])
        if motion == "diagonal":
            return 0.75 * self.speed * k * along
        path = self.speed * k * along
        if motion == "zigzag":
            phase = (k / PERIOD + 0.25) % 1  # a quarter on: the wave starts at 0
            wave = 1 - 4 * np.abs(phase - 0.5)
            path = path + self.swing * wave * np.abs(along[::-1])
        return path

    def centres(self, split: str, index) -> np.ndarray:
        """Centres of gravity (x, y) in pixels, `[n, objects, frames, 2]`."""
        index = np.asarray(index)
        labels = self.labels(split, index)
        places = [_random(split, i).uniform(size=[self.objects, 2]) for i in index]
        kinds = self.classes["motion"], self.classes["direction"]
        table = np.zeros([len(kinds[0]), len(kinds[1]), self.frames, 2])
        for motion, direction in self.paths:
            numbers = kinds[0].index(motion), kinds[1].index(direction)
            table[numbers] = self.displacement(motion, direction)
        found = []
        for number, ending in enumerate(("", "_2")[: self.objects]):
            moved = table[labels[f"motion{ending}"], labels[f"direction{ending}"]]
            shape, size = labels[f"shape{ending}"], self._pixels(labels, ending)
            above, below = drawing.ABOVE[shape] * size, drawing.BELOW[shape] * size
            beside = drawing.BESIDE * size
            low = np.stack([beside, above], 1) - moved.min(axis=1)
            high = self.side - np.stack([beside, below], 1) - moved.max(axis=1)
            place = np.stack([row[number] for row in places])
            start = low + place * (high - low)
            found.append(start[:, None] + moved)
        return np.stack(found, axis=1)

    def _pixels(self, labels, ending=""):
        return np.array([pixels for _, pixels in self.sizes])[labels[f"size{ending}"]]

    def videos(self, split: str, index) -> np.ndarray:
        """Clips number `index` of a split, uint8 `[n, frames, side, side, 3]`."""
        index = np.asarray(index)
        shape = (len(index), self.frames, self.side, self.side, 3)
        clips = np.zeros(shape, "uint8")
        for first in range(0, len(index), CHUNK):
            part = slice(first, first + CHUNK)
            self._draw(clips[part], split, index[part])
        return clips

    def _draw(self, clips, split, index):
        if self.textured:
            clips[:] = _textures(split, index, self.frames, self.side)[..., None]
        labels, centres = self.labels(split, index), self.centres(split, index)
        colours = np.array([COLOURS[name] for name in self.colours])
        canvas = clips.reshape(-1, *clips.shape[2:])
        order = range(self.objects)
        sizes = [self._pixels(labels, ("", "_2")[number]) for number in order]
        # The larger one first: it may hide the other.
        later = np.argsort(sizes, axis=0)[::-1]
        for turn in order:
            chosen = later[turn]

            def of(name, chosen=chosen):
                several = [labels[name + ending] for ending in ("", "_2")[: len(sizes)]]
                picked = np.choose(chosen, several)
                return np.repeat(picked, self.frames)

            pixels = np.array([pixels for _, pixels in self.sizes])[of("size")]
            centre = centres[np.arange(len(index)), chosen].reshape(-1, 2)
            drawing.draw(canvas, of("shape"), pixels, colours[of("colour")], centre)


def _random(split: str, index: int, what: int = 0):
    return np.random.default_rng([SEED, SPLITS.index(split), int(index), what])


def _textures(split, index, frames, side):
    """Returns moving grey textures, uint8 `[n, frames, side, side]`.

    Twelve waves of a band of frequencies with random directions and phases, drifting
    at a constant velocity of at most one pixel a frame.
    """
    clips = []
    for i in index:
        random = _random(split, i, 1)
        angle = random.uniform(0, 2 * np.pi, WAVES)
        periods = random.uniform(*BAND, WAVES)
        phase = random.uniform(0, 2 * np.pi, WAVES)
        speed, heading = random.uniform(0, 1), random.uniform(0, 2 * np.pi)
        fx, fy = 2 * np.pi / side * periods * [np.cos(angle), np.sin(angle)]
        drift = fx * np.cos(heading) + fy * np.sin(heading)
        shift = phase - speed * drift * np.arange(frames)[:, None]
        x = np.arange(side)[:, None] * fx
        y = np.arange(side)[:, None] * fy + shift[:, None, :]  # [frames, side, WAVES]
        waves = np.cos(y) @ np.cos(x).T - np.sin(y) @ np.sin(x).T
        clips.append(waves)
    # Each wave has variance 1/2: two standard deviations span the contrast.
    level = 0.5 + np.stack(clips) / (4 * np.sqrt(WAVES / 2))
    return np.rint(255 * CONTRAST * np.clip(level, 0, 1)).astype("uint8")


SMALL = Variant(
    "32 pixels, 8 frames, three colours, straight lines: 72 sentences",
    side=32,
    frames=8,
    sizes=(("small", 6.0), ("large", 11.0)),
    colours=("red", "green", "blue"),
    paths=STRAIGHT,
)
VARIANTS = {
    "v1": Variant("one shape on black, 360 sentences"),
    "small": SMALL,
    "small_one_size": replace(
        SMALL,
        about="small, all shapes large: 36 sentences",
        sizes=(("large", 11.0),),
    ),
    "small_diagonal": replace(
        SMALL,
        about="small, and diagonal lines: 144 sentences",
        paths=(*STRAIGHT, *DIAGONAL),
    ),
    "small_two_shapes": replace(
        SMALL,
        about="two shapes as in small, a tenth of 432 sentences in the test split only",
        objects=2,
        held_out=0.1,
    ),
    "small_novel": replace(
        SMALL,
        about="small, but a tenth of the combinations is in the test split only",
        held_out=0.1,
    ),
    "v2": Variant("one shape before a moving texture", textured=True),
    "two_shapes": Variant("two shapes without an attribute in common", objects=2),
    "novel": Variant(
        "a tenth of the combinations of attributes is in the test split only",
        held_out=0.1,
    ),
}


def variant(name: str) -> Variant:
    """Returns a variant by its name; BadInput names those there are."""
    if name not in VARIANTS:
        raise BadInput(f"no Moving Shapes {name!r}; valid: {', '.join(VARIANTS)}")
    return VARIANTS[name]


def rows(kind: Variant) -> Rows:
    """Draws all clips of a variant; see `tfgen.data.captions` for the sentences."""
    index = {split: np.arange(kind.count(split)) for split in SPLITS}
    labels = {split: kind.labels(split, index[split]) for split in SPLITS}
    told = [kind.sentences(labels[split]) for split in SPLITS]
    described, *words = captions.described(*told)
    shape = (kind.frames, kind.side, kind.side, 3)
    features = {
        "video": Feature(shape, "uint8", 0.0, 255.0),
        **described,
        **{
            name: Feature((), "int64", classes=kind.classes[name.removesuffix("_2")])
            for name in kind.attributes
        },
    }
    splits = [
        {"video": kind.videos(split, index[split]), **numbers, **labels[split]}
        for split, numbers in zip(SPLITS, words, strict=True)
    ]
    return Rows(features, *splits)


def readers() -> dict:
    """Returns {name of embedded data: function giving its `Rows`}."""
    named = {f"moving_shapes/{name}": kind for name, kind in VARIANTS.items()}
    named["moving_shapes"] = VARIANTS["v1"]
    return {name: functools.partial(rows, kind) for name, kind in named.items()}
