"""A page of small pictures with their captions, so that a person sees what a data set holds.

Drawn with PIL alone. The font is DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, Arabic and more;
scripts that it lacks (Chinese, Japanese, Korean, Indic ones) appear as boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

COLUMNS, ROWS = 8, 6
_PICTURE = (224, 168)
_MARGIN = 12
_LINES = 3
_CAPTION_SIZE, _KEY_SIZE = 13, 10
_LINE, _KEY_LINE = 17, 14
_GROUND, _MAT, _INK, _FAINT = "#ffffff", "#eceef1", "#1f2328", "#6a7077"
_CELL = (_PICTURE[0] + _MARGIN, _PICTURE[1] + _LINES * _LINE + _KEY_LINE + 2 * _MARGIN)


@dataclass(frozen=True)
class Tile:
    """One place on the sheet."""

    picture: Image.Image
    """As `thumbnail` makes it."""
    caption: str
    key: str


def thumbnail(picture: Image.Image) -> Image.Image:
    """The picture in RGB, shrunk to fit its place, or, if tiny, enlarged by a whole factor; transparent parts show the
    ground."""
    small = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    small.thumbnail(_PICTURE)
    times = min(_PICTURE[0] // small.width, _PICTURE[1] // small.height)
    if times > 1:
        small = small.resize((times * small.width, times * small.height), Image.Resampling.NEAREST)
    if small.mode == "RGB":
        return small
    ground = Image.new("RGBA", small.size, _MAT)
    return Image.alpha_composite(ground, small).convert("RGB")


def contact_sheet(tiles: Sequence[Tile], columns: int = COLUMNS) -> Image.Image:
    """The tiles row by row."""
    rows = max(1, -(-len(tiles) // columns))
    sheet = Image.new("RGB", (columns * _CELL[0] + _MARGIN, rows * _CELL[1] + _MARGIN), _GROUND)
    draw = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        left, top = _MARGIN + number % columns * _CELL[0], _MARGIN + number // columns * _CELL[1]
        _draw(sheet, draw, tile, left, top)
    return sheet


def _draw(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    width, height = _PICTURE
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill=_MAT)
    picture = tile.picture
    sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
    top += height + 4
    for line in wrap(tile.caption, width, _LINES):
        draw.text((left, top), line, font=_font(_CAPTION_SIZE), fill=_INK)
        top += _LINE
    key = wrap(tile.key, width, 1, _KEY_SIZE)
    draw.text((left, top), "".join(key), font=_font(_KEY_SIZE), fill=_FAINT)


def wrap(text: str, width: int, lines: int, size: int = _CAPTION_SIZE) -> list[str]:
    """At most so many lines of at most `width` pixels; what does not fit ends in `…`.

    Breaks at spaces, and inside words that are longer than a line, as those of scripts without spaces are.
    """
    font = _font(size)
    rest = " ".join(text.split())
    found: list[str] = []
    while rest and len(found) < lines:
        taken = _fitting(rest, width, font)
        found.append(rest[:taken].rstrip())
        rest = rest[taken:].lstrip()
    if rest:
        last = found[-1]
        while last and font.getlength(last + "…") > width:
            last = last[:-1]
        found[-1] = last.rstrip() + "…"
    return found


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont) -> int:
    """How many characters of a text make its first line; at least 1."""
    low, high = 1, min(len(text), width)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(text[:middle]) <= width else (low, middle - 1)
    if low == len(text) or text[low] == " ":
        return low
    space = text.rfind(" ", 0, low)
    return space if space > 0 else low


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
