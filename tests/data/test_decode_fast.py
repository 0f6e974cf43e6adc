"""The fast way of decoding: close to the exact one, the same boxes, the same every time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_like import decoded, encoded, photo
from PIL import Image

from mammut_clip.data.decode_fast import decode_jpeg, fraction_for, resize_into, scaled

# Pixels, and the fraction at which crops of 90 to 100% of them are decoded for 224 pixels a side.
SIZES = [(512, 384, 1), (500, 500, 1), (180, 150, 1), (1024, 768, 2), (1290, 1101, 2), (1500, 1400, 4)]
KINDS = [{}, {"progressive": True}, {"subsampling": "4:4:4"}]


def difference(data: bytes, seeds: range, scale: tuple[float, float] = (0.9, 1.0)) -> tuple[float, int]:
    """Mean and largest difference of a pixel between both ways."""
    apart = [
        np.abs(decoded(data, "fast", seed=seed, scale=scale).astype(int) - decoded(data, "pil", seed=seed, scale=scale))
        for seed in seeds
    ]
    return float(np.mean(apart)), int(np.max(apart))


@pytest.mark.parametrize(("width", "height", "fraction"), SIZES)
def test_photos_come_close(width: int, height: int, fraction: int) -> None:
    picture = photo(width, height)
    for options in KINDS if width <= 1024 else KINDS[:1]:
        mean, largest = difference(encoded(picture, **options), range(3))
        assert (mean <= 0.02 and largest <= 2) if fraction == 1 else (mean <= 2 and largest <= 25)


@pytest.mark.parametrize(("width", "height", "fraction"), [size for size in SIZES if size[2] > 1])
def test_nothing_but_the_edges_of_the_box_sets_smaller_pictures_apart(width: int, height: int, fraction: int) -> None:
    # The whole picture has its edges where the smaller one has them.
    whole = photo(width // fraction * fraction, height // fraction * fraction)
    mean, largest = difference(encoded(whole), range(1), (1.0, 1.0))
    assert mean <= 0.8 and largest <= 10


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_other_files_are_resized_in_the_same_way(kind: str) -> None:
    data = encoded(photo(400, 330).convert("CMYK") if kind == "JPEG" else photo(400, 330), kind)
    mean, largest = difference(data, range(3))
    assert mean <= 0.02 and largest <= 2


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from((16, 32, 57)))
def test_pictures_of_any_size_come_close(width: int, height: int, size: int) -> None:
    data = encoded(Image.radial_gradient("L").resize((width, height)).convert("RGB"))
    pil, fast = (decoded(data, way, size=size).astype(int) for way in ("pil", "fast"))
    slope = 2 * 255 / size  # of the gradient, for each pixel of the result
    assert np.abs(pil - fast).mean() <= 1 + slope / 3


def test_gray_pictures_are_gray() -> None:
    pixels = decoded(encoded(photo(800, 800).convert("L")), "fast")
    assert (pixels == pixels[..., :1]).all() and pixels.std() > 10


def test_pictures_are_upright_and_unmirrored_and_not_swapped_in_colour() -> None:
    quarters = Image.new("RGB", (1000, 1000), "red")
    quarters.paste("blue", (500, 0, 1000, 500))
    quarters.paste("white", (0, 500, 500, 1000))
    pixels = decoded(encoded(quarters), "fast")
    assert [pixels[y, x].argmax() for y, x in ((50, 50), (50, 170), (170, 170))] == [0, 2, 0]
    assert pixels[170, 50].min() > 240 and pixels[50, 50, 1:].max() < 20


def test_it_is_deterministic_and_independent_of_threads() -> None:
    data = encoded(photo(512, 384))
    first = decoded(data, "fast", seed=3)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert np.array_equal(decoded(data, "fast", seed=3), first)
    finally:
        torch.set_num_threads(threads)
    assert not np.array_equal(decoded(data, "fast", seed=4), first)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from((32, 224, 336)))
def test_fractions_leave_one_and_a_half_times_the_size(height: int, width: int, size: int) -> None:
    fraction = fraction_for((0, 0, height, width), size)
    assert fraction in (1, 2, 4, 8)
    shorter = min(height, width)
    assert fraction == 1 or shorter >= 1.5 * size * fraction
    assert fraction == 8 or shorter < 1.5 * size * fraction * 2


@given(st.data(), st.integers(16, 2000), st.integers(16, 2000), st.sampled_from((1, 2, 4, 8)))
def test_scaled_boxes_lie_in_the_smaller_picture(data: st.DataObject, height: int, width: int, fraction: int) -> None:
    h, w = data.draw(st.integers(fraction, height)), data.draw(st.integers(fraction, width))
    box = (data.draw(st.integers(0, height - h)), data.draw(st.integers(0, width - w)), h, w)
    top, left, small_h, small_w = scaled(box, fraction)
    assert 0 <= top < top + small_h <= -(-height // fraction) and 0 <= left < left + small_w <= -(-width // fraction)
    edges = ((top, box[0]), (left, box[1]), (top + small_h, box[0] + h), (left + small_w, box[1] + w))
    assert all(abs(small * fraction - edge) <= fraction / 2 for small, edge in edges)
    assert fraction > 1 or (top, left, small_h, small_w) == box


def test_edges_between_two_pixels_move_outwards() -> None:
    assert scaled((1, 2, 4, 4), 2) == (0, 1, 3, 2)
    assert scaled((2, 3, 4, 7), 4) == (0, 1, 2, 2)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:2:2"}, {"optimize": True}], ids=str)
@pytest.mark.parametrize("fraction", [1, 2, 4, 8])
@pytest.mark.parametrize(("width", "height"), [(64, 48), (203, 117), (17, 9)])
def test_libjpeg_decodes_at_every_fraction(width: int, height: int, fraction: int, options: dict[str, object]) -> None:
    for mode in ("RGB", "L"):
        picture = Image.effect_noise((width, height), 20).resize((width, height)).convert(mode)
        pixels = decode_jpeg(encoded(picture, **options), height, width, fraction)
        assert pixels is not None and pixels.shape == (-(-height // fraction), -(-width // fraction), 3)


def test_libjpeg_is_not_asked_twice_about_a_damaged_or_a_different_file() -> None:
    data = encoded(photo(64, 48))
    assert decode_jpeg(data, 48, 64, 1) is not None
    assert decode_jpeg(data, 49, 64, 1) is None
    assert decode_jpeg(data[:-200], 48, 64, 1) is None
    assert decode_jpeg(b"GIF89a", 48, 64, 1) is None


def test_a_box_of_the_right_size_is_copied() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    out = np.empty((32, 32, 3), dtype=np.uint8)
    resize_into(pixels, (3, 7, 32, 32), out)
    assert np.array_equal(out, pixels[3:35, 7:39])
