"""Pictures that lie in folders as files of their own."""

from pathlib import Path

from mammut_clip.config.errors import InputError, MissingError

PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Endings, in lower case, of what torchvision's ImageFolder takes for pictures."""


def is_picture(name: str) -> bool:
    """By its ending, in upper or lower case; hidden files, such as macOS leaves behind, are none."""
    return name.lower().endswith(PICTURES) and not name.startswith(".")


def first_folder(folder: Path, names: tuple[str, ...], expected: str) -> Path:
    """The first of some folders below `folder` that is there. Raises InputError that says what was expected in it."""
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise MissingError(f"{folder / names[0]}: no such folder; expected {expected}")


def read_picture(path: Path) -> bytes:
    """The bytes of a file. Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
