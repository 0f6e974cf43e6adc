"""A folder of pictures per class, numbered as torchvision's ImageFolder numbers them.

NAME/<split>/<class folder>/...pictures           without the level <split> where there is no such folder
NAME/classnames.txt                               class number -> name, for folders such as n01440764; optional
NAME/zeroshot_classification_templates.txt        prompts with {c} for the class; optional
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from mammut_clip.config.errors import InputError, MissingError
from mammut_clip.data.evalsets.base import EvalSample, EvalSet
from mammut_clip.data.evalsets.descriptions import known_classnames, read_templates
from mammut_clip.data.evalsets.picture_files import PICTURES, is_picture, read_picture
from mammut_clip.data.shards.shard_writer import CLASSNAMES

_SPLITS = ("train", "training", "val", "validation", "test")


class ImageFolderSet(EvalSet):
    """Pictures in class folders. Classes are numbered by the sorted names of their folders; pictures follow class by
    class, sorted by path. Keys are paths below the folder of the split."""

    def __init__(self, folder: Path, split: str, base: Path, names: list[str], files: list[tuple[str, int]]) -> None:
        """Made by `open`; `files` are (path below `base`, class)."""
        self.folder = folder
        self.split = split
        self.type = "classification"
        self._base = base
        self._names = names
        self._files = files

    @classmethod
    def open(cls, folder: Path, split: str) -> "ImageFolderSet":
        """Find all pictures of a split. Raises InputError for a folder without classes, a class without pictures, and
        a classnames.txt with more or fewer names than there are folders."""
        base = _split_folder(folder, split)
        classes = sorted(entry.name for entry in os.scandir(base) if entry.is_dir() and not entry.name.startswith("."))
        if not classes:
            raise InputError(f"{base}: no folders in it; expected one folder of pictures per class")
        names = known_classnames(folder)
        if names is not None and len(names) != len(classes):
            raise InputError(
                f"{folder / CLASSNAMES}: {len(names)} names for the {len(classes)} folders in {base}; expected one "
                "for each, in their sorted order"
            )
        names = names or [name.replace("_", " ") for name in classes]
        files = [(path, number) for number, name in enumerate(classes) for path in _pictures(base, name)]
        return cls(folder, split, base, names, files)

    @property
    def classnames(self) -> list[str]:
        """Class number -> name: a line of classnames.txt, or the folder's name with spaces for _."""
        return self._names

    @cached_property
    def templates(self) -> list[str]:
        """Prompts with `{c}` for the class name. Raises InputError where the set has none."""
        return read_templates(self.folder)

    def __len__(self) -> int:
        return len(self._files)

    def where(self, number: int) -> str:
        """The file of a sample."""
        return str(self._base / self._files[number][0])

    def __getitem__(self, number: int) -> EvalSample:
        """Sample `number`. Raises InputError naming the file that cannot be read."""
        path, label = self._files[number]
        return EvalSample(path, read_picture(self._base / path), label)

    def target(self, number: int) -> int:
        """The class of a sample; the picture is not read."""
        return self._files[number][1]


def _split_folder(folder: Path, split: str) -> Path:
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder; expected one folder of pictures per class in it")
    if (folder / split).is_dir():
        return folder / split
    others = [name for name in _SPLITS if (folder / name).is_dir()]
    if others:  # which would be taken for classes
        raise MissingError(f"{folder / split}: no such folder; splits that are there: {', '.join(others)}")
    return folder


def _pictures(base: Path, name: str) -> Iterator[str]:
    """Paths below `base` of a class's pictures, those in folders inside it included, in torchvision's order."""
    found = False
    for folder, _, files in sorted(os.walk(base / name, followlinks=True)):
        below = os.path.relpath(folder, base)
        for file in sorted(files):
            if is_picture(file):
                found = True
                yield f"{below}/{file}"
    if not found:
        raise InputError(f"{base / name}: a class without pictures; expected files such as {', '.join(PICTURES)}")
