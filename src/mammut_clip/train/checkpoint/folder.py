"""A checkpoint's way into its place on disk, and what a crash leaves on the way. Rank 0 does all of this.

    .<samples>.unfinished   is being written; at the end comes the marker, with the size of every file
    <samples>               the same folder, renamed
    .<samples>.replaced     what stood in that place before, until the new one stands there
    .<samples>.removed      is being deleted

All is synced to disk before the name changes, so that there is no moment at which a crash leaves a checkpoint under its
name that is not whole, or none where there was one.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from torch.distributed.checkpoint.metadata import Metadata

from mammut_clip.runs.layout import Checkpoint, RunDir
from mammut_clip.runs.marker import COMPLETE_MARKER, INDEX, Marker
from mammut_clip.runs.retention import kept_points

_LEFTOVER = re.compile(r"\.(\d+)\.(unfinished|replaced|removed)")


def unfinished(run: RunDir, samples_seen: int) -> Path:
    """Where the checkpoint at a point of the clock is written."""
    return run.checkpoints_folder / f".{samples_seen}.unfinished"


def begin(run: RunDir, samples_seen: int, *, replace: bool) -> bool:
    """Make an empty folder to write into. False, without one, where this checkpoint exists and is not to be replaced.

    A damaged one is replaced always.
    """
    settle(run)
    if not replace and run.checkpoint(samples_seen).damage() is None:
        return False
    unfinished(run, samples_seen).mkdir(parents=True)
    return True


def publish(run: RunDir, index: Metadata, marker: Marker) -> None:
    """Give what was written to the unfinished folder its marker and its name."""
    folder = unfinished(run, marker.samples_seen)
    marker.model_copy(update={"files": _sizes(folder, index)}).write(folder / COMPLETE_MARKER)
    _sync(folder)
    _put_in_place(folder, run.checkpoint(marker.samples_seen))


def give_up(run: RunDir, samples_seen: int) -> None:
    """Make room: what was written of a checkpoint that cannot be finished goes."""
    shutil.rmtree(unfinished(run, samples_seen), ignore_errors=True)


def prune(run: RunDir) -> None:
    """Delete the checkpoints that need not stay. What stays for good is said by runs.retention."""
    complete = run.checkpoints
    keep = kept_points([one.samples_seen for one in complete], run.config)
    newest = _newest_intact(complete, run.config.checkpoint.keep_last)
    keep |= {one.samples_seen for one in newest}
    for one in complete:
        # one that is damaged, and newer than all others, waits for the run to come by and replace it
        if one.samples_seen not in keep and newest and one.samples_seen < newest[0].samples_seen:
            run.remove_checkpoint(one)


def settle(run: RunDir) -> None:
    """Bring to an end what a crash has left: what is whole gets its place, the rest is deleted.

    Not while a checkpoint is being written.
    """
    for samples_seen, kind, folder in sorted(_leftovers(run), key=lambda left: left[1], reverse=True):
        place = run.checkpoint(samples_seen)
        whole = Checkpoint(samples_seen, folder).damage() is None
        if whole and (kind == "unfinished" or (kind == "replaced" and not place.path.exists())):
            _put_in_place(folder, place)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _leftovers(run: RunDir) -> Iterator[tuple[int, str, Path]]:
    folder = run.checkpoints_folder
    for path in folder.iterdir() if folder.is_dir() else []:
        name = _LEFTOVER.fullmatch(path.name)
        if name is not None:
            yield int(name[1]), name[2], path


def _put_in_place(folder: Path, checkpoint: Checkpoint) -> None:
    replaced = checkpoint.path.with_name(f".{checkpoint.samples_seen}.replaced")
    if checkpoint.path.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        checkpoint.path.rename(replaced)
    folder.rename(checkpoint.path)
    _sync(checkpoint.path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _newest_intact(complete: list[Checkpoint], count: int) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    for one in reversed(complete):
        if len(found) < count and one.damage() is None:
            found.append(one)
    return found


def _sizes(folder: Path, index: Metadata) -> dict[str, int]:
    """Bytes of every file, as its writer reported them: another machine's files may not be seen here yet."""
    sizes = {INDEX: (folder / INDEX).stat().st_size}
    for place in (index.storage_data or {}).values():
        sizes[place.relative_path] = max(sizes.get(place.relative_path, 0), place.offset + place.length)
    return sizes


def _sync(folder: Path) -> None:
    """Have the names in a folder on disk, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
