"""Training pictures from bytes to uint8 [S, S, 3]: decoded, cropped at random and resized, or refused with a reason.

`pil` gives open_clip's pixels to the last digit. `fast` takes the same boxes of the same pictures with libjpeg-turbo
and PyTorch (`decode_fast.py`). How far it is from `pil`, on photo-like JPEGs at 224 pixels: decoded in full, 0.004 of
255 in the mean (0.2 where one side shrinks and the other grows) and at most 3. Decoded at 1/2 or less, as crops of 672
pixels and more are: 1.4 in the mean, 2.1 in the worst picture, at most 17; 0.6 of it is the filter, the rest the box,
whose edges move by up to 1/3 of a pixel of the result.
"""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from mammut_clip.config.data import BadSampleConfig, FilterConfig
from mammut_clip.data.bad_samples import Bad, BadSampleError
from mammut_clip.data.decode_fast import Box, Pixels, decode_jpeg, fraction_for, resize_into, scaled
from mammut_clip.data.images import (
    GiantPictureError,
    PictureError,
    TrainTransform,
    load_rgb,
    open_header,
)

if TYPE_CHECKING:  # the stream imports this module
    from mammut_clip.data.stream.batch import StageSeconds

_JPEG_FORMATS = ("JPEG", "MPO")  # MPO: several JPEGs in one file, of which the first counts
_FAST_MODES = ("RGB", "L")


class TrainDecoder:
    """Makes training pictures of S x S pixels; the crop depends on a picture's size and the seed alone."""

    def __init__(
        self,
        image_size: int,
        crop_scale: tuple[float, float],
        decode: Literal["pil", "fast"],
        filters: FilterConfig,
        bad_samples: BadSampleConfig,
    ) -> None:
        self._transform = TrainTransform(image_size, crop_scale)
        self._fast = decode == "fast"
        self._filters = filters
        self._max_pixels = bad_samples.max_pixels

    def into(self, data: bytes, seed: int, out: Pixels, seconds: "StageSeconds") -> None:
        """Write the picture into `out`, uint8 [S, S, 3] in RGB, and add the seconds that decoding and resizing took.

        Raises BadSampleError: EMPTY_PICTURE, BROKEN_PICTURE (both ways refuse what PIL refuses, such as truncated
        files), GIANT_PICTURE (before its pixels are decoded) or what `filters` leaves out. From then on the process
        gives no warnings of PIL, which has one for every odd file.
        """
        if not data:
            raise BadSampleError(Bad.EMPTY_PICTURE, "0 bytes")
        _ignore_warnings_of_pil()
        try:
            with _largest_picture(self._max_pixels):
                if self._fast:
                    self._fast_into(data, seed, out, seconds)
                else:
                    self._pil_into(data, seed, out, seconds)
        except GiantPictureError as error:
            raise BadSampleError(Bad.GIANT_PICTURE, str(error)) from error
        except PictureError as error:
            raise BadSampleError(Bad.BROKEN_PICTURE, str(error)) from error

    def _pil_into(self, data: bytes, seed: int, out: Pixels, seconds: "StageSeconds") -> None:
        began = time.perf_counter()
        picture = load_rgb(self._open(data), data)
        decoded = time.perf_counter()
        out[...] = np.asarray(self._transform.crop(picture, seed))
        seconds.decode += decoded - began
        seconds.resize += time.perf_counter() - decoded

    def _fast_into(self, data: bytes, seed: int, out: Pixels, seconds: "StageSeconds") -> None:
        began = time.perf_counter()
        pixels, box = self._pixels(self._open(data), data, seed)
        decoded = time.perf_counter()
        resize_into(pixels, box, out)
        seconds.decode += decoded - began
        seconds.resize += time.perf_counter() - decoded

    def _pixels(self, picture: Image.Image, data: bytes, seed: int) -> tuple[Pixels, Box]:
        """RGB pixels [h, w, 3], of which the box is to be shown. Raises PictureError."""
        if picture.format in _JPEG_FORMATS and picture.mode in _FAST_MODES:
            box = self._transform.box(picture.height, picture.width, seed)
            fraction = fraction_for(box, self._transform.image_size)
            pixels = decode_jpeg(data, picture.height, picture.width, fraction)
            if pixels is not None:
                return pixels, scaled(box, fraction)
        picture = load_rgb(picture, data)
        top, left, height, width = self._transform.box(picture.height, picture.width, seed)
        return np.array(picture.crop((left, top, left + width, top + height))), (0, 0, height, width)

    def _open(self, data: bytes) -> Image.Image:
        """A picture whose header is read and in order. Raises PictureError and BadSampleError."""
        picture = open_header(data)
        width, height = picture.size
        shorter, longer = sorted(picture.size)
        shown = f"{width} x {height} pixels"
        if width * height > self._max_pixels:
            raise BadSampleError(Bad.GIANT_PICTURE, f"{shown}; data.bad_samples.max_pixels is {self._max_pixels}")
        min_side, max_aspect = self._filters.min_side, self._filters.max_aspect
        if min_side is not None and shorter < min_side:
            raise BadSampleError(Bad.SMALL_PICTURE, f"{shown}; data.filters.min_side is {min_side}")
        if max_aspect is not None and longer > max_aspect * shorter:
            raise BadSampleError(Bad.LONG_PICTURE, f"{shown}; data.filters.max_aspect is {max_aspect}")
        return picture


@contextmanager
def _largest_picture(max_pixels: int) -> Iterator[None]:
    """With `max_pixels` in the place of PIL's own bound, which is that of the process."""
    bound = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = bound


@cache
def _ignore_warnings_of_pil() -> None:
    # Once and for good: each change of the filters makes Python repeat warnings that it would give once.
    warnings.filterwarnings("ignore", module=r"PIL\.")
