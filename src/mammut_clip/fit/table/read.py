"""Files -> one frame. Several tables of a spec are put under one another, with a column that says where a row is
from."""

from pathlib import Path

import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_rows import RowSpec
from mammut_clip.fit.table.columns import ROW, renamed, with_row_names
from mammut_clip.fit.table.convention import check_columns, check_same_kind
from mammut_clip.runs import table as runs


def read_table(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file, or a sweep's folder (collected anew from its runs), with the name of each row.

    Raises InputError where it is none of these.
    """
    if path.is_dir():
        return with_row_names(runs.read(path), "row", 0)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif suffix in {".csv", ".tsv"}:
            frame = _read_text(path, "\t" if suffix == ".tsv" else ",")
        else:
            raise InputError(f"{path}: expected a .csv, .tsv or .parquet file")
    except (OSError, ValueError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        raise InputError(f"{path}: cannot be read as {suffix[1:]}: {str(error).splitlines()[0]}") from error
    # Line 1 of a text table is its header; a Parquet file has no lines.
    return with_row_names(frame, "row", 0) if suffix == ".parquet" else with_row_names(frame, "line", 2)


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    """Raises InputError where a column's name stands twice, and where another character separates the columns."""
    frame = pd.read_csv(path, sep=separator)
    if len(frame.columns) == 1 and any(other in str(frame.columns[0]) for other in ";\t,"):
        expected = "tabs" if separator == "\t" else "commas"
        raise InputError(f"{path}: expected {expected} between columns, found one column: {frame.columns[0]}")
    # pandas gives the second of two columns of one name a name of its own.
    names = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0].dropna().str.strip()
    if (twice := names[names.duplicated()]).any():
        raise InputError(f"{path}: the column {twice.iloc[0]!r} stands twice")
    return frame.rename(columns=lambda name: str(name).strip())


def load_table(spec: RowSpec, given: pd.DataFrame | Path | None = None) -> tuple[pd.DataFrame, str]:
    """The table of a spec, for `select`, and what messages call it. `given` stands in for what the spec names;
    for a spec with several it is a folder in which they lie.

    Of a spec with several tables the frame is already under our column names, and row names begin with the table's.
    Raises InputError where a table is missing, cannot be read, or does not have the columns that the spec names.
    """
    if isinstance(given, pd.DataFrame):
        return given, "results table"
    if spec.tables:
        paths = _paths(spec, given)
        source = " + ".join(map(str, paths.values()))
        return pd.concat(_named_tables(spec, paths), ignore_index=True, sort=False), source
    if given is None and spec.table is None:
        raise InputError("the spec names no table: give one on the command line")
    path = Path(str(spec.table)) if given is None else given
    return read_table(path), str(path)


def _named_tables(spec: RowSpec, paths: dict[str, Path]) -> list[pd.DataFrame]:
    mappings = {name: spec.columns | spec.tables[name].columns for name in paths}
    check_same_kind(mappings, spec.x)
    frames = []
    for name, path in paths.items():
        check_columns(mappings[name], str(path))
        frame = renamed(read_table(path), mappings[name], str(path))
        if spec.table_column in frame:
            raise InputError(f"{path}: has a column {spec.table_column!r} already; name another as table_column")
        if spec.x != "samples_seen" and spec.x not in frame:
            have = ", ".join(sorted(map(str, frame.columns.drop(ROW))))
            raise InputError(f"{path}: no column {spec.x!r} for table {name}, which the others have; it has {have}")
        frames.append(frame.assign(**{spec.table_column: name, ROW: [f"{name} {row}" for row in frame[ROW]]}))
    return frames


def _paths(spec: RowSpec, folder: Path | None) -> dict[str, Path]:
    """Where each table of the spec lies."""
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: the spec reads the tables {', '.join(spec.tables)}: give a folder of them")
    paths = {}
    for name, table in spec.tables.items():
        if table.path is None:
            key = f"tables.{name}.path" if table.columns else f"tables.{name}"
            raise InputError(f"tables.{name}: the spec gives no path: give {key}=PATH on the command line")
        paths[name] = Path(table.path) if folder is None else folder / table.path
    return paths
