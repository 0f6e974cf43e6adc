"""One at a time: what changes a sweep's jobs, on whatever host, takes its turn.

launch/lock.<n>    the lease (runs.lease) of the launcher whose turn it is
launch/wanted/     one file for each job that has ended and wants a cycle; a cycle serves all that it found there
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mammut_clip.config.errors import InputError
from mammut_clip.runs.layout import SweepDir
from mammut_clip.runs.lease import Lease, LeaseLostError, RunIsLockedError, hold_lease
from mammut_clip.runs.lease_files import newest

COLLECT_PATIENCE_SECONDS = 600.0
"""How long to wait for who makes the results table and the laws."""


@contextmanager
def turn(sweep: SweepDir, patience: float) -> Iterator[Lease]:
    """Have the sweep for oneself inside the block. Raises InputError, naming who has it, after `patience` seconds, or
    where another has taken it over meanwhile."""
    with ExitStack() as stack:
        lease = _take(stack, sweep, time.monotonic() + patience)
        assert lease is not None
        try:
            yield lease
        except LeaseLostError as error:
            raise InputError(str(error)) from error


@contextmanager
def turn_or_served(sweep: SweepDir, patience: float) -> Iterator[Lease | None]:
    """As `turn`; None where another's cycle began after this was called, which then has seen all that we would."""
    ticket = _wanted(sweep) / uuid.uuid4().hex
    ticket.parent.mkdir(parents=True, exist_ok=True)
    ticket.touch()
    try:
        with ExitStack() as stack:
            yield _take(stack, sweep, time.monotonic() + patience, ticket)
    finally:
        ticket.unlink(missing_ok=True)


@contextmanager
def collecting(sweep: SweepDir, patience: float) -> Iterator[None]:
    """Be the only one who makes the results table and the laws. Raises InputError after `patience` seconds."""
    with ExitStack() as stack:
        _take(stack, sweep, time.monotonic() + patience, lock=sweep.launch_folder / "collecting")
        yield


def tickets(sweep: SweepDir) -> list[Path]:
    """Who wants a cycle now."""
    folder = _wanted(sweep)
    return list(folder.iterdir()) if folder.is_dir() else []


def serve(served: list[Path]) -> None:
    """Tell those whose tickets were there when a cycle began that it has ended."""
    for ticket in served:
        with suppress(OSError):
            ticket.unlink(missing_ok=True)


def _take(
    stack: ExitStack, sweep: SweepDir, deadline: float, ticket: Path | None = None, lock: Path | None = None
) -> Lease | None:
    lock = lock or lock_of(sweep)
    while True:
        try:
            lease = stack.enter_context(hold_lease(lock))
        except RunIsLockedError as error:
            lease = None
            if time.monotonic() > deadline:
                raise InputError(_who(sweep, lock)) from error
        if ticket is not None and not ticket.exists():
            stack.close()
            return None
        if lease is not None:
            return lease
        time.sleep(0.2)


def _who(sweep: SweepDir, lock: Path) -> str:
    found = newest(lock)
    holder = "another launcher" if found is None or found.holder is None else str(found.holder)
    return f"{sweep.path}: {holder} works on this sweep now; `sweep status` shows how far it is"


def lock_of(sweep: SweepDir) -> Path:
    """The lease of whoever changes the sweep's jobs."""
    return sweep.launch_folder / "lock"


def _wanted(sweep: SweepDir) -> Path:
    return sweep.launch_folder / "wanted"
