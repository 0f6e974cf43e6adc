"""Conditions of rules and exclusions: `{samples_seen: [1.28M, 3M], family: mammut}` holds at a point of a grid."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.model import FAMILIES, ModelConfig, list_model_names, load_model_config
from mammut_clip.config.quantity import parse_quantity
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.sweep.keys import canonical, find_key, known_keys

_ABSENT = object()


def holds(condition: Mapping[str, Any], alternatives: Mapping[str, str], values: Mapping[str, Any]) -> bool:
    """Whether every key of the condition has the value, or one of the values, asked for.

    `alternatives` are the names chosen on axes of named alternatives; `values` is the run config so far, nested.
    """
    return all(_matches(key, wanted, _actual(key, alternatives, values)) for key, wanted in condition.items())


def _matches(key: str, wanted: Any, actual: Any) -> bool:
    if actual is _ABSENT:
        return False
    actual = canonical(key, actual)
    if canonical(key, wanted) == actual:
        return True
    return isinstance(wanted, list) and any(canonical(key, item) == actual for item in wanted)


def _actual(key: str, alternatives: Mapping[str, str], values: Mapping[str, Any]) -> Any:
    if key in alternatives:
        return alternatives[key]
    if key == "family":
        return _family(values.get("model"))
    found: Any = values
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            schema = find_key(key)
            return schema.default if schema is not None and schema.has_default else _ABSENT
        found = found[part]
    return found


def _family(model: Any) -> Any:
    architecture = known_model(model) if isinstance(model, str) else model
    if isinstance(architecture, dict):
        architecture = architecture.get("architecture", architecture)
    if isinstance(architecture, dict):
        return architecture.get("family", _ABSENT)
    return getattr(architecture, "family", _ABSENT)


@cache
def known_model(name: str) -> ModelConfig | None:
    """The architecture of a model by name or path, read once; None where there is none: the run's check says so."""
    try:
        return load_model_config(name)
    except ConfigError:
        return None


def problems_in(condition: Mapping[str, Any], where: str, config: SweepConfig) -> list[Problem]:
    """What is wrong with a condition before any run is looked at: unknown keys and values that cannot occur."""
    named = {name: list(values) for name, values in config.axes.items() if isinstance(values, dict)}
    problems = []
    for key, wanted in condition.items():
        known = [*named, "family", *known_keys()]
        if key not in known:
            problems.append(Problem(f"{where}.{key}", f"unknown key; {nearest(key, known)}"))
            continue
        for value in wanted if isinstance(wanted, list) else [wanted]:
            problem = _impossible(key, value, named)
            if problem:
                problems.append(Problem(f"{where}.{key}", problem, value))
    return problems


def _impossible(key: str, value: Any, named: Mapping[str, list[str]]) -> str | None:
    possible = {**named, "family": list(FAMILIES)}.get(key)
    if key == "model" and isinstance(value, str) and not value.endswith((".yaml", ".yml", ".json")):
        possible = list_model_names()
    if possible is not None and value not in possible:
        return nearest(str(value), possible)
    schema = find_key(key)
    if schema is not None and schema.is_samples and value is not None:
        try:
            parse_quantity(value)
        except ValueError as error:
            return str(error)
    return None
