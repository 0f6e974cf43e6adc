"""Grid -> runs: the product of the axes, with those of each cell, less the exclusions, with the rules applied, each run
checked.

    base recipe + overrides + evaluation  -> what all runs have in common
    x one choice of each axis             -> cells; the last entry of `cells` that fits one adds axes to it
    x one choice of each of its axes      -> points, less those that an exclusion fits
    + rules, which see the point          -> runs

Pure but for reading the files that the sweep names: the same sweep gives the same runs in the same order, in whatever
order its axes are written.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.files import find_file
from mammut_clip.config.load import read_mapping, validate
from mammut_clip.config.run import RunConfig
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.sweep.axes import Choice, Point, alternatives, choices, in_order
from mammut_clip.sweep.conditions import Condition, Seen, known_model, read_condition
from mammut_clip.sweep.findings import with_runs
from mammut_clip.sweep.naming import run_ids
from mammut_clip.sweep.problems import SIZES, file_problems, grid_problems, of_the_sweep, vocabulary
from mammut_clip.sweep.values import Flat, assign, flatten, nest, overlap


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    id: str
    """The run's name."""
    config: RunConfig
    gpus: int | None
    """GPUs the sweep asks for; None leaves it to `nodes`, or to the cluster."""
    nodes: int | None = None
    """Whole nodes the sweep asks for, in place of GPUs."""


@dataclass(frozen=True)
class _Place:
    """A point of the grid with its values before any rule, so that the order of rules matters for one key only."""

    point: Point
    values: Flat
    seen: Seen
    of_cell: frozenset[str]
    """Keys that axes of its cell set."""


@dataclass(frozen=True)
class _Rule:
    when: Condition
    sets: Flat
    sizes: dict[str, int]
    """`gpus` or `nodes`."""
    where: str


def expand(config: SweepConfig, source: str | None = None) -> list[RunConfig]:
    """The runs of a sweep, in a fixed order. Raises ConfigError with everything that is wrong."""
    return [cell.config for cell in cells(config, source)]


def cells(config: SweepConfig, source: str | None = None, beside: Sequence[Problem] = ()) -> list[Cell]:
    """The runs of a sweep with what the sweep says beside their config; `source` is the file named in messages.

    Raises ConfigError with everything that is wrong, `beside` among it: what is known to be wrong already.
    """
    source = source or f"sweep {config.name}"
    # What a file is wrong in is said together with what the runs are wrong in: it keeps no run from being made.
    beside = [*file_problems(config, source), *beside]
    try:
        made = _cells(config, source)
    except ConfigError as error:
        if not beside:
            raise
        run = error.source.removeprefix(source).removeprefix(", ")
        raise ConfigError(source, [_with_where(problem, run) for problem in error.problems] + beside) from error
    if beside:
        raise ConfigError(source, beside)
    return made


def _cells(config: SweepConfig, source: str) -> list[Cell]:
    problems = list(grid_problems(config))
    try:
        base = _base(config, source)
    except ConfigError as error:
        raise ConfigError(source, problems + of_the_sweep(error, source, "base")) from error
    if problems:
        raise ConfigError(source, problems)
    places = list(_places(config, base, source))
    if not places:
        raise ConfigError(source, [Problem("exclude", "no run is left")])
    ids = run_ids(config, [place.point for place in places], source)
    return _resolve(config, places, ids, source)


def _base(config: SweepConfig, source: str) -> Flat:
    """What all runs have in common: the recipe, the sweep's overrides, and its evaluation."""
    if isinstance(config.base, dict):
        values = flatten(config.base)
    else:
        values = flatten(read_mapping(find_file("configs/train", config.base, source=source, key="base")))
    _assign(values, flatten(config.overrides), source, "overrides")
    if config.evaluation is not None:
        _assign(values, {"evaluation": {}} | flatten({"evaluation": _inside_training(config)}), source, "evaluation")
    return values


def _inside_training(config: SweepConfig) -> dict[str, Any]:
    """The runs' own `evaluation`: nothing, where jobs of their own evaluate."""
    said = config.evaluation
    if said is None or said.where == "jobs":
        return {}
    return {"suite": said.suite, "data_root": said.data_root, "every": said.every}


def _places(config: SweepConfig, base: Flat, source: str) -> Iterator[_Place]:
    """Every point that no exclusion fits."""
    words = vocabulary(config)
    exclusions = [read_condition(condition, "exclude", words)[0] for condition in config.exclude]
    entries = [(read_condition(cell.when, "cells", words)[0], choices(cell.axes)) for cell in config.cells]
    for point in itertools.product(*choices(config.axes)):
        place = _place(base, point, (), source)
        inner = next((axes for when, axes in reversed(entries) if when.holds(place.seen)), [])
        for more in itertools.product(*inner):
            if more:
                place = _place(base, point, more, source)
            if not any(exclusion.holds(place.seen) for exclusion in exclusions):
                yield place


def _place(base: Flat, point: Point, of_cell: Point, source: str) -> _Place:
    values = dict(base)
    for choice in (*point, *of_cell):
        _assign(values, choice.sets, source, f"axes.{choice.axis}")
    whole = in_order((*point, *of_cell)) if of_cell else point
    return _Place(whole, values, Seen(values, alternatives(whole)), _keys(of_cell))


def _keys(point: tuple[Choice, ...]) -> frozenset[str]:
    return frozenset(key for choice in point for key in choice.sets)


def _assign(values: Flat, sets: Flat, source: str, where: str) -> None:
    try:
        assign(values, sets)
    except ValueError as error:
        raise ConfigError(source, [Problem(where, str(error), sets)]) from error


def _resolve(config: SweepConfig, places: list[_Place], ids: list[str], source: str) -> list[Cell]:
    """Every run's config, or one ConfigError that names each problem once, with the runs that have it."""
    rules = _rules(config)
    made: list[Cell] = []
    first: ConfigError | None = None
    found: dict[str, tuple[Problem, list[str]]] = {}
    for run_id, place in zip(ids, places, strict=True):
        sizes = _apply(rules, place, {size: getattr(config, size) for size in SIZES}, source)
        values = nest(place.values) | {"name": run_id, "sweep": config.name}
        if isinstance(values.get("model"), str):
            values["model"] = _with_architecture(values["model"])
        try:
            made.append(Cell(run_id, validate(RunConfig, values, f"{source}, run {run_id}"), **sizes))
        except ConfigError as error:
            first = first or error
            for problem in error.problems:
                found.setdefault(str(problem), (problem, []))[1].append(run_id)
    if first is None:
        return made
    if len({run_id for _, runs in found.values() for run_id in runs}) == 1:
        raise first
    raise ConfigError(source, [with_runs(problem, runs) for problem, runs in found.values()])


def _rules(config: SweepConfig) -> list[_Rule]:
    words = vocabulary(config)
    rules = []
    for number, rule in enumerate(config.rules):
        where = f"rules.{number}"
        sets = {key: value for key, value in rule.set.items() if key not in SIZES}
        sizes = {size: rule.set[size] for size in SIZES if size in rule.set}
        rules.append(_Rule(read_condition(rule.when, f"{where}.when", words)[0], flatten(sets), sizes, f"{where}.set"))
    return rules


def _apply(rules: list[_Rule], place: _Place, sizes: dict[str, int | None], source: str) -> dict[str, int | None]:
    """Set what the rules say in the place's values; its GPUs and nodes."""
    for rule in [rule for rule in rules if rule.when.holds(place.seen)]:
        sets = rule.sets
        if place.of_cell:  # what is tried in a cell is not undone by what else holds there
            sets = {k: v for k, v in sets.items() if not any(overlap(k, key) for key in place.of_cell)}
        _assign(place.values, sets, source, rule.where)
        if rule.sizes:
            sizes = dict.fromkeys(SIZES) | rule.sizes
    return sizes


def _with_where(problem: Problem, where: str) -> Problem:
    return Problem(problem.key, f"{problem.expected} ({where})", problem.value) if where else problem


def _with_architecture(name: str) -> Any:
    """A model given by name with its architecture, read once; an unknown one stays for the run's own check."""
    architecture = known_model(name)
    return name if architecture is None else {"name": name, "architecture": architecture}
