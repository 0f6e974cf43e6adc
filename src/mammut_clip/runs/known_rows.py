"""What a results table was made of, run by run, so that the next one reads only the runs that have changed.

It stands in the Parquet file itself, with the rows: the two cannot be of different times.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mammut_clip.runs.layout import RunDir

_KEY = b"mammut_clip.runs"


def fingerprint(run: RunDir, columns: list[str]) -> str:
    """Changes whenever a run's rows may: with its state, its results, and the program that makes the rows."""
    status = run.status
    parts = [version("mammut-clip"), *columns, status.state, _stamp(run.config_file), _stamp(run.manifest_file)]
    if status.state == "finished":
        parts.append(_stamp(run.metrics_file))
    parts += _results(run.path / "evals")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def to_parquet(frame: pd.DataFrame, known: dict[str, str]) -> bytes:
    """A table with the fingerprints (run -> fingerprint) of the runs that it was made of."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: json.dumps(known).encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def from_parquet(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table and its fingerprints; both empty where there is none that can be read."""
    try:
        table = pq.read_table(path)
        return table.to_pandas(), json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    except (OSError, ValueError):  # pyarrow's own errors are ValueErrors
        return pd.DataFrame(), {}


def _stamp(path: "Path | os.DirEntry[str]") -> str:
    try:
        found = path.stat()
    except OSError:
        return "-"
    return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"


def _results(folder: Path) -> Iterator[str]:
    """Name, size and time of each result, in order of their names."""
    for point in _entries(folder):
        for file in _entries(folder / point.name):
            yield f"{point.name}/{file.name} {_stamp(file)}"  # one that is being written has its name for a moment


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []
