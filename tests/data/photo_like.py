"""Pictures for tests of decoding, and the decoder's answer to a file."""

import io
from typing import Any, Literal

import numpy as np
from PIL import Image

from mammut_clip.config.data import BadSampleConfig, FilterConfig
from mammut_clip.data.decode import TrainDecoder
from mammut_clip.data.stream.batch import StageSeconds

CROP_SCALE = (0.9, 1.0)
Way = Literal["pil", "fast"]


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise whose amplitude falls with frequency to the power 1.4, as in photographs; colour is smoother."""
    rng = np.random.default_rng([width, height, seed])
    light, first, second = (_field(rng, height, width, slope) for slope in (1.4, 1.7, 1.7))
    rgb = np.stack([light + 0.4 * first, light - 0.2 * first + 0.2 * second, light - 0.4 * second], axis=-1)
    return Image.fromarray((rgb * 50 + 120).clip(0, 255).astype(np.uint8))


def _field(rng: np.random.Generator, height: int, width: int, slope: float) -> np.ndarray:
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    noise = rng.standard_normal((2, *frequency.shape))
    field = np.fft.irfft2((noise[0] + 1j * noise[1]) / frequency**slope, s=(height, width))
    return field / field.std()


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The file's bytes."""
    file = io.BytesIO()
    picture.save(file, kind, **({"quality": 88} if kind == "JPEG" else {}) | options)
    return file.getvalue()


def decoded(
    data: bytes,
    way: Way,
    *,
    seed: int = 0,
    size: int = 224,
    scale: tuple[float, float] = CROP_SCALE,
    filters: FilterConfig | None = None,
    max_pixels: int = 10**8,
) -> np.ndarray:
    """uint8 [S, S, 3]."""
    decoder = TrainDecoder(size, scale, way, filters or FilterConfig(), BadSampleConfig(max_pixels=max_pixels))
    out = np.full((size, size, 3), 77, dtype=np.uint8)
    decoder.into(data, seed, out, StageSeconds())
    return out
