"""Winoground (Thrush et al. 2022): two pictures and two captions of the same words.

NAME/examples.jsonl, NAME/images/ex_0_img_0.png, ...    as on the hub (there in data/, the pictures in images.zip)
NAME/<split>.parquet                                    the same in one file, pictures as {bytes, path}
"""

from pathlib import Path
from typing import Any, NamedTuple

from mammut_clip.config.errors import InputError, MissingError
from mammut_clip.data.evalsets.picture_files import first_folder, is_picture, read_picture
from mammut_clip.data.evalsets.selection import SelectionSample, SelectionSet
from mammut_clip.data.tables import Row, Table

_COLUMNS = ["id", "image_0", "image_1", "caption_0", "caption_1"]


class _Item(NamedTuple):
    key: str
    pictures: tuple[Path | bytes, Path | bytes]
    captions: tuple[str, str]


class WinogroundSet(SelectionSet):
    """All examples in the order of their file; picture i goes with caption i."""

    def __init__(self, folder: Path, split: str, file: Path, items: list[_Item]) -> None:
        """Made by `open`."""
        self.folder = folder
        self.split = split
        self._file = file
        self._items = items

    @classmethod
    def open(cls, folder: Path, split: str) -> "WinogroundSet":
        """Raises InputError naming file and key of what is missing or stands twice. Pictures of a Parquet file are
        kept in memory."""
        parquet = folder / f"{split}.parquet"
        file = parquet if parquet.is_file() else _examples(folder)
        rows = list(Table(file, _COLUMNS))
        if file == parquet:
            items = [_Item(row.text("id"), _stored(file, row), _captions(file, row)) for row in rows]
        else:
            images = first_folder(file.parent, ("images",), "Winoground's pictures (unpack images.zip)")
            named = {p.stem: p for p in sorted(images.iterdir()) if is_picture(p.name)}
            items = [_Item(row.text("id"), _named(file, row, images, named), _captions(file, row)) for row in rows]
        _check_keys(file, items)
        return cls(folder, split, file, items)

    def __len__(self) -> int:
        return len(self._items)

    def where(self, number: int) -> str:
        """As SelectionSet."""
        return f"{self._file}: sample {self._items[number].key!r}"

    def __getitem__(self, number: int) -> SelectionSample:
        """As SelectionSet."""
        item = self._items[number]
        images = [p if isinstance(p, bytes) else read_picture(p) for p in item.pictures]
        return SelectionSample(item.key, tuple(images), item.captions)


def _examples(folder: Path) -> Path:
    for path in (folder / "examples.jsonl", folder / "data" / "examples.jsonl"):
        if path.is_file():
            return path
    raise MissingError(f"{folder / 'examples.jsonl'}: no such file; expected Winoground's examples")


def _captions(file: Path, row: Row) -> tuple[str, str]:
    first, second = row.text("caption_0"), row.text("caption_1")
    if not first or not second:
        raise InputError(f"{file}: sample {row.text('id')!r}: an empty caption; expected words")
    return first, second


def _named(file: Path, row: Row, images: Path, named: dict[str, Path]) -> tuple[Path, Path]:
    """The pictures that a row names, with or without their ending."""
    found = [named.get(Path(row.text(column)).stem) for column in ("image_0", "image_1")]
    for column, path in zip(("image_0", "image_1"), found, strict=True):
        if path is None:
            raise MissingError(f"{file}: sample {row.text('id')!r}: no picture {images / row.text(column)}.png")
    assert found[0] is not None and found[1] is not None
    return found[0], found[1]


def _stored(file: Path, row: Row) -> tuple[bytes, bytes]:
    """The pictures that a row of a Parquet file holds."""

    def stored(column: str) -> bytes:
        value: Any = row.values[column]
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes) or not data:
            raise InputError(f"{file}: sample {row.text('id')!r}: no bytes in {column}; expected an encoded picture")
        return data

    return stored("image_0"), stored("image_1")


def _check_keys(file: Path, items: list[_Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if not item.key or item.key in seen:
            raise InputError(f"{file}: sample {item.key!r} stands twice; expected an id of its own for each")
        seen.add(item.key)
