"""Child processes, with their wall time and peak memory."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class ChildFailedError(RuntimeError):
    """A measured program ended with another exit code than 0; the message carries the end of its output."""


@dataclass(frozen=True)
class Cost:
    """What one child process took."""

    seconds: float
    """Wall time from start to end."""
    cpu_seconds: float
    """User and system time of the process and its ended children: other work on the machine disturbs it least."""
    peak_mb: float
    """Largest resident set, in MB (1e6 bytes), of the process or any one of its own children."""


def run_child(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a program with both outputs going to `log`. Raises ChildFailedError."""
    with log.open("wb") as out:
        started = time.perf_counter()
        child = subprocess.Popen(
            [str(part) for part in command], stdout=out, stderr=out, env={**os.environ, **(environment or {})}
        )
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.terminate()
            raise
        seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise ChildFailedError(f"{Path(command[0]).name} ended with exit code {child.returncode}:\n{tail(log)}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def tail(log: Path) -> str:
    """The end of what a program wrote."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-12:])
