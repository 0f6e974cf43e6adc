"""What goes wrong because of input, said so that the person who gave it can mend it.

Every message names the file, the key and the value, and says what was expected. The command line prints it
without a traceback and ends with exit code 2 (bad input) or 3 (some parts of the work failed).
"""

from dataclasses import dataclass
from typing import Any

_ABSENT = object()


class InputError(Exception):
    """Bad input: the program was asked for something it cannot do. Exit code 2."""

    exit_code = 2


class MissingError(InputError):
    """A file or folder that should be there is not."""


class PartialFailureError(Exception):
    """Some parts of the work failed and the rest is done. Exit code 3."""

    exit_code = 3


class RunInterruptedError(Exception):
    """A signal asked the run to stop; it has written a checkpoint. The exit code is the shell's, 128 + signal."""

    def __init__(self, signal_number: int, samples_seen: int) -> None:
        self.exit_code = 128 + signal_number
        super().__init__(f"stopped at {samples_seen} samples seen; the same command continues there")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a config."""

    key: str
    """Dotted path of the key; empty for the file as a whole."""
    expected: str
    """What would have been right."""
    value: Any = _ABSENT
    """What stood there."""

    def __str__(self) -> str:
        where = [self.key] if self.key else []
        if self.value is not _ABSENT:
            shown = repr(self.value)
            where.append(shown if len(shown) <= 120 else shown[:117] + "...")
        return ": ".join([" = ".join(where), self.expected] if where else [self.expected])


class ConfigError(InputError):
    """A config that cannot be used, with everything that is wrong in it."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{count} in {source}", *(f"  {problem}" for problem in problems)]))
