"""Random colours, flip, scale and crop of a picture and its mask, each a function of a seed alone.

What is drawn, and in which order, is the recipe of Kerssies et al. 2024 ("How to Benchmark Vision Foundation Models
for Semantic Segmentation?"); the colours are those of Mask2Former (Cheng et al. 2022).
"""

import random
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from mammut_clip.data.evalsets import IGNORED, Mask
from mammut_clip.data.images import to_tensor

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = 32 / 255, 0.5, 0.5, 18 / 360
_TRIES = 10


@dataclass(frozen=True)
class Augmentation:
    """What one training step does to a picture."""

    size: int
    """Height and width of what comes out, in pixels."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the factor by which the picture is larger than what fits into `size` x `size`."""
    flip: bool = True
    """Whether half of the pictures are mirrored."""
    colour_jitter: bool = True
    """Whether brightness, contrast, saturation and hue change."""

    def __call__(self, picture: Image.Image, mask: Mask, seed: int) -> tuple[Tensor, Tensor]:
        """An RGB picture and its mask [h, w] -> uint8 [3, S, S] and class numbers int64 [S, S].

        Where the scaled picture is smaller than that, the rest is black at the right and below, and IGNORED.
        """
        draw = random.Random(seed)
        if self.colour_jitter:
            picture = jittered(picture, draw)
        if self.flip and draw.random() < 0.5:
            picture, mask = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), mask[:, ::-1]
        fitting = self.size / max(picture.size)
        factor = fitting * draw.uniform(*self.scale)
        height, width = (max(1, round(side * factor)) for side in mask.shape)
        return self._crop(picture, mask, height, width, draw)

    def _crop(
        self, picture: Image.Image, mask: Mask, height: int, width: int, draw: random.Random
    ) -> tuple[Tensor, Tensor]:
        """A random part of what `height` x `width` pixels would show; only this part is computed."""
        rows, columns = min(height, self.size), min(width, self.size)
        scaled = nearest(mask, height, width)
        for _ in range(_TRIES):  # a crop without any labelled pixel teaches nothing
            top, left = draw.randint(0, height - rows), draw.randint(0, width - columns)
            part = scaled[top : top + rows, left : left + columns]
            if (part != IGNORED).any():
                break
        across, down = picture.width / width, picture.height / height
        box = (left * across, top * down, (left + columns) * across, (top + rows) * down)
        pixels = torch.zeros(3, self.size, self.size, dtype=torch.uint8)
        pixels[:, :rows, :columns] = to_tensor(picture.resize((columns, rows), Image.Resampling.BILINEAR, box=box))
        truth = torch.full((self.size, self.size), IGNORED)
        truth[:rows, :columns] = torch.from_numpy(part.astype(np.int64))
        return pixels, truth


def nearest(mask: Mask, height: int, width: int) -> Mask:
    """A mask [h, w] at another size: each pixel takes the class of the pixel that its centre falls on."""
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.int64)
    return mask[rows[:, None], columns]


def jittered(picture: Image.Image, draw: random.Random) -> Image.Image:
    """An RGB picture with each of brightness, contrast, saturation and hue changed at random half of the time."""
    picture = _sometimes(picture, ImageEnhance.Brightness, _BRIGHTNESS, draw)
    contrast_first = draw.random() < 0.5
    if contrast_first:
        picture = _sometimes(picture, ImageEnhance.Contrast, _CONTRAST, draw)
    picture = _sometimes(picture, ImageEnhance.Color, _SATURATION, draw)
    if draw.random() < 0.5:
        picture = hue_turned(picture, draw.uniform(-_HUE, _HUE))
    if not contrast_first:
        picture = _sometimes(picture, ImageEnhance.Contrast, _CONTRAST, draw)
    return picture


def hue_turned(picture: Image.Image, turns: float) -> Image.Image:
    """An RGB picture whose hues are moved round the circle, by -1 to 1 times its whole length."""
    hue, saturation, value = picture.convert("HSV").split()
    moved = (np.asarray(hue).astype(np.int64) + round(turns * 256)) % 256
    return Image.merge("HSV", (Image.fromarray(moved.astype(np.uint8)), saturation, value)).convert("RGB")


def _sometimes(
    picture: Image.Image,
    enhancer: type[ImageEnhance.Brightness | ImageEnhance.Contrast | ImageEnhance.Color],
    most: float,
    draw: random.Random,
) -> Image.Image:
    """The picture enhanced by a factor that differs from 1 by `most` at the most; half of the time, as it is."""
    return enhancer(picture).enhance(draw.uniform(1 - most, 1 + most)) if draw.random() < 0.5 else picture
