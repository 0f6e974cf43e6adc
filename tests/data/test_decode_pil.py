"""The exact way of decoding: pixels equal to those of open_clip's training pipeline, whatever the file's format."""

import io

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_like import CROP_SCALE, Way, decoded, encoded, photo
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf
from webdataset.autodecode import ImageHandler

from mammut_clip.config.data import BadSampleConfig, FilterConfig
from mammut_clip.data.decode import TrainDecoder
from mammut_clip.data.images import CLIP_MEAN, CLIP_STD, normalize, random_crop
from mammut_clip.data.stream.batch import StageSeconds

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # PIL has one for transparent palettes


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees, which open_clip takes no notice of
    return exif


def deep(width: int, height: int) -> Image.Image:
    return Image.fromarray((np.asarray(photo(width, height).convert("L"), dtype=np.uint16) << 8) + 3)


def transparent() -> Image.Image:
    picture = photo(90, 70)
    picture.putalpha(photo(90, 70, 1).convert("L"))
    return picture


FILES = {
    "jpeg": encoded(photo(150, 130)),
    "jpeg_444": encoded(photo(150, 130), subsampling="4:4:4"),
    "jpeg_422": encoded(photo(150, 130), subsampling="4:2:2"),
    "jpeg_progressive": encoded(photo(131, 150), progressive=True),
    "jpeg_gray": encoded(photo(150, 130).convert("L")),
    "jpeg_cmyk": encoded(photo(150, 130).convert("CMYK")),
    "jpeg_turned": encoded(photo(150, 110), exif=turned()),
    "jpeg_small": encoded(photo(40, 47)),
    "mpo": encoded(photo(150, 130), "MPO", save_all=True, append_images=[photo(150, 130, 1)]),
    "png": encoded(photo(90, 70), "PNG"),
    "png_palette": encoded(photo(90, 70).quantize(64), "PNG"),
    "png_palette_transparent": encoded(photo(90, 70).quantize(64), "PNG", transparency=bytes(range(0, 256, 4))),
    "png_alpha": encoded(transparent(), "PNG"),
    "png_gray_alpha": encoded(transparent().convert("LA"), "PNG"),
    "png_16_bit": encoded(deep(90, 70), "PNG"),
    "png_1_bit": encoded(photo(90, 70).convert("1"), "PNG"),
    "webp": encoded(photo(90, 70), "WEBP"),
    "webp_alpha": encoded(transparent(), "WEBP"),
    "gif": encoded(photo(90, 70).quantize(64), "GIF", save_all=True, append_images=[photo(90, 70, 1).quantize(64)]),
    "tiff_turned": encoded(photo(90, 70), "TIFF", exif=turned()),
}
CROPS = ((0.9, 1.0), (0.2, 0.6), (1.0, 1.0))


def open_clips(data: bytes) -> Image.Image:
    """As open_clip reads its shards: `wds.decode("pilrgb")`."""
    return ImageHandler("pilrgb")(".jpg", data)


@pytest.mark.parametrize("scale", CROPS)
@pytest.mark.parametrize("name", FILES)
def test_pixels_equal_open_clips(name: str, scale: tuple[float, float]) -> None:
    picture = open_clips(FILES[name])
    for seed in range(3):
        box = (0, 0, picture.height, picture.width)
        if scale != (1.0, 1.0):
            box = random_crop(picture.height, picture.width, scale, seed)
        theirs = tvf.resized_crop(picture, *box, [56, 56], InterpolationMode.BICUBIC)
        ours = decoded(FILES[name], "pil", seed=seed, size=56, scale=scale)
        assert np.array_equal(ours, np.asarray(theirs))
        batch = torch.from_numpy(ours[np.newaxis]).permute(0, 3, 1, 2)
        normalized = tvf.normalize(tvf.to_tensor(theirs), CLIP_MEAN, CLIP_STD)
        assert torch.allclose(normalize(batch)[0], normalized, atol=1e-5)


@pytest.mark.parametrize("name", ["jpeg", "png_alpha"])
def test_the_whole_transform_is_open_clips(name: str) -> None:
    # Of a square picture at scale 1 there is one crop, so that nothing is left to chance.
    data = encoded(open_clips(FILES[name]).crop((0, 0, 70, 70)), "PNG")
    theirs = open_clip.image_transform(32, is_train=True, aug_cfg={"scale": (1.0, 1.0)})(open_clips(data))
    batch = torch.from_numpy(decoded(data, "pil", size=32, scale=(1.0, 1.0))[np.newaxis]).permute(0, 3, 1, 2)
    assert torch.allclose(normalize(batch)[0], theirs, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**64 - 1), st.sampled_from((16, 57, 96)))
def test_pixels_equal_open_clips_for_any_size(width: int, height: int, seed: int, size: int) -> None:
    data = encoded(Image.effect_noise((width, height), 60).convert("RGB"))
    picture = open_clips(data)
    box = random_crop(height, width, CROP_SCALE, seed)
    theirs = tvf.resized_crop(picture, *box, [size, size], InterpolationMode.BICUBIC)
    assert np.array_equal(decoded(data, "pil", seed=seed, size=size), np.asarray(theirs))


@pytest.mark.parametrize("way", ["pil", "fast"])
def test_a_batch_is_filled_row_by_row_and_seconds_are_added(way: Way) -> None:
    batch = np.zeros((3, 32, 32, 3), dtype=np.uint8)
    decoder = TrainDecoder(32, CROP_SCALE, way, FilterConfig(), BadSampleConfig())
    seconds = StageSeconds()
    decoder.into(FILES["jpeg"], 5, batch[1], seconds)
    first = (seconds.decode, seconds.resize)
    assert min(first) > 0
    decoder.into(FILES["jpeg"], 5, batch[2], seconds)
    assert seconds.decode > first[0] and seconds.resize > first[1]
    assert not batch[0].any() and np.array_equal(batch[1], batch[2])
    assert np.array_equal(batch[1], decoded(FILES["jpeg"], way, seed=5, size=32))


def test_files_are_what_their_names_say() -> None:
    modes = {name: Image.open(io.BytesIO(data)).mode for name, data in FILES.items()}
    assert modes["jpeg_cmyk"] == "CMYK" and modes["jpeg_gray"] == "L" and modes["png_16_bit"] == "I;16"
    assert modes["png_palette_transparent"] == "P" and modes["png_gray_alpha"] == "LA" and modes["png_1_bit"] == "1"
    assert Image.open(io.BytesIO(FILES["jpeg_turned"])).getexif()[0x0112] == 6
