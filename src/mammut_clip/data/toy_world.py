"""The toy world: small pictures of coloured, textured shapes in relations, each with caption, labels and
mask.

Sample `index` of `seed` is a pure function of both. 32 pairs of shape and colour are held out: they occur in
no training picture and no training caption, only in the evaluation set that asks for them. The world exists
for the quickstart, for tests and for smoke runs on clusters.

    python -m mammut_clip.data.toy_world contact-sheet.png      # looks at it
"""

import io
import sys
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mammut_clip.config.errors import InputError
from mammut_clip.data.order.mixing import mix
from mammut_clip.data.toy_shapes import TILTS, Floats, stamp
from mammut_clip.data.toy_words import (
    OPENINGS,
    RELATIONS,
    TEXTURES,
    Group,
    Pair,
    caption,
    training_pairs,
)

Picture = npt.NDArray[np.uint8]

TRAIN, PAIRS, RETRIEVAL, SEGMENTATION = 0, 1, 2, 3
"""Splits: each has samples of its own under every seed."""
MIN_SIZE, MAX_SIZE = 32, 64

_WORDS = 40  # random words per sample; _Dice says when this does not suffice
_BACKGROUNDS = 128
_MARGIN = 16
_WANDER = 1  # pixels at size 32 that an object strays from the middle of its place
_FRACTIONS = (9 / 32, 12 / 32, 15 / 32)  # width of an object of each size, as a share of the picture
_FRACTIONS_ALONE = (12 / 32, 15 / 32, 18 / 32)  # the same where one object has the picture to itself
_ALONE = 0.5  # share of pictures with one group
_COLOUR_UNSAID = 0.15  # share of groups whose colour the caption leaves out
_SHAPE_UNSAID = 0.1


@dataclass(frozen=True)
class Scene:
    """What a picture shows."""

    main: Group
    relation: int | None
    other: Group | None
    caption: str


@dataclass(frozen=True)
class ToySample:
    """A picture and all that is known about it."""

    image: Picture
    """[H, W, 3]."""
    caption: str
    scene: Scene
    mask: Picture
    """[H, W]: 0 background, 1 + shape elsewhere."""

    @property
    def pair(self) -> Pair:
        """Shape and colour of the main object."""
        return self.scene.main.shape, self.scene.main.colour


class _Dice:
    """The random words of one sample, used up one by one."""

    def __init__(self, words: list[int]) -> None:
        self._words = iter(words)

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return (next(self._words) >> 32) * count >> 32

    def share(self) -> float:
        """A number from 0 to 1, 1 excluded."""
        return (next(self._words) >> 11) * 2.0**-53


@dataclass(frozen=True)
class ToyWorld:
    """Pictures of one seed and size."""

    seed: int
    image_size: int = 32

    def __post_init__(self) -> None:
        if not MIN_SIZE <= self.image_size <= MAX_SIZE:
            raise InputError(f"image size {self.image_size}: the toy world is drawn at {MIN_SIZE} to {MAX_SIZE} pixels")

    def samples(self, split: int, start: int, stop: int, *, pairs: list[Pair] | None = None) -> list[ToySample]:
        """Samples start, ..., stop - 1 of a split.

        With `pairs`, sample i shows one object of pair i mod len(pairs) and nothing else; otherwise any
        scene.
        """
        words = mix(self.seed, split, np.arange(start, stop)[:, None], np.arange(_WORDS)[None, :])
        result = []
        for index, row in enumerate(words.tolist(), start=start):
            dice = _Dice(row)
            scene = _scene(dice) if pairs is None else _portrait(dice, pairs[index % len(pairs)])
            result.append(self._draw(scene, dice))
        return result

    def sample(self, split: int, index: int) -> ToySample:
        """One sample."""
        return self.samples(split, index, index + 1)[0]

    def _draw(self, scene: Scene, dice: _Dice) -> ToySample:
        size = self.image_size
        canvas = _background(dice, self.seed, size)
        mask = np.zeros((size, size), dtype=np.uint8)
        half = size // 2
        main, other = {
            None: ((0, 0, size, size), None),
            0: ((0, 0, half, size), (half, 0, size, size)),
            1: ((half, 0, size, size), (0, 0, half, size)),
            2: ((0, 0, size, half), (0, half, size, size)),
            3: ((0, half, size, size), (0, 0, size, half)),
        }[scene.relation]
        _place(canvas, mask, scene.main, main, dice)
        if scene.other is not None and other is not None:
            _place(canvas, mask, scene.other, other, dice)
        canvas *= 0.82 + 0.3 * dice.share()
        image = np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)
        return ToySample(image, scene.caption, scene, mask)


def _group(dice: _Dice, pair: Pair, *, in_half: bool) -> Group:
    count = (0, 0, 0, 1, 1, 2)[dice.below(6)]
    size = dice.below(3)
    if in_half and count == 2:
        size = 0  # three larger ones do not fit side by side
    unsaid = dice.share()
    return Group(
        pair[0],
        pair[1],
        dice.below(len(TEXTURES)),
        size,
        count,
        "colour" if unsaid < _COLOUR_UNSAID else "shape" if unsaid < _COLOUR_UNSAID + _SHAPE_UNSAID else "",
    )


@cache
def _training_pairs() -> list[Pair]:
    return training_pairs()


def _scene(dice: _Dice) -> Scene:
    """Any scene of the training distribution."""
    pairs = _training_pairs()
    first = dice.below(len(pairs))
    second = (first + 1 + dice.below(len(pairs) - 1)) % len(pairs)
    alone = dice.share() < _ALONE
    main = _group(dice, pairs[first], in_half=not alone)
    opening = dice.below(len(OPENINGS))
    if alone:
        return Scene(main, None, None, caption(main, None, None, opening=opening))
    other = _group(dice, pairs[second], in_half=True)
    relation = dice.below(len(RELATIONS))
    text = caption(main, relation, other, opening=opening)
    return Scene(main, relation, other, text)


def _portrait(dice: _Dice, pair: Pair) -> Scene:
    """One object of a given pair."""
    main = Group(pair[0], pair[1], dice.below(len(TEXTURES)), dice.below(3), 0)
    return Scene(main, None, None, caption(main, None, None))


Box = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels."""


def _cells(box: Box, count: int) -> list[Box]:
    """Room for each of one to three objects."""
    top, left, bottom, right = box
    height, width = bottom - top, right - left
    if count == 1:
        return [box]
    if height == width and count == 3:
        middle, centre = top + height // 2, left + width // 2
        return [(top, left, middle, centre), (top, centre, middle, right), (middle, left, bottom, right)]
    if width >= height:
        edges = [left + width * i // count for i in range(count + 1)]
        return [(top, a, bottom, b) for a, b in pairwise(edges)]
    edges = [top + height * i // count for i in range(count + 1)]
    return [(a, left, b, right) for a, b in pairwise(edges)]


def _near_the_middle(dice: _Dice, first: int, last: int, wander: int) -> int:
    """A place from `first` to `last`, at most `wander` pixels from the middle between them."""
    middle = (first + last) // 2
    low, high = max(first, middle - wander), min(last, middle + wander)
    return low + dice.below(high - low + 1)


def _place(canvas: Floats, mask: Picture, group: Group, box: Box, dice: _Dice) -> None:
    size = canvas.shape[0]
    cells = _cells(box, group.count + 1)
    fractions = _FRACTIONS_ALONE if cells == [(0, 0, size, size)] else _FRACTIONS
    pixels = round(fractions[group.size] * size)
    for top, left, bottom, right in cells:
        tilt = dice.below(len(TILTS))
        drawn = stamp(group.shape, group.colour, group.texture, pixels, tilt, size / 32)
        y = _near_the_middle(dice, top, bottom - pixels, _WANDER * size // 32)
        x = _near_the_middle(dice, left, right - pixels, _WANDER * size // 32)
        region = canvas[y : y + pixels, x : x + pixels]
        region *= drawn.bare
        region += drawn.colour
        mask[y : y + pixels, x : x + pixels][drawn.inside] = 1 + group.shape


@lru_cache(maxsize=4)
def _background_bank(seed: int, size: int) -> Floats:
    """[_BACKGROUNDS, size + margin, size + margin, 3]: gradients with noise and grey specks around 0."""
    side = size + _MARGIN
    noise = 7 * _noise((_BACKGROUNDS, side, side, 1), seed, 1) + 3 * _noise((_BACKGROUNDS, side, side, 3), seed, 2)
    ramp = np.linspace(-28, 28, side, dtype=np.float32)
    words = mix(seed, 3, np.arange(_BACKGROUNDS)[:, None], np.arange(_WORDS)[None, :])
    for picture, row in zip(noise, words.tolist(), strict=True):
        dice = _Dice(row)
        down, across = 2 * dice.share() - 1, 2 * dice.share() - 1
        picture += (down * ramp[:, None] + across * ramp[None, :])[..., None]
        for _ in range(dice.below(8)):
            y, x, height, width = (
                dice.below(side - 4),
                dice.below(side - 4),
                1 + dice.below(4),
                1 + dice.below(4),
            )
            picture[y : y + height, x : x + width] += 90 * dice.share() - 45
    return noise


def _noise(shape: tuple[int, ...], seed: int, stream: int) -> Floats:
    """Nearly normal noise of deviation 1: the sum of four 16-bit numbers, which are one random word."""
    words = mix(seed, stream, np.arange(np.prod(shape))).view(np.uint16).reshape(*shape, 4)
    return ((words.sum(axis=-1, dtype=np.float32) / 2**16 - 2) * np.float32(3**0.5)).astype(np.float32)


def _background(dice: _Dice, seed: int, size: int) -> Floats:
    """[size, size, 3]: a dark grey that leans to some hue; every colour is brighter."""
    which, y, x = dice.below(_BACKGROUNDS), dice.below(_MARGIN), dice.below(_MARGIN)
    grey = 24 + 28 * dice.share()
    tint = [grey + 26 * (dice.share() - 0.5) for _ in range(3)]
    return _background_bank(seed, size)[which, y : y + size, x : x + size] + np.array(tint, dtype=np.float32)


def encode_jpeg(image: Picture) -> bytes:
    """Quality 92 with full colour resolution: at 32 pixels, halved colour would smear one object into the
    next."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def contact_sheet(samples: list[ToySample], columns: int, zoom: int = 4) -> Image.Image:
    """The pictures in rows, enlarged, each with its caption below and its mask beside it."""
    from PIL import ImageDraw

    size = samples[0].image.shape[0] * zoom
    rows = -(-len(samples) // columns)
    cell = (2 * size + 12, size + 40)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for number, sample in enumerate(samples):
        x, y = number % columns * cell[0], number // columns * cell[1]
        sheet.paste(Image.fromarray(sample.image).resize((size, size), Image.Resampling.NEAREST), (x, y))
        shades = Image.fromarray((sample.mask * 19).astype(np.uint8))
        sheet.paste(shades.resize((size, size), Image.Resampling.NEAREST), (x + size + 2, y))
        words = sample.caption.split()
        draw.text((x, y + size + 2), " ".join(words[:7]) + "\n" + " ".join(words[7:]), fill="black")
    return sheet


if __name__ == "__main__":
    contact_sheet(ToyWorld(seed=0).samples(TRAIN, 0, 40), columns=5).save(Path(sys.argv[1]))
