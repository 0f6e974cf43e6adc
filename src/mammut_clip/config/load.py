"""YAML text -> mapping -> overrides -> typed config. Every mistake is found before anything starts.

config = load_config(RunConfig, Path("configs/train/toy.yaml"), ["samples_seen=12.8K", "optimizer.lr=1e-3"])
"""

import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from mammut_clip.config.base import Config, nearest
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.files import read_text

C = TypeVar("C", bound=Config)


_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times as fast, where PyYAML has it
_Writer: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # and writes the same bytes


class _Loader(_Parser):
    """YAML 1.1 with two corrections: `1e-3` is a number, and a key given twice is an error."""


class _Dumper(_Writer):
    """Writes what _Loader reads: the text `1e-3` gets quotes."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d[\d_]*)?\.?\d+([eE][-+]?\d+)$"),
        list("-+0123456789."),
    )


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def parse_yaml(text: str, source: str) -> Any:
    """YAML as Python values; ConfigError with line and column where it is not YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(source, [Problem("", f"not valid YAML: {reason}{where}")]) from error


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    value = parse_yaml(read_text(path), str(path))
    if not isinstance(value, dict):
        found = "an empty file" if value is None else f"a {type(value).__name__}"
        raise ConfigError(str(path), [Problem("", f"expected a mapping of keys to values, found {found}")])
    return value


def apply_overrides(values: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """A copy of `values` with each `a.b=c` set; `c` is read as YAML, and the last one of a key wins. Raises ConfigError
    for malformed ones, and for shards that the shell made of one pattern."""
    result = _deep_copy(values)
    for key, value in read_overrides(overrides).items():
        set_key(result, key.split("."), value)
    return result


def read_overrides(overrides: list[str]) -> dict[str, Any]:
    """Dotted key -> value of each `a.b=c`. Raises ConfigError as `apply_overrides` does."""
    texts: dict[str, str] = {}
    for override in overrides:
        key, equals, text = (part.strip() for part in override.partition("="))
        if not equals or not all(key.split(".")):
            raise ConfigError("command line", [Problem("", "expected key=value, such as optimizer.lr=1e-3", override)])
        before = texts.get(key, "")
        if before != text and before.endswith(".tar") and text.endswith(".tar"):  # the last is one shard of many
            expected = f"{before} was given before; where the shell made several of one with braces, quote: '{key}=...'"
            raise ConfigError("command line", [Problem(key, expected, text)])
        texts[key] = text
    return {key: _read_text(key, text) for key, text in texts.items()}


def _read_text(key: str, text: str) -> Any:
    try:
        return parse_yaml(text, "command line")
    except ConfigError as error:
        hint = f"""; text that YAML takes for something else has quotes of its own: '{key}="..."'"""
        raise ConfigError("command line", [Problem(key, error.problems[0].expected + hint, text)]) from error


def set_key(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a key of nested values in place. Raises ConfigError where something on the way has no keys."""
    target = values
    for depth, part in enumerate(path[:-1], start=1):
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            taken = ".".join(path[:depth])
            raise ConfigError(
                "command line", [Problem(".".join(path), f"{taken} is a single value and has no keys", value)]
            )
    target[path[-1]] = value


def _deep_copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _deep_copy(item) for key, item in value.items()}
    return [_deep_copy(item) for item in value] if isinstance(value, list) else value


def validate(schema: type[C], values: Any, source: str) -> C:
    """Build a config from plain values. Raises ConfigError that lists every problem at once."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError(source, [_explain(schema, entry) for entry in error.errors()]) from error


def load_config(schema: type[C], path: Path, overrides: list[str] | None = None) -> C:
    """Read, override and check one config file."""
    return validate(schema, apply_overrides(read_mapping(path), overrides or []), named_with(path, overrides))


def named_with(path: Path, overrides: list[str] | None) -> str:
    """What messages call a file that was read with overrides."""
    return " ".join([str(path), *(["with", *overrides] if overrides else [])])


def to_yaml(config: Config) -> str:
    """The complete config as YAML that reads back as the same config."""
    values = config.model_dump(mode="json")
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _explain(schema: type[BaseModel], entry: Any) -> Problem:
    """One pydantic error in our words."""
    location = [
        part for part in entry["loc"] if not (isinstance(part, str) and part.startswith(("function-", "union", "<")))
    ]
    key = ".".join(str(part) for part in location)
    kind, value = entry["type"], entry.get("input")
    if kind == "extra_forbidden":
        known = _fields_at(schema, location[:-1])
        return Problem(key, "unknown key; " + nearest(str(location[-1]), known))
    if kind == "missing":
        return Problem(key, "this key is required")
    if kind == "value_error":
        message = str(entry["ctx"]["error"]) if "ctx" in entry else entry["msg"]
        return Problem(key, message) if isinstance(value, dict) else Problem(key, message, value)
    if kind == "literal_error":
        return Problem(key, f"expected {entry['ctx']['expected']}", value)
    if kind == "model_type":
        return Problem(key, f"expected a mapping (keys: {', '.join(_fields_at(schema, location))})", value)
    message = entry["msg"].replace("Input should", "the value should")
    if kind == "string_type" and isinstance(value, dict | list):
        message += "; text that begins with { or [ needs quotes"
    return Problem(key, message[0].lower() + message[1:], value)


def _fields_at(schema: type[BaseModel], location: list[Any]) -> list[str]:
    """The names of the fields of the sub-config at a location."""
    current: list[type[BaseModel]] = [schema]
    for part in location:
        if not isinstance(part, str):
            continue
        found = [f for c in current if (f := c.model_fields.get(part))]
        inner = [m for f in found for m in _models_in(f.annotation)]
        current = inner or current
    return sorted({name for c in current for name in c.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
