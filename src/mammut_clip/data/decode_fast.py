"""Decoding and resizing in a fraction of PIL's time, with pixels that differ a little (figures: `decode.py`).

libjpeg-turbo decodes JPEGs (simplejpeg), large ones at 1/2, 1/4 or 1/8 of their size, which spares most of the inverse
DCT and of the resizing. Other fractions have no SIMD code and take longer than decoding everything. PyTorch's
antialiased bicubic resizing of bytes does what PIL's does, with SIMD and with weights of 16 bits where PIL has 22.
"""

from math import ceil, floor

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Top, left, height, width."""

_FRACTIONS = (8, 4, 2)
_MARGIN = 1.5


def fraction_for(box: Box, size: int) -> int:
    """1, 2, 4 or 8: a picture whose `box` becomes size x size is decoded at 1 / this of its size.

    Of the box, at least 1.5 x size pixels a side are left. With fewer, pictures would lose sharpness, and the edges
    of the box, which move to the nearest pixel of the smaller picture, would move by more than 1/3 of a pixel of the
    result.
    """
    shorter = min(box[2:])
    return next((n for n in _FRACTIONS if shorter >= n * _MARGIN * size), 1)


def decode_jpeg(data: bytes, height: int, width: int, fraction: int) -> Pixels | None:
    """RGB uint8 [ceil(height / fraction), ceil(width / fraction), 3] of a JPEG of height x width pixels, RGB or gray.

    None where libjpeg finds fault with the file; whether it can be used is then for PIL to say.
    """
    shape = (-(-height // fraction), -(-width // fraction), 3)
    smallest = shape[:2] if fraction > 1 else (0, 0)
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=smallest[0], min_width=smallest[1])
    except ValueError:
        return None
    return pixels if pixels.shape == shape else None


def scaled(box: Box, fraction: int) -> Box:
    """The box in a picture decoded at 1 / fraction of its size, its edges moved to the nearest pixels.

    Edges halfway between two pixels move outwards, so that where opposite ones do, the middle stays.
    """
    (top, bottom), (left, right) = (
        (ceil(first / fraction - 0.5), floor((first + length) / fraction + 0.5))
        for first, length in ((box[0], box[2]), (box[1], box[3]))
    )
    return top, left, bottom - top, right - left


def resize_into(pixels: Pixels, box: Box, out: Pixels) -> None:
    """Write the box of an RGB picture [h, w, 3], resized, into `out`, uint8 [S, S, 3]."""
    top, left, height, width = box
    size = out.shape[:2]
    part = torch.from_numpy(pixels[top : top + height, left : left + width])
    part = part.unsqueeze(0).permute(0, 3, 1, 2)  # [1, 3, h, w] in strides that PyTorch takes for channels last
    if (height, width) != size:
        part = torch.nn.functional.interpolate(part, size=size, mode="bicubic", antialias=True)
    out[...] = part[0].permute(1, 2, 0).numpy()
