"""Whole pictures through a tower that sees squares: cut into windows, and what it says of them put together.

Pictures are resized so that the shorter side has a given length; where windows overlap, what is said is averaged.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mammut_clip.data.images import to_tensor

Place = tuple[int, int]
"""Top and left of a window, in pixels of the resized picture."""
_CLASSES_AT_ONCE = 16


@dataclass(frozen=True)
class Windows:
    """How a picture is cut."""

    size: int
    """Height and width of a window in pixels."""
    shorter_side: int
    """What pictures are resized to."""
    stride: int | None = None
    """Pixels from window to window, the last of which ends with the picture; None takes as few windows as cover it,
    at even distances (Kerssies et al. 2024)."""

    def resized(self, picture: Image.Image) -> Tensor:
        """An RGB picture -> uint8 [3, h, w]."""
        factor = self.shorter_side / min(picture.size)
        width, height = (max(1, round(side * factor)) for side in picture.size)
        return to_tensor(picture.resize((width, height), Image.Resampling.BILINEAR))

    def places(self, height: int, width: int) -> list[Place]:
        """Where the windows of a resized picture lie: every pixel is in one, and none reaches over an edge unless the
        picture is smaller than a window."""
        tops, lefts = (starts(side, self.size, self.stride) for side in (height, width))
        return [(top, left) for top in tops for left in lefts]

    def cut(self, pixels: Tensor, place: Place) -> Tensor:
        """uint8 [3, h, w] -> uint8 [3, size, size]; black where the picture is smaller than the window."""
        top, left = place
        part = pixels[:, top : top + self.size, left : left + self.size]
        return F.pad(part, (0, self.size - part.shape[2], 0, self.size - part.shape[1]))

    def stitch(self, logits: list[Tensor], places: list[Place], height: int, width: int) -> Tensor:
        """Logits [C, g, g] of each window -> logits [C, h, w] of the resized picture: the mean over the windows that a
        pixel is in."""
        total = logits[0].new_zeros(len(logits[0]), height, width)
        windows = logits[0].new_zeros(height, width)
        for window, (top, left) in zip(logits, places, strict=True):
            bottom, right = min(top + self.size, height), min(left + self.size, width)
            large = enlarged(window[None], (self.size, self.size))[0]
            total[:, top:bottom, left:right] += large[:, : bottom - top, : right - left]
            windows[top:bottom, left:right] += 1
        return total.div_(windows)


def starts(length: int, window: int, stride: int | None) -> list[int]:
    """Where the windows along one side begin; `stride` as in Windows."""
    if length <= window:
        return [0]
    if stride is not None:
        return [*range(0, length - window, stride), length - window]
    steps = -(-length // window) - 1
    return [step * (length - window) // steps for step in range(steps + 1)]


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, g, g] -> [B, C, *size], bilinear."""
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def labels_at(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The class of the largest of logits [C, h, w] at each pixel of a picture of another size: int64 [*size].

    A few classes at a time: all of them at the size of a large picture would take gigabytes.
    """
    best = logits.new_full(size, -torch.inf)
    labels = torch.zeros(size, dtype=torch.int64, device=logits.device)
    for first in range(0, len(logits), _CLASSES_AT_ONCE):
        values, which = enlarged(logits[None, first : first + _CLASSES_AT_ONCE], size)[0].max(dim=0)
        labels = torch.where(values > best, which + first, labels)
        best = torch.maximum(best, values)
    return labels
