"""WinoGAViL (Bitton et al. 2022): which of the candidate pictures does a cue bring to mind?

NAME/winogavil_dataset.csv                columns ID, cue, candidates and associations (JSON lists), as on the hub;
                                          <split>.csv or <split>.jsonl with these columns comes first
NAME/winogavil_images/<candidate>.jpg     (or NAME/images/)
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mammut_clip.config.errors import InputError, MissingError
from mammut_clip.data.evalsets.picture_files import first_folder, is_picture, read_picture
from mammut_clip.data.tables import Row, Table

_PUBLISHED = "winogavil_dataset.csv"


@dataclass(frozen=True)
class WinogavilSample:
    """A cue and pictures, still encoded."""

    key: str
    cue: str
    images: tuple[bytes, ...]
    candidates: tuple[str, ...]
    """What each picture shows, in a word."""
    associations: tuple[int, ...]
    """Numbers of the pictures that go with the cue, ascending."""


@dataclass(frozen=True)
class WinogavilQuestion:
    """A cue, and what could go with it."""

    cue: str
    candidates: tuple[str, ...]
    associations: tuple[int, ...]
    """Numbers of the candidates that go with the cue, ascending."""


class _Item(NamedTuple):
    key: str
    cue: str
    candidates: tuple[str, ...]
    associations: tuple[int, ...]


class WinogavilSet:
    """Samples in the order of their file; they may be read from several threads."""

    def __init__(self, folder: Path, split: str, file: Path, pictures: dict[str, Path], items: list[_Item]) -> None:
        """Made by `open`; `pictures` by candidate."""
        self.folder = folder
        self.split = split
        self._file = file
        self._pictures = pictures
        self._items = items

    @classmethod
    def open(cls, folder: Path, split: str) -> "WinogavilSet":
        """Raises InputError naming file and key of what is missing, stands twice or does not fit together."""
        file = _table(folder, split)
        images = first_folder(folder, ("winogavil_images", "images"), "WinoGAViL's pictures, or images/ with them")
        pictures = {p.stem: p for p in sorted(images.iterdir()) if is_picture(p.name)}
        items: dict[str, _Item] = {}
        for row in Table(file, ["ID", "cue", "candidates", "associations"]):
            item = _item(file, row)
            if item.key in items:
                raise InputError(f"{file}: sample {item.key!r} stands twice; expected an ID of its own for each")
            missing = [candidate for candidate in item.candidates if candidate not in pictures]
            if missing:
                raise MissingError(f"{file}: sample {item.key!r}: no picture {images / missing[0]}.jpg")
            items[item.key] = item
        return cls(folder, split, file, pictures, list(items.values()))

    def __len__(self) -> int:
        return len(self._items)

    def where(self, number: int) -> str:
        """File and key of a sample, for messages."""
        return f"{self._file}: sample {self._items[number].key!r}"

    def __getitem__(self, number: int) -> WinogavilSample:
        """Sample `number`. Raises InputError naming the file that cannot be read."""
        item = self._items[number]
        images = tuple(read_picture(self._pictures[candidate]) for candidate in item.candidates)
        return WinogavilSample(item.key, item.cue, images, item.candidates, item.associations)

    @property
    def candidates(self) -> list[str]:
        """The different candidates of all samples, sorted; each has one picture, however often it stands."""
        return sorted({candidate for item in self._items for candidate in item.candidates})

    def picture(self, candidate: str) -> bytes:
        """A candidate's picture, still encoded. Raises InputError naming the file that cannot be read."""
        return read_picture(self._pictures[candidate])

    def question(self, number: int) -> WinogavilQuestion:
        """Sample `number` without its pictures."""
        item = self._items[number]
        return WinogavilQuestion(item.cue, item.candidates, item.associations)

    def __iter__(self) -> Iterator[WinogavilSample]:
        return (self[number] for number in range(len(self)))


def _table(folder: Path, split: str) -> Path:
    for name in (f"{split}.csv", f"{split}.jsonl", _PUBLISHED):
        if (folder / name).is_file():
            return folder / name
    raise MissingError(f"{folder / _PUBLISHED}: no such file; expected WinoGAViL's table, or {split}.csv or .jsonl")


def _item(file: Path, row: Row) -> _Item:
    key, cue = row.text("ID"), row.text("cue")
    where = f"{file}: sample {key!r}"
    if not key or not cue:
        raise InputError(f"{file}: row {row.number}: ID {key!r}, cue {cue!r}; expected both")
    candidates = _texts(row, "candidates", where)
    associations = _texts(row, "associations", where)
    for text in associations:
        if text not in candidates:
            raise InputError(f"{where}: the association {text!r} is no candidate; they are {', '.join(candidates)}")
    chosen = tuple(number for number, candidate in enumerate(candidates) if candidate in associations)
    return _Item(key, cue, tuple(candidates), chosen)


def _texts(row: Row, column: str, where: str) -> list[str]:
    """A list of texts: as such, or in JSON."""
    value = row.values[column]
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(text, str) and text for text in found):
        raise InputError(f'{where}: {column} = {value!r}; expected a list of words such as ["bison", "flea"]')
    return found
