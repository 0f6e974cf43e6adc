"""What is wrong in a sweep file before any run is made of it: unknown keys, contradictions, files that are not there.

Each problem is said with its place; the first rule is `rules.0`, as in all messages about lists in configs.
"""

from collections.abc import Callable, Iterator
from typing import Any

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.files import find_file
from mammut_clip.config.fit_kinds import load_fit_spec
from mammut_clip.config.model import list_model_names
from mammut_clip.config.suites import resolve_evaluation
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.sweep.axes import Axes, axis_problems, keys_set
from mammut_clip.sweep.conditions import Vocabulary, read_condition
from mammut_clip.sweep.keys import SET_BY_THE_SWEEP, canonical, find_key, known_keys
from mammut_clip.sweep.naming import placeholders
from mammut_clip.sweep.values import flatten, overlap

SIZES = ("gpus", "nodes")
"""What rules set beside keys of the run config."""


def grid_problems(config: SweepConfig) -> Iterator[Problem]:
    """What keeps the grid from being made."""
    words = vocabulary(config)
    yield from _key_problems(config.overrides, "overrides")
    yield from _axes_problems(config.axes, "axes", {})
    owner = keys_set(config.axes)
    for number, cell in enumerate(config.cells):
        where = f"cells.{number}"
        # A cell is chosen by what it is without the axes of cells.
        yield from read_condition(cell.when, f"{where}.when", vocabulary(config, of_cells=False))[1]
        yield from _axes_problems(cell.axes, f"{where}.axes", owner)
        for name in sorted(set(cell.axes) & set(config.axes) - set(owner)):
            yield Problem(f"{where}.axes.{name}", "the sweep has an axis of this name; call one of them otherwise")
    for number, rule in enumerate(config.rules):
        yield from read_condition(rule.when, f"rules.{number}.when", words)[1]
        yield from _rule_problems(rule.set, f"rules.{number}.set", owner)
    for number, condition in enumerate(config.exclude):
        yield from read_condition(condition, f"exclude.{number}", words)[1]
    yield from _pattern_problems(config)
    yield from _evaluation_said_twice(config)


def file_problems(config: SweepConfig, source: str) -> Iterator[Problem]:
    """Files that the sweep names beside its recipe, which are missing or are not what they should be."""
    if config.evaluation is not None:
        evaluation = config.evaluation
        yield from _said(source, "evaluation.suite", lambda: resolve_evaluation(evaluation, source=source))
    for number, name in enumerate(config.laws):
        key = f"laws.{number}"
        yield from _said(source, key, lambda name=name, key=key: _read_law(name, source, key))  # type: ignore[misc]


def vocabulary(config: SweepConfig, of_cells: bool = True) -> Vocabulary:
    """What conditions of this sweep may name, with or without the axes of its cells."""
    alternatives: dict[str, set[str]] = {}
    sets = [config.overrides, *([config.base] if isinstance(config.base, dict) else [])]
    for axes in [config.axes, *(cell.axes for cell in config.cells if of_cells)]:
        for axis, values in axes.items():
            if isinstance(values, dict):
                alternatives.setdefault(axis, set()).update(values)
                sets += values.values()
            elif axis == "model":
                sets += [{axis: value} for value in values]
    flat = [flatten(some) for some in sets]
    models = [canonical("model", some["model"]) for some in flat if "model" in some]
    models += [some["model.name"] for some in flat if "model.name" in some]
    return Vocabulary(alternatives, {*list_model_names(), *(name for name in models if isinstance(name, str))})


def _axes_problems(axes: Axes, where: str, taken: dict[str, str]) -> Iterator[Problem]:
    """`taken`: keys that other axes of the same runs set, with the name of each axis."""
    yield from axis_problems(axes, where)
    for name, values in axes.items():
        if isinstance(values, dict):
            for alternative, sets in values.items():
                yield from _key_problems(sets, f"{where}.{name}.{alternative}")
        else:
            yield from _key_problems({name: None}, where)
    seen = dict(taken)
    for name, values in axes.items():
        keys = keys_set({name: values})
        for key in sorted(keys):
            other = next((axis for set_key, axis in seen.items() if overlap(key, set_key)), None)
            if other is not None:
                yield Problem(f"{where}.{name}", f"{key} is set by the axis {other} too; one of them must leave it out")
        seen |= keys


def _key_problems(sets: dict[str, Any], where: str, more: tuple[str, ...] = ()) -> Iterator[Problem]:
    """`more`: keys that may be set here beside those of the run config."""
    for key, value in flatten(sets).items():
        if key in SET_BY_THE_SWEEP:
            yield Problem(f"{where}.{key}", f"a grid cannot set this; {SET_BY_THE_SWEEP[key]}", value)
        elif key not in more and find_key(key) is None:
            yield Problem(f"{where}.{key}", f"unknown key of the run config; {nearest(key, [*more, *known_keys()])}")


def _rule_problems(sets: dict[str, Any], where: str, owner: dict[str, str]) -> Iterator[Problem]:
    yield from _key_problems(sets, where, more=SIZES)
    for size in SIZES:
        if size in sets and not (type(sets[size]) is int and sets[size] > 0):
            yield Problem(f"{where}.{size}", f"expected a whole number of {_SIZE_NAMES[size]}, at least 1", sets[size])
    if all(size in sets for size in SIZES):
        yield Problem(f"{where}.nodes", "gpus and nodes say the same in two ways: give one of them", sets["nodes"])
    for key in flatten(sets):
        axis = next((axis for set_key, axis in owner.items() if overlap(key, set_key)), None)
        if axis is not None:
            yield Problem(f"{where}.{key}", f"the axis {axis} sets this key; a rule would undo it")


_SIZE_NAMES = {"gpus": "GPUs", "nodes": "nodes"}


def _pattern_problems(config: SweepConfig) -> Iterator[Problem]:
    known = list(dict.fromkeys([*config.axes, *(name for cell in config.cells for name in cell.axes)]))
    for name in placeholders(config.name_pattern):
        if name not in known:
            yield Problem("name_pattern", f"{{{name}}} is no axis; {nearest(name, known)}", config.name_pattern)


def _evaluation_said_twice(config: SweepConfig) -> Iterator[Problem]:
    if config.evaluation is None:
        return
    places: list[tuple[str, list[str]]] = [("overrides", list(flatten(config.overrides)))]
    places += [(f"axes.{axis}", [key]) for key, axis in keys_set(config.axes).items()]
    for number, cell in enumerate(config.cells):
        places += [(f"cells.{number}.axes.{axis}", [key]) for key, axis in keys_set(cell.axes).items()]
    places += [(f"rules.{number}.set", list(flatten(rule.set))) for number, rule in enumerate(config.rules)]
    for where, keys in places:
        for key in keys:
            if overlap(key, "evaluation"):
                place = where if where.endswith(key) else f"{where}.{key}"
                yield Problem(place, "the sweep's `evaluation` says how its checkpoints are evaluated; leave out one")


def _read_law(name: str, source: str, key: str) -> None:
    load_fit_spec(find_file("fit", name, source=source, key=key))


def _said(source: str, key: str, check: Callable[[], object]) -> list[Problem]:
    """What a check has to say, as problems of this sweep."""
    try:
        check()
    except ConfigError as error:
        return of_the_sweep(error, source, key)
    return []


def of_the_sweep(error: ConfigError, source: str, key: str) -> list[Problem]:
    """The problems of an error as those of the sweep, under the key that names the file they are in."""
    if error.source == source:
        return error.problems
    return [Problem(key, f"in {error.source}: {problem}") for problem in error.problems]
