"""Names of runs: made of the choices of a point and of nothing else, so that a run keeps its name, and with it its
folder, when the grid grows around it."""

import re

from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.run import SAFE_NAME
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.sweep.axes import Choice, Point

RESERVED_NAMES = {"launch", "fit"}
"""Folders in a sweep's directory that are no runs."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SHOWN = 20


def placeholders(pattern: str | None) -> list[str]:
    """The axes that a pattern names."""
    return _PLACEHOLDER.findall(pattern or "")


def run_ids(config: SweepConfig, points: list[Point], source: str) -> list[str]:
    """The name of each point's run. Raises ConfigError where one is unsafe, or two are the same."""
    missing = [point for point in points if set(placeholders(config.name_pattern)) - {c.axis for c in point}]
    if missing:
        raise ConfigError(source, [_no_value(config, missing)])
    ids = [_run_id(config, point) for point in points]
    _check(ids, points, source)
    return ids


def _run_id(config: SweepConfig, point: Point) -> str:
    if config.name_pattern is None:
        return "-".join(_part(choice) for choice in point) or config.name
    labels = {choice.axis: choice.label for choice in point}
    name = _PLACEHOLDER.sub(lambda match: labels[match.group(1)], config.name_pattern)
    # A pattern is about the sweep's axes: what a cell adds to them tells its runs apart, and renames no others.
    named = {*config.axes, *placeholders(config.name_pattern)}
    return "-".join([name, *(_part(choice) for choice in point if choice.axis not in named)])


def _part(choice: Choice) -> str:
    """`ViT-B-32`, `1.28M` and names of alternatives speak for themselves; `0.001` needs its key, `lr0.001`."""
    if choice.is_alternative or choice.axis in ("model", "samples_seen"):
        return choice.label
    return choice.axis.rpartition(".")[2] + choice.label


def _no_value(config: SweepConfig, points: list[Point]) -> Problem:
    absent = sorted(set(placeholders(config.name_pattern)) - {choice.axis for choice in points[0]})
    example = "-".join(_part(choice) for choice in points[0])
    return Problem(
        "name_pattern",
        f"{', '.join(f'{{{name}}}' for name in absent)} is an axis of some cells only, and {len(points)} runs "
        f"({example}, ...) are not in them; leave it out: what cells add is appended",
        config.name_pattern,
    )


def _check(ids: list[str], points: list[Point], source: str) -> None:
    problems = []
    seen: dict[str, Point] = {}
    for run_id, point in zip(ids, points, strict=True):
        if not SAFE_NAME.match(run_id) or run_id in RESERVED_NAMES:
            expected = "expected a name of letters, digits and . _ = + - (at most 128, starting with a letter or digit)"
            problems.append(Problem("name_pattern", f"{expected}, and not {' or '.join(RESERVED_NAMES)}", run_id))
        other = seen.setdefault(run_id, point)
        if other is not point:
            problems.append(Problem("name_pattern", f"two runs of one name; {_difference(other, point)}", run_id))
    if problems:
        more = len(problems) - _SHOWN
        last = [Problem("name_pattern", f"and {more} more of these")] if more > 0 else []
        raise ConfigError(source, problems[:_SHOWN] + last)


def _difference(one: Point, other: Point) -> str:
    first, second = ({choice.axis: choice for choice in point} for point in (one, other))
    axes = [axis for axis in {**first, **second} if first.get(axis) is not second.get(axis)]
    values = ", ".join(f"{axis} ({_label(first.get(axis))} and {_label(second.get(axis))})" for axis in axes)
    return f"they differ in {values}, so that the pattern needs {{{axes[0]}}}"


def _label(choice: Choice | None) -> str:
    return "none" if choice is None else choice.label
