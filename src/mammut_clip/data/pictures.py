"""Picture files on their way into shards: checked by decoding them, kept byte for byte where a shard can hold
them."""

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageColor

from mammut_clip.config.errors import InputError
from mammut_clip.data.images import PictureError, open_picture

_KEPT = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


class BadRowError(Exception):
    """A row that cannot become a sample; `kind` is what counts are kept by."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class PictureOptions:
    """What is done to pictures; with the defaults nothing, but for formats that shards do not hold."""

    max_side: int | None = None
    """Pictures whose shorter side is longer than this are shrunk to it."""
    background: str | None = None
    """Transparent pictures are laid on this colour, such as `white`; None keeps their transparency, which
    models then see as whatever colour lies beneath, mostly black."""

    def __post_init__(self) -> None:
        if self.max_side is not None and self.max_side < 1:
            raise InputError(f"largest shorter side = {self.max_side}: expected 1 pixel or more")
        if self.background is not None:
            try:
                ImageColor.getrgb(self.background)
            except ValueError:
                raise InputError(
                    f"background = {self.background!r}: expected a colour such as white or #ffffff"
                ) from None


def read_picture(path: Path, options: PictureOptions) -> tuple[str, bytes]:
    """Extension and bytes of a picture for a shard. Raises BadRowError where the file is missing or no
    picture."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadRowError("missing file", error.strerror or str(error)) from error
    try:
        picture = open_picture(data)
    except PictureError as error:
        raise BadRowError("not a picture", str(error)) from error
    format_ = picture.format or ""
    changed = picture
    if options.background is not None and picture.has_transparency_data:
        changed = _flatten(picture, options.background)
    if options.max_side is not None and min(changed.size) > options.max_side:
        share = options.max_side / min(changed.size)
        size = (round(changed.width * share), round(changed.height * share))
        if changed.mode in ("P", "1"):  # palettes cannot be interpolated
            changed = changed.convert("RGBA" if changed.has_transparency_data else "RGB")
        changed = changed.resize(size, Image.Resampling.BICUBIC)
    if changed is picture and format_ in _KEPT:
        return _KEPT[format_], data
    return _encode(changed, lossy=format_ == "JPEG")


def _flatten(picture: Image.Image, background: str) -> Image.Image:
    layer = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, background)
    return Image.alpha_composite(ground, layer).convert("RGB")


def _encode(picture: Image.Image, *, lossy: bool) -> tuple[str, bytes]:
    file = io.BytesIO()
    if lossy:
        picture.convert("RGB").save(file, "JPEG", quality=95)
        return "jpg", file.getvalue()
    if picture.mode not in ("L", "RGB", "RGBA"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    picture.save(file, "PNG")
    return "png", file.getvalue()
