"""One writer per run, also among hosts that share a network file system, where flock is not to be trusted.

The lease of `lock` is a record of its holder (runs.holder) in the file `lock.<n>` with the highest n. The holder writes
a higher counter into it, in place, every few seconds, and `free` when it is done. Whoever finds the holder dead makes
`lock.<n+1>`. A newcomer judges by its own clock alone: a holder is dead when its record has not changed for the whole
lease while the newcomer watched, as in Kubernetes' leader election; or at once, where the process ran on this machine
and is gone.

Why only one can have it:
- `lock.<n+1>` is made by link(2) of a complete file, which a network file system carries out for one of many. So of all
  that find n dead, one follows it.
- The highest number is never removed. A newcomer that slept over its decision, and makes an n+1 which was there
  before and was removed, finds a higher number and takes its own back; nobody looks at it meanwhile.
- Nobody writes into another's file, and none is replaced by a rename: the write of a holder that was suspended goes
  into its own file, which its successor has removed. By that `Lease.check` knows that the lease is lost.
- A holder that can write nothing for a whole lease gives up by itself before anybody follows it.

What is left: a holder that is suspended for longer than its lease right after a `check` writes one more record when it
wakes. Renewal in place needs no room, so a full disk does not cost a run its lease.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mammut_clip.config.atomic import disk_errors
from mammut_clip.config.errors import InputError
from mammut_clip.runs.holder import Holder, is_gone, is_running_here, this_process
from mammut_clip.runs.lease_files import (
    LEASE_SECONDS,
    LeaseFile,
    create,
    file_system_time,
    newest,
    numbered,
    numbers,
    read,
)
from mammut_clip.runs.lock import RunIsLockedError

__all__ = ["LEASE_SECONDS", "Lease", "LeaseLostError", "RunIsLockedError", "hold_lease", "is_leased"]

_CHECK_SECONDS = 1.0
"""`Lease.check` looks at most this often."""
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps


class LeaseLostError(RuntimeError):
    """This process may write the run no more."""


@contextmanager
def hold_lease(path: Path, lease_seconds: float = LEASE_SECONDS) -> Iterator["Lease"]:
    """Hold the lease of `path` inside the block, and keep it alive in the background.

    Raises RunIsLockedError where another process holds it: at once where that is seen to live, otherwise after its next
    sign of life. Waits for the other's lease, and says so on standard error, where there is none. Raises DiskFullError
    or InputError where the lease cannot be written.
    """
    mine = this_process(lease_seconds)
    with _file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        own = _Newcomer(path, mine).acquire()
    lease = Lease(path, own, mine)
    try:
        lease.check(force=True)
        yield lease
    finally:
        lease._give_back()


def is_leased(path: Path, ended_job: str | None = None) -> bool:
    """Whether some process seems to hold the lease of `path` now; an instant look, for launchers.

    A holder out of sight counts as living for one lease after its last sign of life, unless it belongs to the Slurm job
    `ended_job`, of which the caller knows that it has ended. Raises InputError where the lease cannot be read.
    """
    with _file_errors(path):
        found = newest(path)
    if found is None:
        return False
    holder = found.holder
    if holder is not None:
        if holder.state == "free" or is_gone(holder, this_process(LEASE_SECONDS)):
            return False
        if is_running_here(holder):
            return True
        if ended_job is not None and holder.slurm_job == ended_job:
            return False
    return file_system_time(path.parent) - found.written < found.lease_seconds


class Lease:
    """A lease that this process holds, or has held. A thread renews it."""

    def __init__(self, path: Path, own: Path, holder: Holder) -> None:
        self._path, self._own, self._holder = path, own, holder
        self._lost: str | None = None
        self._trouble: OSError | None = None
        self._renewed, self._checked = _now(), -float("inf")
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._renew()
        self._thread.start()

    def check(self, force: bool = False) -> None:
        """Raise LeaseLostError where this process holds the lease no more. Cheap: looks once a second, or if forced."""
        now = _now()
        if self._lost is None and (force or now - self._checked >= _CHECK_SECONDS):
            if now - self._renewed > self._holder.lease_seconds / 2:  # suspended, or the thread did not get to it
                self._renew()
            self._look()
            self._checked = _now()
        if self._lost is None and _now() - self._renewed > self._holder.lease_seconds:
            self._lost = f"its lease could not be renewed for {self._holder.lease_seconds:g} s ({self._trouble})"
        if self._lost is not None:
            raise LeaseLostError(f"{self._path.parent}: this process writes the run no more: {self._lost}")

    def _keep(self) -> None:
        lease = self._holder.lease_seconds
        while self._lost is None and not self._ended.wait(lease / (6 if self._trouble is None else 30)):
            self._renew()

    def _renew(self, state: str = "held") -> None:
        """Write a sign of life over the last one."""
        with self._writing:
            began = _now()
            renewed = self._holder.model_copy(update={"renewals": self._holder.renewals + 1, "state": state})
            try:
                if self._write(renewed):
                    self._holder, self._renewed, self._trouble = renewed, began, None
            except OSError as error:  # of the file system, perhaps for a moment
                self._trouble = error

    def _write(self, renewed: Holder) -> bool:
        """Whether our file is still there, and has been written."""
        try:
            file = os.open(self._own, os.O_RDWR)
        except FileNotFoundError:
            self._lost = self._successor()
            return False
        try:
            before = Holder.decode(os.read(file, 2**16))
            if before is None or before.id != renewed.id:  # removed by hand, and made anew by another
                self._lost = self._successor()
                return False
            os.pwrite(file, renewed.encode(), 0)
            os.fsync(file)
        finally:
            os.close(file)
        return True

    def _look(self) -> None:
        """Whether our file is there: who follows us removes it."""
        try:
            found = read(self._own)
            if found is None or found.holder is None or found.holder.id != self._holder.id:
                self._lost = self._successor()
        except OSError as error:
            self._trouble = error

    def _successor(self) -> str:
        """Who holds the lease now."""
        try:
            found = newest(self._path)
        except OSError:
            found = None
        if found is None:
            return f"{self._own.name} was removed"
        return f"{found.holder or 'another process'} has taken it over"

    def _give_back(self) -> None:
        self._lost = self._lost or "it has given it back"  # first: a checkpoint's thread may be left behind
        self._ended.set()
        self._thread.join(timeout=self._holder.lease_seconds)
        if not self._thread.is_alive():  # otherwise it hangs where the file system does
            self._renew("free")


class _Newcomer:
    """A process that wants the lease."""

    def __init__(self, path: Path, mine: Holder) -> None:
        self._path, self._mine = path, mine
        self._watched: LeaseFile | None = None
        self._since = 0.0

    def acquire(self) -> Path:
        """Our file, once it holds the lease."""
        while True:
            began = time.monotonic()
            found = newest(self._path)
            if found is None or self._may_follow(found, began):
                own = self._follow(0 if found is None else found.number)
                if own is not None:
                    return own
                time.sleep(0.02)  # another was faster
            else:
                time.sleep(min(1.0, found.lease_seconds / 30))

    def _may_follow(self, found: LeaseFile, looked: float) -> bool:
        """Whether the holder has given the lease back, or is dead. Raises RunIsLockedError where it lives.

        `looked`: before `found` was read; for how long the record was watched says nothing of the time since.
        """
        holder = found.holder
        if holder is not None:
            if holder.state == "free" or is_gone(holder, self._mine):
                return True
            if is_running_here(holder):
                raise RunIsLockedError(self._path, str(holder))
        if self._watched is None:
            self._watched, self._since = found, time.monotonic()
            self._tell(found)
        elif (found.number, found.data) != (self._watched.number, self._watched.data):
            raise RunIsLockedError(self._path, str(holder or "another process"))
        return looked - self._since >= found.lease_seconds

    def _follow(self, number: int) -> Path | None:
        """Make the file after `number`; None where another process was faster."""
        own = numbered(self._path, number + 1)
        if not create(own, self._mine):
            return None
        there = numbers(self._path)
        if there[-1:] != [number + 1]:
            own.unlink(missing_ok=True)
            return None
        for earlier in there[:-1]:
            numbered(self._path, earlier).unlink(missing_ok=True)
        return own

    def _tell(self, found: LeaseFile) -> None:
        print(
            f"{self._path.parent}: held by {found.holder or 'an unknown process'}; waiting for a sign that it lives, "
            f"for at most {found.lease_seconds:g} s, before taking the run over",
            file=sys.stderr,
            flush=True,
        )


def _now() -> float:
    return time.clock_gettime(_CLOCK)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Name the file that cannot be read or written."""
    try:
        with disk_errors(path):
            yield
    except OSError as error:
        raise InputError(f"{path}: the lease cannot be read or written: {error.strerror or error}") from error
