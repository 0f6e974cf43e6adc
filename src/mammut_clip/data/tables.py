"""Tables of captions or labels as users have them: CSV, TSV, Parquet or JSON lines -> rows of plain
values."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")


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
        items = value if isinstance(value, list) else value.tolist() if hasattr(value, "tolist") else [value]
        items = items if isinstance(items, list) else [items]
        texts = [str(item).strip() for item in items if item is not None and item == item]
        return [text for text in texts if text]


class Table:
    """The rows of a table, of which some columns are needed."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        """Raises InputError for an unreadable or empty table and, with the nearest names, for missing
        columns."""
        frame = _read(path)
        known = [str(name) for name in frame.columns]
        for column in columns:
            if column not in known:
                raise InputError(
                    f"{path}: no column {column!r}; {nearest(column, known)} Its columns: {', '.join(known)}"
                )
        if frame.empty:
            raise InputError(f"{path}: a table without rows; expected one row per picture")
        self.path = path
        self._frame = frame[list(dict.fromkeys(columns))]

    def __len__(self) -> int:
        return len(self._frame)

    def __iter__(self) -> Iterator[Row]:
        names = [str(name) for name in self._frame.columns]
        for number, values in enumerate(self._frame.itertuples(index=False, name=None), start=1):
            yield Row(number, dict(zip(names, values, strict=True)))


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(
            f"{path}: unknown kind of table {path.suffix!r}; expected one of {', '.join(_SUFFIXES)}"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a table of captions or labels")
    try:
        match path.suffix.lower():
            case ".parquet":
                return pd.read_parquet(path)
            case ".jsonl":
                return pd.read_json(path, lines=True, dtype=False, convert_dates=False, encoding="utf-8")
            case suffix:
                separator = "\t" if suffix == ".tsv" else ","
                # Everything is text: a caption may be "NA", "1e5" or "true".
                return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8")
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path}: an empty file; expected a header and rows") from error
    except (ValueError, OSError, ArithmeticError) as error:  # pandas' and pyarrow's errors derive from these
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]}: {reason}") from error
