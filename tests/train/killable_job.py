"""A training as its own processes, started by torchrun or plainly, which a test can kill as a cluster does.

All processes of a job are known by a variable in their environment: torchrun's workers have sessions of their own, and
a worker whose launcher was killed has no parent to be found by.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_VARIABLE = "MAMMUT_CLIP_TEST_JOB"


class Job:
    """One start of a training command. Nothing of it is alive after the block."""

    def __init__(self, arguments: list[str], output: Path, processes: int = 1) -> None:
        """`arguments` are those of `python -m mammut_clip.train`; what it prints goes to `output`."""
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
        command = [sys.executable, "-m", *(launcher if processes > 1 else []), "mammut_clip.train", *arguments]
        self._mark = f"{_VARIABLE}={uuid.uuid4().hex}"
        self._processes = processes
        self.output = output
        name, value = self._mark.split("=")
        with output.open("wb") as out:
            self._child = subprocess.Popen(
                command, stdout=out, stderr=out, env={**os.environ, name: value, "OMP_NUM_THREADS": "1"}
            )

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self.kill()

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self._child.poll() is None

    def wait(self, seconds: float = 300) -> int:
        """The exit code of the command, once all its processes are gone."""
        code = self._child.wait(timeout=seconds)
        self.until(lambda: not self._pids(), seconds)
        return code

    def until(self, condition: Callable[[], bool], seconds: float = 300, every: float = 0.01) -> None:
        """Return once `condition` holds. Raises AssertionError, with what the job printed, where it takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not in {seconds:g} s:\n{self.text[-4000:]}"
            time.sleep(every)

    def until_running(self, condition: Callable[[], bool], seconds: float = 300, every: float = 0.01) -> None:
        """The same of a condition that a job must meet before it ends."""
        self.until(lambda: condition() or not self.is_running, seconds, every)
        assert self.is_running, f"it has ended:\n{self.text[-4000:]}"

    def signal(self, number: int) -> None:
        """To the command itself, as a user or Slurm sends it."""
        self._child.send_signal(number)

    def signal_rank(self, rank: int, number: int) -> None:
        """To one of torchrun's workers."""
        os.kill(self._ranks()[rank], number)

    def kill(self) -> None:
        """kill -9, all of it at once: a node that dies. Returns when everything is gone."""
        pids = self._pids()
        self.kill_now(pids)
        while pids := self._pids():  # those that were being started meanwhile
            self.kill_now(pids)
            time.sleep(0.01)
        self._child.wait()

    def kill_now(self, pids: list[int]) -> None:
        """kill -9, without looking."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _pids(self) -> list[int]:
        """All its processes that live, the command first."""
        mark = self._mark.encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):  # it has ended, or is another user's
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return sorted(found, key=lambda pid: (pid != self._child.pid, pid))

    def _ranks(self) -> dict[int, int]:
        """Rank -> process id of torchrun's workers."""
        found = {}
        for pid in self._pids():
            with suppress(OSError):
                parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == self._child.pid:
                    variables = dict(
                        entry.split("=", 1)
                        for entry in Path(f"/proc/{pid}/environ").read_text().split("\0")
                        if "=" in entry
                    )
                    found[int(variables["RANK"])] = pid
        return found
