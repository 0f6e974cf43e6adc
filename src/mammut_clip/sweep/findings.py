"""What is wrong with the runs of a sweep, each thing said once."""

from collections.abc import Iterable

from mammut_clip.config.errors import ConfigError, Problem

_SHOWN = 20


class Findings:
    """Problems of runs; one that several runs have is told once, with their names."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._found: dict[str, tuple[Problem, list[str]]] = {}

    def add(self, run_id: str, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self._found.setdefault(str(problem), (problem, []))[1].append(run_id)

    @property
    def problems(self) -> list[Problem]:
        """Each with its runs; the first twenty, and how many more there are."""
        problems = [with_runs(problem, runs) for problem, runs in self._found.values()]
        if len(problems) > _SHOWN:
            problems = [*problems[:_SHOWN], Problem("", f"and {len(problems) - _SHOWN} more problems like these")]
        return problems

    def raise_if_any(self) -> None:
        """Raise ConfigError where there are problems."""
        if self._found:
            raise ConfigError(self._source, self.problems)


def with_runs(problem: Problem, runs: list[str]) -> Problem:
    """A problem with the runs that have it."""
    others = len(runs) - 3
    which = ", ".join(runs[:3]) + (f" and {others} more" if others > 0 else "")
    return Problem(problem.key, f"{problem.expected} (run{'s' if len(runs) > 1 else ''} {which})", problem.value)
