"""Pictures from bytes to uint8 tensors [3, H, W], as open_clip crops and resizes them; normalised on the
device.

PIL decodes and interpolates (bicubic) everywhere, so that results equal open_clip's to the last bit before
normalisation. torchvision's own JPEG decoder gives the same pixels sooner, but is deprecated from 0.29 on.
"""

import io
import math
import random
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_RATIOS = (3 / 4, 4 / 3)


class PictureError(ValueError):
    """Bytes that are not a picture; the message says why."""


def normalize(images: Tensor, mean: tuple[float, ...] = CLIP_MEAN, std: tuple[float, ...] = CLIP_STD) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 [B, 3, H, W]: (x / 255 - mean) / std, on the device the images are on."""
    scale = torch.tensor([1 / (255 * s) for s in std], device=images.device).view(-1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=images.device).view(-1, 1, 1)
    return torch.addcmul(shift, images.float(), scale)


def open_picture(data: bytes) -> Image.Image:
    """A picture in its own mode, completely decoded. Raises PictureError."""
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except Image.DecompressionBombError as error:
        raise PictureError(f"larger than any sensible picture: {error}") from error
    except UnidentifiedImageError as error:
        start = data[:8].hex(" ") or "nothing"
        raise PictureError(f"not in any known format; {len(data)} bytes that start with {start}") from error
    except Exception as error:  # PIL's decoders raise what they stumble over: SyntaxError, struct.error
        raise PictureError(f"cannot be decoded ({error}); {len(data)} bytes") from error
    return picture


def to_tensor(picture: Image.Image) -> Tensor:
    """PIL picture -> RGB uint8 [3, h, w]."""
    return torch.from_numpy(np.array(to_rgb(picture))).permute(2, 0, 1).contiguous()


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB."""
    return picture if picture.mode == "RGB" else picture.convert("RGB")


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
        if self.crop_scale != (1.0, 1.0):
            top, left, height, width = random_crop(picture.height, picture.width, self.crop_scale, seed)
            picture = picture.crop((left, top, left + width, top + height))
        return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)


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
