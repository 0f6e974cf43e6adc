"""Shards of pictures that are photographs to a JPEG coder: 1/f noise in brightness and colour, with a little grain.

Sizes of files, and with them times to decode, are those of photographs of the same pixels: about 55 kB at 512 x 384
and 195 kB at 1024 x 768. No two pictures are alike: each is a piece of a noise field, mirrored, with its own gain.
"""

import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mammut_clip.data.shards.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.toy_words import vocabulary

QUALITY = 88
FIELDS = 20
"""Noise fields drawn for each shard."""
_SLOPE = 1.4  # amplitude falls as frequency to this power; photographs have 1 to 1.5 with their lenses' blur
_CONTRAST, _COLOUR, _GRAIN = 45.0, 14.0, 3.5  # standard deviations, of 255
_MIRRORED = (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)


def write_photos(folder: Path, size: tuple[int, int], shards: int, per_shard: int, *, processes: int = 2) -> None:
    """Write `00000.tar`, ... of pictures of (width, height) pixels with captions of 10 to 25 words."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(folder, size, shard, per_shard) for shard in range(shards)]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:  # spawned: the caller may hold threads
        list(pool.map(_write_shard, jobs))


def _write_shard(job: tuple[Path, tuple[int, int], int, int]) -> None:
    folder, size, shard, count = job
    rng = np.random.default_rng([*size, shard])
    words = vocabulary()
    with ShardSetWriter(folder, count, lambda _: train_shard_name(shard)) as writer:
        for number, picture in enumerate(photos(rng, size, count)):
            caption = " ".join(rng.choice(words, rng.integers(10, 26)))
            writer.add(f"{shard:05d}{number:05d}", {"jpg": picture, "txt": caption.encode()})


def photos(rng: np.random.Generator, size: tuple[int, int], count: int) -> Iterator[bytes]:
    """So many JPEGs of (width, height) pixels."""
    width, height = size
    fields = [_field(rng, height * 5 // 4, width * 5 // 4) for _ in range(FIELDS)]
    for number in range(count):
        yield _encode(_photo(rng, fields[number % FIELDS], width, height))


def _field(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """A picture larger than those cut from it."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf  # no mean
    amplitude = (frequency**-_SLOPE).astype(np.float32)
    light, blue, red = (_noise(rng, amplitude, (height, width)) for _ in range(3))
    light = 115 + _CONTRAST * light + _GRAIN * rng.standard_normal((height, width), dtype=np.float32)
    blue, red = _COLOUR * blue, _COLOUR * red
    # JPEG's own colour space, so that colour is smooth where the coder takes it to be
    channels = (light + 1.402 * red, light - 0.344 * blue - 0.714 * red, light + 1.772 * blue)
    return Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8))


def _noise(
    rng: np.random.Generator, amplitude: npt.NDArray[np.float32], shape: tuple[int, int]
) -> npt.NDArray[np.float32]:
    from scipy.fft import irfft2

    parts = rng.standard_normal((*amplitude.shape, 2), dtype=np.float32)
    noise: npt.NDArray[np.float32] = irfft2(parts.view(np.complex64)[..., 0] * amplitude, shape)
    return noise / noise.std()


def _photo(rng: np.random.Generator, field: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (int(rng.integers(room + 1)) for room in (field.width - width, field.height - height))
    piece = field.crop((left, top, left + width, top + height))
    mirrored = _MIRRORED[rng.integers(len(_MIRRORED))]
    if mirrored is not None:
        piece = piece.transpose(mirrored)
    gain, shift = rng.uniform(0.7, 1.1), rng.uniform(0, 20)
    table = (np.arange(256) * gain + shift).clip(0, 255).astype(np.uint8).tolist()
    return piece.point(table * 3)


def _encode(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return file.getvalue()
