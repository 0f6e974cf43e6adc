"""The closed vocabulary of the toy world: its shapes, colours, textures and relations, and the captions they
make.

A caption reads count, size, texture, colour, shape: "two small red circles above a striped blue square". What
is ordinary stays unsaid: the middle size, and plain colour without a texture.
"""

from dataclasses import dataclass
from typing import Literal

SHAPES = (
    "circle",
    "square",
    "triangle",
    "diamond",
    "star",
    "cross",
    "heart",
    "ring",
    "moon",
    "house",
    "bowtie",
    "frame",
)
COLOURS = {
    "red": (232, 40, 40),
    "gold": (250, 158, 20),
    "yellow": (250, 238, 50),
    "lime": (138, 228, 46),
    "green": (28, 160, 62),
    "cyan": (48, 214, 222),
    "blue": (58, 88, 250),
    "purple": (156, 58, 226),
    "pink": (255, 134, 196),
    "grey": (150, 150, 150),
    "white": (250, 250, 250),
    "salmon": (250, 150, 120),
}
"""Name -> RGB, far enough apart to be told under the pictures' brightness jitter."""
COLOUR_NAMES = tuple(COLOURS)
TEXTURES = ("", "striped", "dotted", "checkered", "faded")
SIZES = ("small", "", "large")
COUNTS = ("a", "two", "three")
RELATIONS = ("above", "below", "left of", "right of")

OPENINGS = ("", "a photo of", "a picture of", "a drawing of", "there is")
"""What may stand before a phrase; "there is" becomes "there are" before a plural."""
PROMPTS = ("a {c}", "a photo of a {c}", "a picture of a {c}", "a drawing of a {c}", "there is a {c}")
"""The same openings as zero-shot templates."""

ANY_SHAPE = "shape"
"""Stands for a shape that is not named."""

_EXTRA_WORDS = ("background", "and", "the", "image")


@dataclass(frozen=True)
class Group:
    """One to three equal objects; indices into the tuples above."""

    shape: int
    colour: int
    texture: int
    size: int
    count: int
    """0 for one object, as in COUNTS."""
    unsaid: Literal["", "colour", "shape"] = ""
    """What its caption leaves out. It makes colour and shape words of their own, which is what lets a model put
    together pairs that it never saw."""


def plural(noun: str) -> str:
    """circles, crosses."""
    return noun + ("es" if noun.endswith("s") else "s")


def phrase(group: Group) -> str:
    """ "two small striped red circles"."""
    shape = ANY_SHAPE if group.unsaid == "shape" else SHAPES[group.shape]
    words = (
        COUNTS[group.count],
        SIZES[group.size],
        TEXTURES[group.texture],
        "" if group.unsaid == "colour" else COLOUR_NAMES[group.colour],
        plural(shape) if group.count else shape,
    )
    return " ".join(word for word in words if word)


def caption(main: Group, relation: int | None, other: Group | None, *, opening: int = 0) -> str:
    """The caption of a scene."""
    words = [OPENINGS[opening], phrase(main)]
    if words[0] == "there is" and main.count:
        words[0] = "there are"
    if other is not None and relation is not None:
        words += [RELATIONS[relation], phrase(other)]
    return " ".join(word for word in words if word)


def vocabulary() -> list[str]:
    """Every word that captions and class prompts can contain, in a fixed order."""
    openings = [word for opening in OPENINGS for word in opening.split()]
    relations = [word for relation in RELATIONS for word in relation.split()]
    shapes = [form for shape in (*SHAPES, ANY_SHAPE) for form in (shape, plural(shape))]
    words = [*COUNTS, *openings, "are", *SIZES, *TEXTURES, *COLOUR_NAMES, *shapes, *relations, *_EXTRA_WORDS]
    return list(dict.fromkeys(word for word in words if word))


Pair = tuple[int, int]
"""Shape and colour, as indices."""


def held_out_pairs() -> list[Pair]:
    """32 of the 144 pairs of shape and colour: those never drawn or named in training.

    Each shape is seen in 9 or 10 of the 12 colours, each colour in 9 or 10 of the shapes.
    """
    by_offset = [(shape, (5 * shape + offset) % 12) for offset in (0, 4, 8) for shape in range(12)]
    return sorted(by_offset[:32])


def training_pairs() -> list[Pair]:
    """The other 112 pairs."""
    held_out = set(held_out_pairs())
    every = [(shape, colour) for shape in range(len(SHAPES)) for colour in range(len(COLOUR_NAMES))]
    return [pair for pair in every if pair not in held_out]


def pair_name(pair: Pair) -> str:
    """ "red circle"."""
    return f"{COLOUR_NAMES[pair[1]]} {SHAPES[pair[0]]}"
