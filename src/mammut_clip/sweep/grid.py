"""Grid -> runs: the product of the axes, less the exclusions, with the rules applied, each run checked.

Pure but for reading the recipe and model files: the same sweep gives the same runs in the same order, in whatever
order the axes are written.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.files import find_file
from mammut_clip.config.load import read_mapping, validate
from mammut_clip.config.run import SAFE_NAME, RunConfig
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.sweep import conditions
from mammut_clip.sweep.keys import SET_BY_THE_SWEEP, find_key, known_keys, label

RESERVED_NAMES = {"launch"}
"""Folders in a sweep's directory that are no runs."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    id: str
    """The run's name."""
    config: RunConfig
    gpus: int | None
    """GPUs the sweep asks for; None leaves it to the cluster."""


@dataclass(frozen=True)
class _Choice:
    """One value on one axis."""

    axis: str
    label: str
    sets: dict[str, Any]
    is_alternative: bool


def expand(config: SweepConfig, source: str | None = None) -> list[RunConfig]:
    """The runs of a sweep, in a fixed order. Raises ConfigError with everything that is wrong."""
    return [cell.config for cell in cells(config, source)]


def cells(config: SweepConfig, source: str | None = None) -> list[Cell]:
    """The runs of a sweep with what the sweep says beside their config; `source` is the file named in messages."""
    source = source or f"sweep {config.name}"
    problems = list(_problems(config))
    if problems:
        raise ConfigError(source, problems)
    base = _base(config, source)
    points = [point for point in itertools.product(*_axes(config)) if not _excluded(config, point, base, source)]
    if not points:
        raise ConfigError(source, [Problem("exclude", "no run is left")])
    ids = [_run_id(config, point) for point in points]
    _check_ids(ids, points, source)
    return _resolve(config, base, points, ids, source)


def _problems(config: SweepConfig) -> Iterator[Problem]:
    """Unknown keys and contradictions, found before any run is made."""
    yield from _key_problems(config.overrides, "overrides")
    owner: dict[str, str] = {}
    for name, values in config.axes.items():
        if isinstance(values, dict):
            for alternative, sets in values.items():
                if not SAFE_NAME.match(alternative):
                    yield Problem(f"axes.{name}", "expected a name of letters, digits and . _ = + -", alternative)
                yield from _key_problems(sets, f"axes.{name}.{alternative}")
        else:
            yield from _key_problems({name: None}, "axes")
            yield from _unnameable(name, values)
        keys = {key for sets in values.values() for key in sets} if isinstance(values, dict) else {name}
        for key in sorted(keys):
            if owner.setdefault(key, name) != name:
                yield Problem(
                    f"axes.{name}", f"{key} is set by the axis {owner[key]} too; one of them must leave it out"
                )
    for number, rule in enumerate(config.rules, start=1):
        yield from conditions.problems_in(rule.when, f"rules[{number}].when", config)
        yield from _key_problems({k: v for k, v in rule.set.items() if k != "gpus"}, f"rules[{number}].set")
        if "gpus" in rule.set and not (type(rule.set["gpus"]) is int and rule.set["gpus"] > 0):
            yield Problem(f"rules[{number}].set.gpus", "expected a whole number of GPUs, at least 1", rule.set["gpus"])
        for key in sorted(set(rule.set) & set(owner)):
            yield Problem(f"rules[{number}].set.{key}", f"the axis {owner[key]} sets this key; a rule would undo it")
    for number, condition in enumerate(config.exclude, start=1):
        yield from conditions.problems_in(condition, f"exclude[{number}]", config)
    for name in _PLACEHOLDER.findall(config.name_pattern or ""):
        if name not in config.axes:
            yield Problem(
                "name_pattern", f"{{{name}}} is no axis; {nearest(name, list(config.axes))}", config.name_pattern
            )


def _key_problems(sets: dict[str, Any], where: str) -> Iterator[Problem]:
    for key, value in sets.items():
        if key in SET_BY_THE_SWEEP:
            yield Problem(f"{where}.{key}", f"a grid cannot set this; {SET_BY_THE_SWEEP[key]}", value)
        elif find_key(key) is None:
            yield Problem(f"{where}.{key}", f"unknown key of the run config; {nearest(key, known_keys())}")


def _unnameable(name: str, values: list[Any]) -> Iterator[Problem]:
    for value in values:
        try:
            label(name, value)
        except ValueError as error:
            yield Problem(f"axes.{name}", str(error), value)


def _base(config: SweepConfig, source: str) -> dict[str, Any]:
    """The recipe as plain values, with the sweep's overrides."""
    if isinstance(config.base, dict):
        values = _copy(config.base)
    else:
        values = read_mapping(find_file("configs/train", config.base, source=source, key="base"))
    for key, value in config.overrides.items():
        _set(values, key, value, source, f"overrides.{key}")
    return values


def _axes(config: SweepConfig) -> list[list[_Choice]]:
    """The axes in a fixed order: model, samples seen, then by name."""
    first = ["model", "samples_seen"]
    names = [name for name in first if name in config.axes] + sorted(set(config.axes) - set(first))
    return [_choices(name, config.axes[name]) for name in names]


def _choices(name: str, values: list[Any] | dict[str, dict[str, Any]]) -> list[_Choice]:
    if isinstance(values, dict):
        return [_Choice(name, alternative, sets, True) for alternative, sets in values.items()]
    return [_Choice(name, label(name, value), {name: value}, False) for value in values]


def _values(base: dict[str, Any], point: tuple[_Choice, ...], source: str) -> dict[str, Any]:
    values = _copy(base)
    for choice in point:
        for key, value in choice.sets.items():
            _set(values, key, value, source, f"axes.{choice.axis}")
    return values


def _alternatives(point: tuple[_Choice, ...]) -> dict[str, str]:
    return {choice.axis: choice.label for choice in point if choice.is_alternative}


def _excluded(config: SweepConfig, point: tuple[_Choice, ...], base: dict[str, Any], source: str) -> bool:
    if not config.exclude:
        return False
    values = _values(base, point, source)
    return any(conditions.holds(condition, _alternatives(point), values) for condition in config.exclude)


def _run_id(config: SweepConfig, point: tuple[_Choice, ...]) -> str:
    labels = {choice.axis: choice.label for choice in point}
    if config.name_pattern is not None:
        return _PLACEHOLDER.sub(lambda match: labels[match.group(1)], config.name_pattern)
    speak_for_themselves = {"model", "samples_seen"} | set(_alternatives(point))
    parts = [
        text if name in speak_for_themselves else f"{name.rpartition('.')[2]}{text}" for name, text in labels.items()
    ]
    return "-".join(parts) or config.name


def _check_ids(ids: list[str], points: list[tuple[_Choice, ...]], source: str) -> None:
    problems = []
    seen: dict[str, tuple[_Choice, ...]] = {}
    for run_id, point in zip(ids, points, strict=True):
        if not SAFE_NAME.match(run_id) or run_id in RESERVED_NAMES:
            expected = (
                f"expected a name of letters, digits and . _ = + - (at most 128), and not {', '.join(RESERVED_NAMES)}"
            )
            problems.append(Problem("name_pattern", expected, run_id))
        other = seen.setdefault(run_id, point)
        if other is not point:
            differ = [f"{a.axis} ({a.label} and {b.label})" for a, b in zip(other, point, strict=True) if a is not b]
            problems.append(
                Problem("name_pattern", f"two runs of one name; they differ in {', '.join(differ)}", run_id)
            )
    if problems:
        raise ConfigError(source, problems[:20])


def _resolve(
    config: SweepConfig, base: dict[str, Any], points: list[tuple[_Choice, ...]], ids: list[str], source: str
) -> list[Cell]:
    """Every run's config, or one ConfigError that names each problem once, with the runs that have it."""
    made: list[Cell] = []
    first: ConfigError | None = None
    found: dict[str, tuple[Problem, list[str]]] = {}
    for run_id, point in zip(ids, points, strict=True):
        values = _values(base, point, source)
        gpus = _apply_rules(config, point, values, source)
        values |= {"name": run_id, "sweep": config.name, "model": _with_architecture(values.get("model"))}
        if values["model"] is None:
            del values["model"]
        try:
            made.append(Cell(run_id, validate(RunConfig, values, f"{source}, run {run_id}"), gpus))
        except ConfigError as error:
            first = first or error
            for problem in error.problems:
                found.setdefault(str(problem), (problem, []))[1].append(run_id)
    if first is None:
        return made
    if len({run_id for _, runs in found.values() for run_id in runs}) == 1:
        raise first
    raise ConfigError(source, [_with_runs(problem, runs) for problem, runs in found.values()])


def _apply_rules(config: SweepConfig, point: tuple[_Choice, ...], values: dict[str, Any], source: str) -> int | None:
    """Set what the rules say in `values`; the number of GPUs."""
    gpus = config.gpus
    # Conditions see the values before any rule, so that the order of rules matters for one key only.
    before = _copy(values)
    for number, rule in enumerate(config.rules, start=1):
        if conditions.holds(rule.when, _alternatives(point), before):
            for key, value in rule.set.items():
                if key == "gpus":
                    gpus = value
                else:
                    _set(values, key, value, source, f"rules[{number}].set.{key}")
    return gpus


def _with_runs(problem: Problem, runs: list[str]) -> Problem:
    others = len(runs) - 3
    which = ", ".join(runs[:3]) + (f" and {others} more" if others > 0 else "")
    text = f"{problem.expected} (run{'s' if len(runs) > 1 else ''} {which})"
    return Problem(problem.key, text, problem.value)


def _with_architecture(model: Any) -> Any:
    """A model given by name with its architecture, read once; anything else stays for the run's own check."""
    architecture = conditions.known_model(model) if isinstance(model, str) else None
    return model if architecture is None else {"name": model, "architecture": architecture}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _set(values: dict[str, Any], dotted: str, value: Any, source: str, where: str) -> None:
    """Set a dotted key in nested values; a mapping is merged into one that stands there."""
    *sections, last = dotted.split(".")
    target = values
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(
                source, [Problem(where, f"{section} is the single value {target!r} and has no keys", value)]
            )
    if isinstance(value, dict) and isinstance(target.get(last), dict):
        for key, inner in value.items():
            _set(target[last], key, inner, source, where)
    else:
        target[last] = _copy(value)
