"""What one object of the toy world looks like: stamps, drawn once at eight times the resolution and averaged
down.

A stamp is the share of each pixel that the shape covers, and its colour times that share, ready to be laid
over a picture as `picture * (1 - cover) + colour`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from mammut_clip.data.toy_words import COLOURS, SHAPES, TEXTURES

Floats = npt.NDArray[np.float32]
Truth = npt.NDArray[np.bool_]

TILTS = (-0.18, 0.0, 0.18)
"""Radians by which an object may lean."""
_OVERSAMPLING = 8
_DARK = frozenset({"green", "blue", "purple", "brown", "black"})


@dataclass(frozen=True)
class Stamp:
    """An object of s x s pixels."""

    colour: Floats
    """[s, s, 3], 0 to 255, already multiplied by the cover."""
    bare: Floats
    """[s, s, 1], 1 - cover."""
    inside: Truth
    """[s, s], where the shape covers half of the pixel or more."""


def _star(x: Floats, y: Floats) -> Truth:
    angle = np.mod(np.arctan2(x, -y), 2 * np.pi / 5) - np.pi / 5
    outer, inner = 1.0, 0.42
    edge = outer * inner * np.sin(np.pi / 5)
    distance = np.hypot(x, y + 0.05)
    angle_from_tip = np.pi / 5 - np.abs(angle)
    return distance * (inner * np.sin(np.pi / 5 - angle_from_tip) + outer * np.sin(angle_from_tip)) < edge


def _heart(x: Floats, y: Floats) -> Truth:
    lobes = np.hypot(np.abs(x) - 0.46, y + 0.38) < 0.5
    point = (np.abs(x) * 0.98 + y < 0.9) & (y > -0.3) & (np.abs(x) < 0.9)
    return lobes | point


def _frame(x: Floats, y: Floats) -> Truth:
    reach = np.maximum(np.abs(x), np.abs(y))
    return (reach < 0.9) & (reach > 0.48)


_FORMS: dict[str, Callable[[Floats, Floats], Truth]] = {
    "circle": lambda x, y: np.hypot(x, y) < 0.95,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) < 0.84,
    "triangle": lambda x, y: (y < 0.85) & (2 * np.abs(x) - 0.95 < y),
    "diamond": lambda x, y: np.abs(x) * 1.3 + np.abs(y) < 1.0,
    "star": _star,
    "cross": lambda x, y: (np.minimum(np.abs(x), np.abs(y)) < 0.3) & (np.maximum(np.abs(x), np.abs(y)) < 0.95),
    "heart": _heart,
    "ring": lambda x, y: (np.hypot(x, y) < 0.97) & (np.hypot(x, y) > 0.5),
    "moon": lambda x, y: (np.hypot(x, y) < 0.97) & (np.hypot(x - 0.5, y + 0.12) > 0.72),
    "house": lambda x, y: ((np.abs(x) < 0.62) & (y < 0.9) & (y > -0.1)) | ((y <= -0.1) & (np.abs(x) < y + 0.98)),
    "bowtie": lambda x, y: (np.abs(y) < 0.12 + 0.75 * np.abs(x)) & (np.abs(x) < 0.95),
    "frame": _frame,
}
"""Shape -> whether a point is inside; x to the right, y down, both from -1 to 1."""

_PATTERNS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "": lambda u, v: np.zeros_like(u),
    "striped": lambda u, v: (np.mod(v, 4) < 2).astype(np.float32),
    "dotted": lambda u, v: (np.hypot(np.mod(u, 4) - 2, np.mod(v, 4) - 2) < 1.2).astype(np.float32),
    "checkered": lambda u, v: ((np.mod(u, 6) < 3) ^ (np.mod(v, 6) < 3)).astype(np.float32),
    "faded": lambda u, v: np.clip(0.5 - v / 9, 0, 1),
}
"""Texture -> share of the second tone; u and v in pixels of a picture 32 wide, from the object's centre."""


def second_tone(colour: str) -> Floats:
    """The tone of a texture's pattern: darker for light colours, lighter for dark ones, of the same hue."""
    base = np.array(COLOURS[colour], dtype=np.float32)
    return base + 0.42 * (255 - base) if colour in _DARK else 0.5 * base


@cache
def stamp(shape: int, colour: int, texture: int, pixels: int, tilt: int, scale: float) -> Stamp:
    """The stamp of an object `pixels` wide; `scale` is the picture's width over 32, which the patterns grow
    with."""
    first, second = _cover(shape, texture, pixels, tilt, scale)
    name = list(COLOURS)[colour]
    cover = first + second
    painted = first * np.array(COLOURS[name], dtype=np.float32) + second * second_tone(name)
    return Stamp(painted, 1 - cover, cover[..., 0] >= 0.5)


@cache
def _cover(shape: int, texture: int, pixels: int, tilt: int, scale: float) -> tuple[Floats, Floats]:
    """Share of each pixel that the shape covers in its first and in its second tone, [s, s, 1] each."""
    fine = (np.arange(pixels * _OVERSAMPLING, dtype=np.float32) + 0.5) / (pixels * _OVERSAMPLING) * 2 - 1
    down, right = np.meshgrid(fine, fine, indexing="ij")
    sine, cosine = np.sin(TILTS[tilt]), np.cos(TILTS[tilt])
    x: Floats = (right * cosine + down * sine).astype(np.float32)
    y: Floats = (down * cosine - right * sine).astype(np.float32)
    inside = _FORMS[SHAPES[shape]](x, y)
    half = np.float32(pixels / 2 / scale)
    second = _PATTERNS[TEXTURES[texture]](x * half, y * half) * inside
    return _average(inside - second), _average(second)


def _average(fine: Floats) -> Floats:
    """[8s, 8s] -> [s, s, 1]."""
    size = fine.shape[0] // _OVERSAMPLING
    tiles = fine.astype(np.float32).reshape(size, _OVERSAMPLING, size, _OVERSAMPLING)
    return tiles.mean(axis=(1, 3))[..., None]
