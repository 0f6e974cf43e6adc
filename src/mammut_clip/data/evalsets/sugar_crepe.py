"""SugarCrepe (Hsieh et al. 2023): a picture, its caption, and one that a small change made wrong.

NAME/add_att.json, replace_obj.json, ...    {"0": {"filename", "caption", "negative_caption"}, ...}, as published
NAME/val2017/000000085329.jpg, ...          COCO's pictures (or NAME/images/)

A split is the name of a file: add_att, add_obj, replace_att, replace_obj, replace_rel, swap_att, swap_obj.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError, MissingError
from mammut_clip.config.files import read_text
from mammut_clip.data.evalsets.picture_files import first_folder, read_picture
from mammut_clip.data.evalsets.selection import SelectionSample, SelectionSet

_FIELDS = ("filename", "caption", "negative_caption")


class _Item(NamedTuple):
    key: str
    picture: Path
    captions: tuple[str, str]


class SugarCrepeSet(SelectionSet):
    """One file of SugarCrepe, in its order; the caption that is right comes first."""

    def __init__(self, folder: Path, split: str, items: list[_Item]) -> None:
        """Made by `open`."""
        self.folder = folder
        self.split = split
        self._items = items

    @classmethod
    def open(cls, folder: Path, split: str) -> "SugarCrepeSet":
        """Raises InputError naming file and key of what is missing or stands twice."""
        path = folder / f"{split}.json"
        if not path.is_file():
            known = sorted(p.stem for p in folder.glob("*.json"))
            hint = f"; {nearest(split, known)}" if known else "; expected SugarCrepe's data, such as add_att.json"
            raise MissingError(f"{path}: no such file{hint}")
        pictures = first_folder(folder, ("val2017", "images"), "the pictures of COCO's val2017, or images/ with them")
        there = {p.name for p in pictures.iterdir()}
        items = [_item(path, key, values, pictures) for key, values in _pairs(path)]
        for item in items:
            if item.picture.name not in there:
                raise MissingError(f"{path}: sample {item.key!r}: no picture {item.picture}")
        return cls(folder, split, items)

    def __len__(self) -> int:
        return len(self._items)

    def where(self, number: int) -> str:
        """As SelectionSet."""
        item = self._items[number]
        return f"{self.folder / self.split}.json: sample {item.key!r} ({item.picture})"

    def __getitem__(self, number: int) -> SelectionSample:
        """As SelectionSet."""
        item = self._items[number]
        return SelectionSample(item.key, (read_picture(item.picture),), item.captions)


def _pairs(path: Path) -> list[tuple[str, Any]]:
    """Keys and values of the outer object, in order, a key that stands twice included."""
    try:
        found = json.loads(read_text(path), object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, _Object) or not found:
        raise InputError(f'{path}: expected an object such as {{"0": {{"filename": ...}}, ...}}')
    seen: set[str] = set()
    for key, _ in found:
        if key in seen:
            raise InputError(f"{path}: sample {key!r} stands twice; expected one sample per key")
        seen.add(key)
    return list(found)


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs."""


def _item(path: Path, key: str, pairs: Any, pictures: Path) -> _Item:
    values = dict(pairs) if isinstance(pairs, _Object) else {}
    for field in _FIELDS:
        if not isinstance(values.get(field), str) or not values[field].strip():
            raise InputError(f"{path}: sample {key!r}: {field} = {values.get(field)!r}; expected a text")
    if "/" in values["filename"]:
        raise InputError(f"{path}: sample {key!r}: filename = {values['filename']!r}; expected a name without folders")
    return _Item(key, pictures / values["filename"], (values["caption"], values["negative_caption"]))
