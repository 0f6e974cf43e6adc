"""Plain JSON values."""

from math import isfinite
from typing import Any


def finite(value: Any) -> Any:
    """The value, or the mapping or list all through, with null for infinities and NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not isfinite(value) else value
