"""Dotted keys of the run config: which exist, which are amounts of samples, how their values look in a run's name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from mammut_clip.config.quantity import format_quantity, parse_quantity
from mammut_clip.config.run import RunConfig

SET_BY_THE_SWEEP = {
    "name": "the sweep names its runs (name_pattern)",
    "sweep": "the sweep's own name is used",
    "format": "the version of the schema is not a choice",
}
"""Keys of the run config that a grid cannot set, and why."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._=+-]+")


@dataclass(frozen=True)
class Key:
    """What the run config's schema says about one dotted key."""

    is_samples: bool
    """Whether its values are amounts of samples, such as 1.28M."""
    has_default: bool
    default: Any


@cache
def find_key(dotted: str) -> Key | None:
    """The key's entry in the schema, or None where the run config has no such key."""
    return _known().get(dotted)


def known_keys() -> list[str]:
    """Every dotted key of the run config, sections included."""
    return list(_known())


@cache
def _known() -> dict[str, Key]:
    return dict(_walk(RunConfig, ""))


def _walk(schema: type[BaseModel], prefix: str) -> Iterator[tuple[str, Key]]:
    for name, field in schema.model_fields.items():
        required = field.is_required()
        default = None if required else field.get_default(call_default_factory=True)
        yield prefix + name, Key(_is_samples(field), not required, default)
        for inner in _sections(field.annotation):
            yield from _walk(inner, f"{prefix}{name}.")


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is list:
        return []  # its items have no names of their own
    return [section for argument in get_args(annotation) for section in _sections(argument)]


def _is_samples(field: FieldInfo) -> bool:
    def marked(metadata: Any) -> bool:
        return isinstance(metadata, BeforeValidator) and metadata.func is parse_quantity

    parts = [*field.metadata, *(inner for argument in get_args(field.annotation) for inner in get_args(argument))]
    return any(marked(part) for part in parts)


def canonical(dotted: str, value: Any) -> Any:
    """The value as it is compared: `1.28M` as 1280000, a model as its name."""
    key = find_key(dotted)
    if key is not None and key.is_samples and value is not None:
        try:
            return parse_quantity(value)
        except ValueError:
            return value
    if dotted == "model" and isinstance(value, dict):
        return value.get("name")
    return value


def label(dotted: str, value: Any) -> str:
    """The value as it stands in a run's name: short, without characters that a shell or a file system minds.

    Raises ValueError for a mapping, which has no short form.
    """
    value = canonical(dotted, value)
    if isinstance(value, dict):
        raise ValueError("a mapping has no short name: write the axis as named alternatives")
    if isinstance(value, list | tuple):
        return "+".join(label("", item) for item in value)
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    key = find_key(dotted)
    if key is not None and key.is_samples and isinstance(value, int):
        return format_quantity(value)
    if isinstance(value, int | float):
        return f"{value:.12g}"
    text = str(value)
    if Path(text).suffix in {".yaml", ".yml", ".json"}:
        text = Path(text).stem
    return _UNSAFE.sub("-", text).strip("-") or "empty"
