"""Tables of captions or labels as users have them: CSV, TSV, Parquet or JSON lines -> rows of plain values.

CSV and TSV values stay text as they stand, since a caption may be `NA`, `1e5` or `true`.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.config.files import read_text

_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
_Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    number: int
    """Counted from 1, the header left out."""
    values: dict[str, Any]

    def text(self, column: str) -> str:
        """A value as stripped text; empty where there is none."""
        texts = self.texts(column)
        return texts[0] if texts else ""

    def texts(self, column: str) -> list[str]:
        """The non-empty texts of a value, which may be one or, in Parquet and JSON lines, a list."""
        value = self.values[column]
        items = value if isinstance(value, list) else [value]
        texts = [str(item).strip() for item in items if item is not None]
        return [text for text in texts if text]


class Table:
    """The rows of a table, of which some columns are needed."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        """Raises InputError for an unreadable or empty table and, with the nearest names, for missing
        columns."""
        found = _read(path)
        if not any(found.values()):
            raise InputError(f"{path}: a table without rows; expected one row per picture")
        for column in columns:
            if column not in found:
                hint = nearest(column, list(found))
                raise InputError(f"{path}: no column {column!r}; {hint} Its columns: {', '.join(found)}")
        self._columns = {column: found[column] for column in columns}

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __iter__(self) -> Iterator[Row]:
        names = list(self._columns)
        for number, values in enumerate(zip(*self._columns.values(), strict=True), start=1):
            yield Row(number, dict(zip(names, values, strict=True)))


def _read(path: Path) -> _Columns:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"{path}: unknown kind of table {path.suffix!r}; expected one of {', '.join(_SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a table of captions or labels")
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix == ".jsonl":
        return _read_json_lines(path)
    return _read_delimited(path, "\t" if suffix == ".tsv" else ",")


def _read_delimited(path: Path, separator: str) -> _Columns:
    text = io.StringIO(read_text(path).removeprefix("\ufeff"), newline="")
    lines = csv.reader(text, delimiter=separator, strict=True)
    try:
        header = next(lines, None)
        if not header:
            raise InputError(f"{path}: an empty file; expected a header and rows")
        rows = []
        for row in lines:
            if row and len(row) != len(header):
                raise InputError(
                    f"{path}: line {lines.line_num} has {len(row)} fields and the header {len(header)}; "
                    f'expected as many, and quotes (") around a text with {"a tab" if separator != "," else "commas"}'
                )
            if row:
                rows.append(row)
    except csv.Error as error:
        raise InputError(f"{path}: line {lines.line_num}: {error}; expected well quoted fields") from error
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def _read_json_lines(path: Path) -> _Columns:
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}: line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} is {type(row).__name__}; expected an object such as {{...}}")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _read_parquet(path: Path) -> _Columns:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    return {name: table.column(name).to_pylist() for name in table.column_names}
