"""Pictures from bytes to uint8 tensors [3, H, W], as open_clip crops and resizes them; normalised on the
device.

PIL decodes and interpolates (bicubic), so that results equal open_clip's to the last bit before normalisation.
Training reads through `decode.TrainDecoder`, which has a faster way beside this one.
"""

import io
import math
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_RATIOS = (3 / 4, 4 / 3)


class PictureError(ValueError):
    """Bytes that are not a picture; the message says why."""


class GiantPictureError(PictureError):
    """More pixels than twice `PIL.Image.MAX_IMAGE_PIXELS`; seen before they are decoded."""


def normalize(images: Tensor, mean: tuple[float, ...] = CLIP_MEAN, std: tuple[float, ...] = CLIP_STD) -> Tensor:
    """uint8 [B, 3, H, W] in any memory order -> float32 [B, 3, H, W], contiguous: (x / 255 - mean) / std, on the
    device the images are on."""
    scale, shift = _scale_and_shift(mean, std, images.device)
    floats = images.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    return torch.addcmul(shift, floats, scale, out=floats)


@lru_cache(maxsize=8)  # on a GPU, making them would let the host wait for the device at every step
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(-1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device).view(-1, 1, 1)
    return scale, shift


def open_picture(data: bytes) -> Image.Image:
    """A picture in its own mode, completely decoded. Raises PictureError."""
    picture = open_header(data)
    try:
        picture.load()
    except Exception as error:
        raise _explained(error, data) from error
    return picture


def open_header(data: bytes) -> Image.Image:
    """A picture whose size and mode are known, and whose pixels `load_rgb` decodes. Raises PictureError."""
    try:
        return Image.open(io.BytesIO(data))
    except Exception as error:
        raise _explained(error, data) from error


def load_rgb(picture: Image.Image, data: bytes) -> Image.Image:
    """What `open_header` opened, completely decoded, in RGB. Raises PictureError."""
    try:
        picture.load()
        return to_rgb(picture)
    except Exception as error:
        raise _explained(error, data) from error


def _explained(error: Exception, data: bytes) -> PictureError:
    """PIL's decoders raise what they stumble over: SyntaxError, struct.error."""
    if isinstance(error, Image.DecompressionBombError):
        return GiantPictureError(f"larger than any sensible picture: {error}")
    if isinstance(error, UnidentifiedImageError):
        start = data[:8].hex(" ") or "nothing"
        return PictureError(f"not in any known format; {len(data)} bytes that start with {start}")
    return PictureError(f"cannot be decoded ({error}); {len(data)} bytes")


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB."""
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def to_tensor(picture: Image.Image) -> Tensor:
    """PIL picture -> RGB uint8 [3, h, w]."""
    return torch.from_numpy(np.array(to_rgb(picture))).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class TrainTransform:
    """open_clip's training transform up to normalisation: RandomResizedCrop with aspect ratios 3/4 to 4/3."""

    image_size: int
    crop_scale: tuple[float, float] = (0.9, 1.0)
    """Share of the area that is kept; (1, 1) resizes the whole picture."""

    def __call__(self, picture: Image.Image, seed: int | None = None) -> Tensor:
        """uint8 [3, S, S]; without a seed the crop comes from torch's random state."""
        return to_tensor(self.crop(to_rgb(picture), int(torch.randint(2**62, ())) if seed is None else seed))

    def crop(self, picture: Image.Image, seed: int) -> Image.Image:
        """An RGB picture -> S x S pixels."""
        size = (self.image_size, self.image_size)
        top, left, height, width = self.box(picture.height, picture.width, seed)
        if (width, height) != picture.size:
            picture = picture.crop((left, top, left + width, top + height))
        return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)

    def box(self, height: int, width: int, seed: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of what is kept of a picture."""
        if self.crop_scale == (1.0, 1.0):
            return 0, 0, height, width
        return random_crop(height, width, self.crop_scale, seed)


@dataclass(frozen=True)
class EvalTransform:
    """open_clip's evaluation transform up to normalisation: shorter side resized, centre cropped."""

    image_size: int

    def __call__(self, picture: Image.Image) -> Tensor:
        """uint8 [3, S, S]. Converts to RGB last, as open_clip does."""
        size = self.image_size
        width, height = picture.size
        # As torchvision's Resize: the longer side is rounded down.
        shorter = min(width, height)
        target = (int(size * width / shorter), int(size * height / shorter))
        if (width, height) != target:
            picture = picture.resize(target, Image.Resampling.BICUBIC)
        left, top = round((target[0] - size) / 2), round((target[1] - size) / 2)
        return to_tensor(picture.crop((left, top, left + size, top + size)))


@dataclass(frozen=True)
class FloatTransform:
    """A transform followed by normalisation: PIL picture -> float32 [3, S, S], as open_clip's transforms give
    it."""

    transform: TrainTransform | EvalTransform
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def __call__(self, picture: Image.Image) -> Tensor:
        """float32 [3, S, S]."""
        return normalize(self.transform(picture), self.mean, self.std)


def random_crop(height: int, width: int, scale: tuple[float, float], seed: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop, distributed as torchvision's
    RandomResizedCrop.get_params."""
    draw = random.Random(seed)
    log_low, log_high = math.log(_RATIOS[0]), math.log(_RATIOS[1])
    for _ in range(10):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * draw.random())
        ratio = math.exp(log_low + (log_high - log_low) * draw.random())
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(draw.random() * (height - h + 1)), int(draw.random() * (width - w + 1)), h, w
    # No crop of this area fits: the largest centred one with a ratio in range.
    w, h = width, height
    if width / height < _RATIOS[0]:
        h = round(width / _RATIOS[0])
    elif width / height > _RATIOS[1]:
        w = round(height * _RATIOS[1])
    return (height - h) // 2, (width - w) // 2, h, w
