"""Pictures: parity with open_clip's transforms and torchvision's crops, and clear words for what is no picture."""

import io

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as tvf

from mammut_clip.data.images import (
    CLIP_MEAN,
    CLIP_STD,
    EvalTransform,
    FloatTransform,
    PictureError,
    TrainTransform,
    normalize,
    open_picture,
    random_crop,
    to_tensor,
)

SIZES = [(32, 32), (40, 33), (33, 97), (224, 224), (301, 150), (7, 200)]


def picture(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    coarse = np.random.default_rng(size[0]).integers(0, 256, (size[1] // 3 + 1, size[0] // 3 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR).convert(mode)


def as_uint8(normalized: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    return ((normalized * std + mean) * 255).round().to(torch.uint8)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [32, 56])
def test_evaluation_equals_open_clip(size: tuple[int, int], mode: str, target: int) -> None:
    image = picture(size, mode)
    theirs = open_clip.image_transform(target, is_train=False)(image)
    assert torch.equal(EvalTransform(target)(image), as_uint8(theirs))
    assert torch.allclose(FloatTransform(EvalTransform(target))(image), theirs, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normalize_is_open_clips(layout: torch.memory_format) -> None:
    images = torch.randint(0, 256, (2, 3, 9, 8), dtype=torch.uint8).to(memory_format=layout)
    theirs = torch.stack([tvf.normalize(image.float() / 255, CLIP_MEAN, CLIP_STD) for image in images])
    ours = normalize(images)
    assert ours.dtype == torch.float32 and ours.is_contiguous() and torch.allclose(ours, theirs, atol=1e-5)


def test_normalize_has_one_result_for_each_byte() -> None:
    # Runs continue under later versions with the same inputs: x * 1 / (255 s) - m / s in float32, to the last bit.
    images = torch.arange(256, dtype=torch.uint8).expand(2, 3, 4, 256)
    scale = torch.tensor([1 / (255 * s) for s in CLIP_STD]).view(-1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(CLIP_MEAN, CLIP_STD, strict=True)]).view(-1, 1, 1)
    expected = torch.addcmul(shift, images.float(), scale)
    for layout in (torch.contiguous_format, torch.channels_last):
        assert torch.equal(normalize(images.contiguous(memory_format=layout)), expected)


@pytest.mark.parametrize("size", SIZES)
def test_training_resizes_the_crop_as_torchvision_does(size: tuple[int, int]) -> None:
    image = picture(size)
    transform = TrainTransform(32, (0.4, 1.0))
    for seed in range(5):
        box = random_crop(image.height, image.width, (0.4, 1.0), seed)
        theirs = tvf.resized_crop(image, *box, [32, 32], InterpolationMode.BICUBIC)
        assert torch.equal(transform(image, seed), to_tensor(theirs))


@pytest.mark.parametrize("size", [(64, 64), (80, 48), (40, 400)])
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int]) -> None:
    image = picture(size)
    torch.manual_seed(0)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [0.3, 1.0], [3 / 4, 4 / 3]) for _ in range(3000)], dtype=float
    )
    ours = np.array([random_crop(image.height, image.width, (0.3, 1.0), seed) for seed in range(3000)], dtype=float)
    # Means and deviations of top, left, height and width: within six standard errors.
    error = np.sqrt(theirs.var(axis=0) / 3000 + ours.var(axis=0) / 3000) + 1e-9
    assert (np.abs(theirs.mean(axis=0) - ours.mean(axis=0)) < 6 * error + 1e-6).all()
    assert np.allclose(theirs.std(axis=0), ours.std(axis=0), rtol=0.1, atol=1e-6)


def test_a_seed_fixes_the_crop_and_no_seed_follows_torch() -> None:
    image = picture((64, 64))
    transform = TrainTransform(32, (0.3, 1.0))
    assert torch.equal(transform(image, 5), transform(image, 5))
    assert not torch.equal(transform(image, 5), transform(image, 6))
    torch.manual_seed(1)
    first = transform(image)
    second = transform(image)
    torch.manual_seed(1)
    assert torch.equal(first, transform(image)) and not torch.equal(first, second)


def test_whole_pictures_of_the_right_size_stay_as_they_are() -> None:
    image = picture((32, 32))
    transform = TrainTransform(32, (1.0, 1.0))
    assert torch.equal(transform(image, 1), torch.from_numpy(np.array(image)).permute(2, 0, 1))
    assert torch.equal(transform(picture((64, 64)), 1), transform(picture((64, 64)), 2))


def test_what_is_no_picture_is_explained() -> None:
    file = io.BytesIO()
    picture((64, 64)).save(file, "JPEG")
    whole = file.getvalue()
    assert open_picture(whole).size == (64, 64)
    for data, message in (
        (b"", "0 bytes that start with nothing"),
        (b"<html>not found</html>", "3c 68 74 6d"),
        (whole[: len(whole) // 2], "truncated"),
    ):
        with pytest.raises(PictureError, match=message):
            open_picture(data)
