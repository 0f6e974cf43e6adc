"""Asking Slurm: its commands, run so that neither the user's formats nor a controller that is away can mislead us."""

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

PATIENCE_SECONDS = 30.0  # the commands themselves give up after 9 to 18 s where the controller is away
IDS_AT_ONCE = 5_000  # 128 KiB is what Linux takes in one argument
_MISLEADING = ("SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN")
"""Variables by which users change what the commands print, or which jobs they mean."""


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    answered: bool
    """Whether it ran to its end; it may still have refused."""
    code: int = -1
    """Its exit code."""
    text: str = ""
    """Standard output."""
    words: str = ""
    """Standard error, or why it could not be run."""

    @property
    def ok(self) -> bool:
        return self.answered and self.code == 0


def ask(command: Sequence[str], seconds: float = PATIENCE_SECONDS) -> Answer:
    """Run a command of Slurm's. Never raises: what went wrong is in the answer."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_MISLEADING)}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Answer(False, words=f"{command[0]} did not answer within {seconds:g} s")
    except OSError as error:
        return Answer(False, words=f"{command[0]}: {error.strerror or error}")
    return Answer(True, done.returncode, done.stdout, done.stderr.strip())


def in_batches(ids: Iterable[str]) -> Iterator[list[str]]:
    """Job ids, each once, in lists that fit on a command line."""
    rest = iter(dict.fromkeys(ids))
    while batch := list(islice(rest, IDS_AT_ONCE)):
        yield batch
