"""The base of every typed config: unknown keys are refused, and numbers that are none; values are frozen, each field
carries its docstring."""

from difflib import get_close_matches

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A typed, immutable part of a config file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),
        strict=False,
        allow_inf_nan=False,
    )


def nearest(name: str, known: list[str]) -> str:
    """A hint for a name that is not known: the nearest known ones, or all of them where there are few."""
    close = get_close_matches(name, known, n=3, cutoff=0.5) or get_close_matches(
        name.lower(), [k for k in known if name.lower() in k.lower()], n=3, cutoff=0.1
    )
    if close:
        return "did you mean " + " or ".join(close) + "?"
    if len(known) <= 12:
        return "known: " + ", ".join(sorted(known))
    return f"none of the {len(known)} known names is near"
