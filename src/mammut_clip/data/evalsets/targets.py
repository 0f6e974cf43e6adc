"""What is true of a picture, from the bytes it is stored as. `where` is what messages call the sample; `classes` is the
number of classes, None where the set does not name them and nothing can be out of range."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from mammut_clip.config.errors import InputError
from mammut_clip.data.evalsets.base import IGNORED, Mask, MultiHot


def label(data: bytes, classes: int | None, where: str) -> int:
    """A class number in decimal digits."""
    text = data.decode("ascii", "replace").strip()
    number = int(text) if text.isdecimal() else -1
    if number < 0 or (classes is not None and number >= classes):
        expected = f"from 0 to {classes - 1}" if classes is not None else "of 0 or more"
        raise InputError(f"{where}: label {text!r}; expected a class number {expected}")
    return number


def captions(data: bytes, where: str) -> list[str]:
    """One caption per line (str.splitlines, as CLIP_benchmark reads them), stripped; lines without words are left out,
    where CLIP_benchmark has an empty caption."""
    found = [line.strip() for line in text(data, where).splitlines() if line.strip()]
    if not found:
        raise InputError(f"{where}: no captions; expected at least one, one per line")
    return found


def text(data: bytes, where: str) -> str:
    """UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: captions are not UTF-8 ({error.reason} at byte {error.start})") from error


def multi_hot(data: bytes, classes: int | None, where: str) -> MultiHot:
    """An .npy [C] of zeros and ones, of any type of number."""
    array = npy(data, where)
    if array.dtype.kind not in "biuf" or array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise InputError(f"{where}: labels {_shown(array)}; expected one 0 or 1 per class")
    if classes is not None and len(array) != classes:
        raise InputError(f"{where}: labels for {len(array)} classes; expected one 0 or 1 for each of {classes}")
    return array.astype(np.bool_)


def mask(data: bytes, classes: int | None, where: str) -> Mask:
    """An .npy [H, W] of class numbers. The largest value of its type (255 in uint8, unless so many classes are named;
    65535 in uint16) stands for pixels that do not count."""
    array = npy(data, where)
    if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16) or not array.size:
        raise InputError(f"{where}: mask {_shown(array)}; expected uint8 or uint16 [H, W]")
    wide = array.astype(np.uint16)
    if array.dtype == np.uint8 and (classes is None or classes <= 255):
        wide[array == 255] = IGNORED
    return within(wide, classes, where)


def within(mask: Mask, classes: int | None, where: str) -> Mask:
    """The mask, none of whose pixels has a class that there is not. Raises InputError."""
    beyond = mask[(mask != IGNORED) & (mask >= classes)] if classes is not None else mask[:0]
    if beyond.size:
        raise InputError(
            f"{where}: the mask has values up to {beyond.max()}; expected class numbers up to {(classes or 0) - 1}"
        )
    return mask


def npy(data: bytes, where: str) -> npt.NDArray[Any]:
    """An .npy file without Python objects."""
    try:
        return np.asarray(np.lib.format.read_array(io.BytesIO(data), allow_pickle=False))
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise InputError(f"{where}: no .npy array ({error})") from error


def _shown(array: npt.NDArray[Any]) -> str:
    return f"of {array.dtype} {list(array.shape)}"
