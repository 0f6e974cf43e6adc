"""Axes of a grid: each has choices, each choice sets keys of the run config. A point of the grid is one choice of each
axis, in an order that does not depend on how the file is written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mammut_clip.config.errors import Problem
from mammut_clip.config.run import SAFE_NAME
from mammut_clip.sweep.keys import label
from mammut_clip.sweep.values import Flat, flatten

Axes = Mapping[str, list[Any] | dict[str, dict[str, Any]]]
"""As in the sweep file: key -> values, or any name -> named alternatives."""


@dataclass(frozen=True)
class Choice:
    """One value on one axis."""

    axis: str
    label: str
    """As it stands in a run's name."""
    sets: Flat
    is_alternative: bool
    """Whether it is one of named alternatives."""


Point = tuple[Choice, ...]


def choices(axes: Axes) -> list[list[Choice]]:
    """The choices of each axis. Raises ValueError for values that have no name; `axis_problems` says which."""
    return [_choices(name, axes[name]) for name in sorted(axes, key=_place)]


def in_order(point: Point) -> Point:
    """Model, samples seen, then by name, wherever in the sweep file an axis stands."""
    return tuple(sorted(point, key=lambda choice: _place(choice.axis)))


def alternatives(point: Point) -> dict[str, str]:
    """Axis -> name, for its named alternatives."""
    return {choice.axis: choice.label for choice in point if choice.is_alternative}


def keys_set(axes: Axes) -> dict[str, str]:
    """Dotted key -> the axis that sets it."""
    return {key: name for name, values in axes.items() for key in _keys(name, values)}


def axis_problems(axes: Axes, where: str) -> Iterator[Problem]:
    """Names and values that no run's name could be made of."""
    for name, values in axes.items():
        if name == "family":
            yield Problem(f"{where}.{name}", "a model's family has this name; call the axis otherwise")
        elif isinstance(values, dict):
            for alternative in values:
                if not isinstance(alternative, str) or not SAFE_NAME.match(alternative):
                    yield Problem(f"{where}.{name}", "expected a name of letters, digits and . _ = + -", alternative)
        else:
            yield from _value_problems(name, values, f"{where}.{name}")


def _value_problems(name: str, values: list[Any], where: str) -> Iterator[Problem]:
    seen: dict[str, Any] = {}
    for value in values:
        try:
            text = label(name, value)
        except ValueError as error:
            yield Problem(where, str(error), value)
            continue
        if text in seen:
            both = f"two values of one name, {text}: {seen[text]!r} and this"
            yield Problem(where, f"{both}; leave one out, or write named alternatives", value)
        seen.setdefault(text, value)


def _place(axis: str) -> tuple[int, str]:
    first = ["model", "samples_seen"]
    return (first.index(axis) if axis in first else len(first), axis)


def _choices(name: str, values: list[Any] | dict[str, dict[str, Any]]) -> list[Choice]:
    if isinstance(values, dict):
        return [Choice(name, alternative, flatten(sets), True) for alternative, sets in values.items()]
    return [Choice(name, label(name, value), flatten({name: value}), False) for value in values]


def _keys(name: str, values: list[Any] | dict[str, dict[str, Any]]) -> set[str]:
    if isinstance(values, dict):
        return {key for sets in values.values() for key in flatten(sets)}
    return {name}
