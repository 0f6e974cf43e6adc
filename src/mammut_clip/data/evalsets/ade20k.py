"""ADE20K's folders for segmentation, as ADEChallengeData2016.zip has them.

ADEChallengeData2016/images/{training,validation}/ADE_val_00000001.jpg
ADEChallengeData2016/annotations/{training,validation}/ADE_val_00000001.png    0: none of them; 1 to 150: classes
ADEChallengeData2016/objectInfo150.txt                                         their names, synonyms after commas
ADEChallengeData2016/classnames.txt, zeroshot_classification_templates.txt     optional, as in the other layouts
"""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError, MissingError
from mammut_clip.data.evalsets.base import IGNORED, EvalSample, EvalSet, Mask
from mammut_clip.data.evalsets.descriptions import known_classnames, read_lines, read_templates
from mammut_clip.data.evalsets.picture_files import first_folder, is_picture, read_picture
from mammut_clip.data.images import PictureError, open_picture

CLASSES = 150
"""Where the files name no other number."""
_INFO = "objectInfo150.txt"
_SPLITS = {"train": "training", "val": "validation", "training": "training", "validation": "validation"}


class Ade20kSet(EvalSet):
    """Pictures with masks, sorted by name. The pixel value v of a mask's file is our class v - 1, and 0 is IGNORED."""

    def __init__(self, folder: Path, split: str, pairs: list[tuple[Path, Path]]) -> None:
        """Made by `open`; `pairs` are pictures and their masks."""
        self.folder = folder
        self.split = split
        self.type = "segmentation"
        self._pairs = pairs
        self._names = known_classnames(folder) or _object_names(folder)

    @classmethod
    def open(cls, folder: Path, split: str) -> "Ade20kSet":
        """Find all pictures of a split (training or train, validation or val). Raises InputError naming the picture
        without a mask, the mask without a picture, and a name that two pictures have."""
        if split not in _SPLITS:
            raise InputError(f"{folder}: no split {split!r} in this layout; {nearest(split, list(_SPLITS))}")
        images = first_folder(folder / "images", (_SPLITS[split],), "ADE20K's pictures (.jpg)")
        annotations = first_folder(folder / "annotations", (_SPLITS[split],), "ADE20K's masks (.png)")
        pictures = _by_stem(images)
        masks = _by_stem(annotations)
        if not pictures:
            raise InputError(f"{images}: no pictures in it; expected ADE20K's, such as ADE_val_00000001.jpg")
        for stem in sorted(set(pictures) ^ set(masks)):
            if stem in pictures:
                raise MissingError(f"{pictures[stem]}: no mask for this picture; expected {annotations / stem}.png")
            raise MissingError(f"{masks[stem]}: no picture for this mask; expected {images / stem}.jpg")
        return cls(folder, split, [(pictures[stem], masks[stem]) for stem in sorted(pictures)])

    @property
    def classnames(self) -> list[str]:
        """Class number -> name: classnames.txt, or the first of each line's synonyms in objectInfo150.txt."""
        if self._names is None:
            raise MissingError(f"{self.folder / _INFO}: no such file; expected ADE20K's list of classes")
        return self._names

    def name_classes(self, names: Sequence[str]) -> None:
        """As EvalSet."""
        self._names = list(names)

    @cached_property
    def templates(self) -> list[str]:
        """Prompts with `{c}` for the class name. Raises InputError where the set has none."""
        return read_templates(self.folder)

    def __len__(self) -> int:
        return len(self._pairs)

    def where(self, number: int) -> str:
        """The file of a sample."""
        return str(self._pairs[number][0])

    def __getitem__(self, number: int) -> EvalSample:
        """Sample `number`. Raises InputError naming the file that cannot be read, and the mask with a value above the
        number of classes."""
        picture, _ = self._pairs[number]
        return EvalSample(picture.stem, read_picture(picture), self.target(number))

    def target(self, number: int) -> Mask:
        """As EvalSet; the picture is not read."""
        classes = CLASSES if self._names is None else len(self._names)
        return _mask(self._pairs[number][1], classes)


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_picture(path.name):
            if path.stem in found:
                raise InputError(f"{path}: a second picture {path.stem!r} beside {found[path.stem].name}; expected one")
            found[path.stem] = path
    return found


def _mask(path: Path, classes: int) -> Mask:
    try:
        values = np.asarray(open_picture(read_picture(path)))
    except PictureError as error:
        raise InputError(f"{path}: {error}") from error
    if values.ndim != 2 or values.dtype.kind not in "iu":
        raise InputError(f"{path}: pixels {list(values.shape)} of {values.dtype}; expected one class number each")
    shifted = values.astype(np.int64) - 1
    if shifted.max() >= classes:
        raise InputError(f"{path}: the mask has values up to {shifted.max() + 1}; expected 0 to {classes}")
    shifted[shifted < 0] = IGNORED
    return shifted.astype(np.uint16)


def _object_names(folder: Path) -> list[str] | None:
    """The first name on each line of objectInfo150.txt; None where there is no such file."""
    path = folder / _INFO
    if not path.exists():
        return None
    rows = [line.split("\t") for line in read_lines(path, "ADE20K's list of classes, tab separated")]
    header = [cell.strip() for cell in rows[0]]
    if "Idx" not in header or "Name" not in header:
        raise InputError(f"{path}: the header is {header}; expected tab separated columns Idx, ..., Name")
    names = []
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(header) or row[header.index("Idx")].strip() != str(number):
            raise InputError(f"{path}: line {number + 1} is not class {number} in {len(header)} columns")
        names.append(re.split("[,;]", row[header.index("Name")])[0].strip())
    return names
