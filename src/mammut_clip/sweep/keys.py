"""Dotted keys of the run config: which exist, what their values may be, how values look in a run's name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, create_model
from pydantic.fields import FieldInfo

from mammut_clip.config.base import Config
from mammut_clip.config.errors import ConfigError
from mammut_clip.config.load import validate
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

    field: FieldInfo
    is_section: bool
    """Whether it holds further keys, and no value of its own."""
    is_samples: bool
    """Whether its values are amounts of samples, such as 1.28M."""
    is_number: bool
    """Whether its values have an order."""
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
def is_section(dotted: str) -> bool:
    """Whether the run config has further keys below this one."""
    key = find_key(dotted)
    return key is not None and key.is_section


@cache
def sections_above(dotted: str) -> tuple[str, ...]:
    """`a.b.c` -> `a`, `a.b`."""
    parts = dotted.split(".")
    return tuple(".".join(parts[:depth]) for depth in range(1, len(parts)))


@cache
def _known() -> dict[str, Key]:
    return dict(_walk(RunConfig, ""))


def _walk(schema: type[BaseModel], prefix: str) -> Iterator[tuple[str, Key]]:
    for name, field in schema.model_fields.items():
        required = field.is_required()
        default = None if required else field.get_default(call_default_factory=True)
        sections = _sections(field.annotation)
        samples = _is_samples(field)
        number = bool(_single_types(field.annotation) & {int, float})
        yield prefix + name, Key(field, bool(sections), samples, samples or number, not required, default)
        for inner in sections:
            yield from _walk(inner, f"{prefix}{name}.")


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is list:
        return []  # its items have no names of their own
    return [section for argument in get_args(annotation) for section in _sections(argument)]


def _single_types(annotation: Any) -> set[Any]:
    """The types of a value that is no list and no mapping."""
    if get_origin(annotation) in (list, tuple, dict):
        return set()
    inner = [kind for argument in get_args(annotation) for kind in _single_types(argument)]
    return set(inner) if inner else {annotation} if isinstance(annotation, type) else set()


def _is_samples(field: FieldInfo) -> bool:
    def marked(metadata: Any) -> bool:
        return isinstance(metadata, BeforeValidator) and metadata.func is parse_quantity

    if get_origin(field.annotation) is list:
        return False
    parts = [*field.metadata, *(inner for argument in get_args(field.annotation) for inner in get_args(argument))]
    return any(marked(part) for part in parts)


def read_value(dotted: str, value: Any) -> Any:
    """The value as the run config would hold it: `1.28M` as 1280000, `5e-4` as a number, a model as its name.

    Raises ValueError, with what was expected, for a value that the key cannot have. Keys that the run config does not
    have take anything.
    """
    if dotted == "model":
        return value.get("name") if isinstance(value, dict) else value
    schema = _reader(dotted)
    if schema is None:
        return value
    try:
        return dict(validate(schema, {"value": value}, ""))["value"]
    except ConfigError as error:
        raise ValueError(error.problems[0].expected) from error


@cache
def _reader(dotted: str) -> type[Config] | None:
    """A config of this one key, which checks and converts it as the run config does."""
    key = find_key(dotted)
    if key is None or key.is_section:
        return None
    field: Any = (key.field.annotation, key.field)
    return create_model("Reader", __base__=Config, value=field)


def canonical(dotted: str, value: Any) -> Any:
    """The value as `read_value` reads it; as it is where it cannot be read: the run's own check says so."""
    if isinstance(value, str | int | float):
        return _canonical(dotted, value, type(value).__name__)
    return _read_or_keep(dotted, value)


@lru_cache(maxsize=65_536)
def _canonical(dotted: str, value: Any, kind: str) -> Any:
    """`kind` tells True from 1."""
    return _read_or_keep(dotted, value)


def _read_or_keep(dotted: str, value: Any) -> Any:
    try:
        return read_value(dotted, value)
    except ValueError:
        return value


def label(dotted: str, value: Any) -> str:
    """The value as it stands in a run's name: short, without characters that a shell or a file system minds.

    Raises ValueError for a mapping, which has no short form.
    """
    if dotted == "model" and isinstance(value, dict):
        value = value.get("name", value)
    if isinstance(value, dict):
        raise ValueError("a mapping has no short name: write the axis as named alternatives")
    if isinstance(value, list | tuple):
        return "+".join(label("", item) for item in value)
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    key = find_key(dotted)
    if key is not None and key.is_samples:
        value = canonical(dotted, value)
        if isinstance(value, int):
            return format_quantity(value)
    if isinstance(value, int | float):
        return f"{value:.12g}"
    text = str(value)
    if Path(text).suffix in {".yaml", ".yml", ".json"}:
        text = Path(text).stem
    return _UNSAFE.sub("-", text).strip("-") or "empty"
