"""The marker of a checkpoint: the last file written into it, with what should be there."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from mammut_clip.runs.records import Record

COMPLETE_MARKER = "complete"
INDEX = ".metadata"
"""torch.distributed.checkpoint's own list of what stands where in its files."""


class Marker(Record):
    """A checkpoint is complete when this stands in it."""

    samples_seen: int
    """The clock of the run."""
    world_size: int
    """How many processes wrote it; any number can read it."""
    pending: dict[str, float] = Field(default_factory=dict)
    """What the next row of metrics needs of the steps since the last one."""
    files: dict[str, int] | None = None
    """Name -> bytes of every other file; null where an older version of this program wrote it."""


def damage(folder: Path, samples_seen: int) -> str | None:
    """What is wrong with a checkpoint's folder, as far as its marker and the sizes of its files tell; None: nothing.

    Looks at each file once and reads none but the marker.
    """
    try:
        if not (folder / COMPLETE_MARKER).is_file():
            return "it has no marker: it was cut off while it was written"
        marker = Marker.read(folder / COMPLETE_MARKER)
        if marker is None:
            return f"its marker {COMPLETE_MARKER} cannot be read"
        if marker.samples_seen != samples_seen:
            return f"its marker is of {marker.samples_seen} samples seen"
        return _difference(folder, {INDEX: None} if marker.files is None else marker.files)
    except OSError as error:
        return f"it cannot be looked at ({error})"


def _difference(folder: Path, files: Mapping[str, int | None]) -> str | None:
    found = {name: _size(folder / name) for name in files}
    missing = [name for name, size in found.items() if size is None]
    if missing:
        return f"{missing[0]} is missing" + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
    for name, size in files.items():
        if size is not None and found[name] != size:
            return f"{name} has {found[name]} bytes where {size} were written"
    return None


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None
