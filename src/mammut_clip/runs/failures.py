"""Of which kind an error is, and the last words of a process that ends by one.

srun hands on one code for all ranks, and kills the others when the first one fails: so each process that fails leaves
a file that says why, where it was started with the variable below. Nobody has to read logs.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.config.errors import InputError
from mammut_clip.runs.lock import RunIsLockedError
from mammut_clip.runs.records import Record

ErrorKind = Literal["out_of_memory", "disk_full", "bad_input", "hung", "crash"]
VARIABLE = "MAMMUT_CLIP_LAST_WORDS"
"""Names the files: <value>.<rank>.json."""
_CPU_ALLOCATOR = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")


class LastWords(Record):
    """Why a process ended."""

    kind: ErrorKind | Literal["locked"]
    """locked: another process is writing the run."""
    error: str
    """In one line."""


def kind_of(error: BaseException) -> ErrorKind:
    """The kind of an error, by its type or its cause's. Those of torch are known by name: it is not loaded here. An
    error that stands for another process's has an attribute `error_kind`."""
    told: ErrorKind | None = getattr(error, "error_kind", None)
    if told is not None:
        return told
    for one in _with_causes(error):
        if isinstance(one, DiskFullError):
            return "disk_full"
        if isinstance(one, MemoryError) or _is_out_of_memory(one):
            return "out_of_memory"
    return "bad_input" if isinstance(error, InputError) and not _may_pass(error) else "crash"


def leave_last_words(error: BaseException) -> None:
    """Write down by which error this process ends, if somebody wants to know. Never raises: it is on its way out."""
    leave_words("locked" if isinstance(error, RunIsLockedError) else kind_of(error), f"{type(error).__name__}: {error}")


def leave_words(kind: ErrorKind | Literal["locked"], text: str) -> None:
    """As `leave_last_words`, where there is no error to be caught."""
    place = os.environ.get(VARIABLE)
    if not place:
        return
    rank = os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))
    with suppress(Exception):
        LastWords(kind=kind, error=" ".join(text.split())[:2000]).write(Path(f"{place}.{rank}.json"))


def take_last_words(place: Path) -> list[LastWords]:
    """What the processes of one start have left, by rank; the files are removed."""
    found = []
    for path in sorted(place.parent.glob(f"{place.name}.*.json"), key=lambda path: (len(path.name), path.name)):
        words = LastWords.read(path)
        if words is not None:
            found.append(words)
        with suppress(OSError):
            path.unlink()
    return found


def _is_out_of_memory(error: BaseException) -> bool:
    kind = type(error)
    if kind.__name__ == "OutOfMemoryError" and kind.__module__.partition(".")[0] == "torch":
        return True
    # The CPU's allocator raises a plain RuntimeError.
    return kind is RuntimeError and any(sign in str(error) for sign in _CPU_ALLOCATOR)


def _may_pass(error: BaseException) -> bool:
    """Whether a file system refused something for a reason that may not last."""
    lasting = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, FileExistsError)
    return any(isinstance(one, OSError) and not isinstance(one, lasting) for one in _with_causes(error))


def _with_causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return found
