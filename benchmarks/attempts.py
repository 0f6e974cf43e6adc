"""A training that is killed after some steps, and what the clock inside it said (with_events.py)."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ChildFailedError, tail

_PATIENCE = 600.0
"""Seconds in which the steps asked for must have been made."""


@dataclass(frozen=True)
class Attempt:
    """One process, from its start until it was killed. Times are Unix times."""

    began: float
    steps: list[float]
    """When each step ended."""
    saves: list[float]
    """Seconds of each torch.save in the main thread."""
    killed: float


def attempt(command: Sequence[str | Path], steps: int, log: Path, environment: Mapping[str, str]) -> Attempt:
    """Start `python -m MODULE ...`, and kill it with all its processes (kill -9) once it has made `steps` steps.

    Raises ChildFailedError where it ends by itself or takes too long.
    """
    python, _, *module = command
    events = log.with_suffix(".events")
    events.unlink(missing_ok=True)
    inside = [python, "-m", "benchmarks.with_events", events, *module]
    with log.open("wb") as out:
        began = time.time()
        child = subprocess.Popen(
            [str(part) for part in inside],
            stdout=out,
            stderr=out,
            env={**os.environ, **environment},
            start_new_session=True,  # its data workers are killed with it
        )
        try:
            _wait_for(child, events, steps, log)
        finally:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(child.pid, signal.SIGKILL)
            killed = time.time()
            child.wait()
    found = _read(events)
    ended = [event["at"] for event in found if event["what"] == "step"]
    return Attempt(began, ended, [event["seconds"] for event in found if event["what"] == "save"], killed)


def _wait_for(child: subprocess.Popen[bytes], events: Path, steps: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while sum(event["what"] == "step" for event in _read(events)) < steps:
        if child.poll() is not None:
            raise ChildFailedError(f"ended with exit code {child.returncode} before step {steps}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise ChildFailedError(f"made fewer than {steps} steps in {_PATIENCE:.0f} s:\n{tail(log)}")
        time.sleep(0.02)


def _read(events: Path) -> list[dict]:
    """The whole lines so far; the kill may have cut the last one."""
    lines = events.read_text().splitlines(keepends=True) if events.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
