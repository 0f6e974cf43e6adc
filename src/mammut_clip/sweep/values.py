"""Values of a run by dotted key, `{"optimizer.lr": 1e-3}`: quick to look up, to copy and to set at thousands of points.

Sections (optimizer, data.shuffle) are taken apart, so that setting one of their keys leaves the others. A mapping that
is one value (data.captions, a model that is written out) stays whole.
"""

from typing import Any

from mammut_clip.sweep.keys import find_key, is_section, sections_above

Flat = dict[str, Any]


def flatten(values: dict[str, Any], prefix: str = "") -> Flat:
    """Nested or dotted values by full dotted key."""
    flat: Flat = {}
    for name, value in values.items():
        key = prefix + str(name)
        if isinstance(value, dict) and is_section(key) and key != "model":
            flat |= flatten(value, key + ".")
            if not value and _may_be_null(key):
                flat[key] = {}  # there, with its defaults; no key below it could say so
        else:
            flat[key] = value
    return flat


def assign(values: Flat, sets: Flat) -> None:
    """Set keys in place. Raises ValueError where one stands below a single value, such as `model.name` below a name."""
    for key, value in sets.items():
        for section in sections_above(key):
            if section in values:
                _take_apart(values, section)
        if is_section(key):
            for below in [other for other in values if other.startswith(key + ".")]:
                del values[below]
        values[key] = value


def _take_apart(values: Flat, section: str) -> None:
    """One key for each that the mapping under `section` has; null has none."""
    inner = values[section]
    if inner is not None and not isinstance(inner, dict):
        raise ValueError(f"{section} is the single value {inner!r} and has no keys")
    del values[section]
    values.update({f"{section}.{name}": value for name, value in (inner or {}).items()})


def nest(values: Flat) -> dict[str, Any]:
    """The same values, nested as the run config reads them."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[last] = value
    return nested


def overlap(one: str, other: str) -> bool:
    """Whether setting one key sets the other too, or part of it."""
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")


def _may_be_null(key: str) -> bool:
    found = find_key(key)
    return found is not None and found.has_default and found.default is None
