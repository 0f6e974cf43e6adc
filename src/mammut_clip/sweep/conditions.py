"""Conditions of rules, cells and exclusions: `{samples_seen: {at_least: 300M}, family: mammut}` holds at some points of
a grid.

They are read once and then asked thousands of times: Condition.holds(Seen of a point).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mammut_clip.config.base import Config, nearest
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.files import is_path
from mammut_clip.config.load import validate
from mammut_clip.config.model import FAMILIES, ModelConfig, load_model_config
from mammut_clip.sweep.keys import canonical, find_key, known_keys, read_value
from mammut_clip.sweep.values import Flat, nest

_ABSENT = object()


class Seen(dict[str, Any]):
    """What conditions see of one point, by dotted key: its values, names chosen on axes of alternatives, `family`.

    Looked up when first asked for.
    """

    def __init__(self, values: Flat, alternatives: Mapping[str, str]) -> None:
        super().__init__(alternatives)
        self._values = values

    def __missing__(self, key: str) -> Any:
        self[key] = found = self._look_up(key)
        return found

    def _look_up(self, key: str) -> Any:
        if key == "family":
            return _family(self._values)
        if key in self._values:
            return canonical(key, self._values[key])
        if key == "model":
            return self._values.get("model.name", _ABSENT)
        schema = find_key(key)
        return schema.default if schema is not None and schema.has_default else _ABSENT


class Range(Config):
    """Bounds of a number or an amount, in place of values: all that are given must hold."""

    at_least: Any = None
    above: Any = None
    at_most: Any = None
    below: Any = None

    def holds(self, actual: Any) -> bool:
        return (
            isinstance(actual, int | float)
            and (self.at_least is None or actual >= self.at_least)
            and (self.above is None or actual > self.above)
            and (self.at_most is None or actual <= self.at_most)
            and (self.below is None or actual < self.below)
        )


@dataclass(frozen=True)
class Vocabulary:
    """Words of one sweep that conditions may use beside the keys of the run config."""

    alternatives: Mapping[str, Collection[str]]
    """Axis -> its named alternatives."""
    models: Collection[str]
    """Models by name: those in configs/models and those that the sweep writes out."""


@dataclass(frozen=True)
class Clause:
    """What one key must be."""

    key: str
    wanted: tuple[Any, ...] = ()
    """Values of which it must have one."""
    bounds: Range | None = None
    """Or where it must lie."""

    def holds(self, seen: Seen) -> bool:
        actual = seen[self.key]
        return self.bounds.holds(actual) if self.bounds is not None else actual in self.wanted


@dataclass(frozen=True)
class Condition:
    """Clauses that must all hold."""

    clauses: tuple[Clause, ...]

    def holds(self, seen: Seen) -> bool:
        for clause in self.clauses:  # noqa: SIM110  a generator would take half of the time of a large grid
            if not clause.holds(seen):
                return False
        return True


def read_condition(condition: Mapping[str, Any], where: str, words: Vocabulary) -> tuple[Condition, list[Problem]]:
    """A condition and what is wrong with it: unknown keys, values that cannot occur.

    `where` is its place in the sweep file.
    """
    clauses, problems = [], []
    for key, wanted in condition.items():
        try:
            clauses.append(_clause(key, wanted, words))
        except ConfigError as error:
            problems += [Problem(_below(f"{where}.{key}", p.key), p.expected, p.value) for p in error.problems]
    return Condition(tuple(clauses)), problems


def _clause(key: str, wanted: Any, words: Vocabulary) -> Clause:
    if key in words.alternatives or key in ("family", "model"):
        return Clause(key, _values(key, wanted, words))
    schema = find_key(key)
    if schema is None:
        known = [*words.alternatives, "family", *known_keys()]
        raise ConfigError("", [Problem("", f"unknown key; {nearest(key, known)}")])
    if schema.is_section:
        raise ConfigError("", [Problem("", "this is a section: name one of its keys", wanted)])
    if schema.is_number and isinstance(wanted, dict):
        return Clause(key, bounds=_range(key, wanted))
    if isinstance(wanted, list) and wanted and _is_possible(key, wanted):
        # Where a key takes lists (optimizer.betas), a list may be one value as well as several.
        return Clause(key, tuple(canonical(key, value) for value in [wanted, *wanted]))
    return Clause(key, _values(key, wanted, words))


def _is_possible(key: str, value: Any) -> bool:
    try:
        read_value(key, value)
    except ValueError:
        return False
    return True


def _values(key: str, wanted: Any, words: Vocabulary) -> tuple[Any, ...]:
    """The values of which one must hold, as `Seen` gives them."""
    items = wanted if isinstance(wanted, list) else [wanted]
    problems = [Problem("", why, item) for item in items if (why := _why_impossible(key, item, words))]
    if not items:
        problems = [Problem("", "no value is named: no run would fit", wanted)]
    if problems:
        raise ConfigError("", problems)
    return tuple(item if key in words.alternatives else canonical(key, item) for item in items)


def _why_impossible(key: str, value: Any, words: Vocabulary) -> str | None:
    if key in words.alternatives:
        possible: Collection[str] = words.alternatives[key]
    elif key == "family":
        possible = FAMILIES
    elif key == "model" and isinstance(value, str) and not is_path(Path(value)):
        possible = words.models
    else:
        try:
            read_value(key, value)
        except ValueError as error:
            return str(error)
        return None
    return None if value in possible else nearest(str(value), list(possible))


def _range(key: str, wanted: dict[str, Any]) -> Range:
    given = validate(Range, wanted, "")
    bounds: dict[str, Any] = {}
    for name, value in given:
        if value is not None:
            try:
                bounds[name] = read_value(key, value)
            except ValueError as error:
                raise ConfigError("", [Problem(name, str(error), value)]) from error
    if not bounds:
        raise ConfigError("", [Problem("", "expected bounds: at_least, above, at_most, below", wanted)])
    low, high = bounds.get("at_least", bounds.get("above")), bounds.get("at_most", bounds.get("below"))
    if low is not None and high is not None and (low > high or (low == high and len(bounds.keys() & _CLOSED) < 2)):
        raise ConfigError("", [Problem("", "nothing lies between these bounds", wanted)])
    return Range(**bounds)


_CLOSED = {"at_least", "at_most"}


def _below(where: str, key: str) -> str:
    return f"{where}.{key}" if key else where


def _family(values: Flat) -> Any:
    model = values["model"] if "model" in values else nest(values).get("model")
    for _ in range(3):  # {architecture: name} or {name} -> name -> the model of this name
        if isinstance(model, str):
            model = known_model(model)
        if isinstance(model, dict) and "family" not in model:
            model = model.get("architecture", model.get("name"))
    return model.get("family") if isinstance(model, dict) else getattr(model, "family", _ABSENT)


@cache
def known_model(name: str) -> ModelConfig | None:
    """The architecture of a model by name or path, read once; None where there is none: the run's check says so."""
    try:
        return load_model_config(name)
    except ConfigError:
        return None
