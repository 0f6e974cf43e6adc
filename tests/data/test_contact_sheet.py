"""The contact sheet: where pictures and text go, and that text stays in its place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mammut_clip.data import contact_sheet
from mammut_clip.data.contact_sheet import Tile, thumbnail, wrap

COLOURS = [(200, 30, 30), (30, 160, 60), (40, 60, 220), (230, 180, 20), (20, 180, 190)]


def test_each_picture_stands_in_its_place_with_ink_below() -> None:
    shapes = [(100, 400), (900, 80), (224, 168), (50, 50), (640, 480)]
    tiles = [
        Tile(thumbnail(Image.new("RGB", shape, colour)), "two small cats", f"key{n}")
        for n, (shape, colour) in enumerate(zip(shapes, COLOURS, strict=True))
    ]
    sheet = contact_sheet.contact_sheet(tiles, columns=3)
    pixels = np.asarray(sheet)
    middles = []
    for colour in COLOURS:
        y, x = np.nonzero((pixels == colour).all(axis=-1))
        assert len(y), f"{colour} is not on the sheet"
        middles.append((y.mean(), x.mean()))
        below = pixels[y.max() + 1 :, x.min() : x.max() + 1].min(axis=-1)
        assert (below < 100).any(), "no caption below the picture"
    rows, columns = np.array(middles).T
    assert np.ptp(rows[:3]) < 1 and np.ptp(rows[3:]) < 1 and rows[3] - rows[0] > 168
    assert columns[0] < columns[1] < columns[2]
    assert abs(columns[0] - columns[3]) < 1 and abs(columns[1] - columns[4]) < 1


def test_a_sheet_without_pictures_is_blank() -> None:
    assert len(np.unique(np.asarray(contact_sheet.contact_sheet([])))) == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16", "RGBA"])
def test_thumbnails_of_every_mode_fit_and_are_rgb(mode: str) -> None:
    small = thumbnail(Image.new(mode, (1000, 30)))
    assert small.mode == "RGB"
    assert small.size == (224, 7)


def test_tiny_pictures_are_enlarged_by_a_whole_factor() -> None:
    picture = Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(32, 32, 3))
    large = np.asarray(thumbnail(picture))
    assert large.shape == (160, 160, 3)
    assert np.array_equal(large, np.asarray(picture).repeat(5, axis=0).repeat(5, axis=1))


def test_transparent_parts_show_the_ground_and_not_what_lies_beneath() -> None:
    picture = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    assert thumbnail(picture).getpixel((5, 5)) == (236, 238, 241)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=120), st.integers(40, 300), st.integers(1, 4))
def test_wrapped_lines_fit_and_hold_the_text_from_its_beginning(text: str, width: int, lines: int) -> None:
    font = contact_sheet._font(13)
    found = wrap(text, width, lines)
    assert len(found) <= lines
    assert all(font.getlength(line) <= width for line in found)
    words = "".join(text.split())
    joined = "".join("".join(found).split())
    if joined == words:
        return
    assert found[-1].endswith("…"), "what is left out is not marked"
    assert words.startswith(joined.removesuffix("…"))


def test_words_stay_whole_where_they_fit() -> None:
    assert wrap("a photo of a striped circle", 100, 3) == ["a photo of a", "striped circle"]
    broken = wrap("x" * 100, 100, 3)
    assert len(broken) == 3 and broken[2].endswith("…")
