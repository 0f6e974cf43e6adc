"""Quantities as people write them: `1.28M`, `3.07B`, `512`, `10K`.

Samples seen are whole numbers. A suffix multiplies by a power of 1,000 (K, M, B or G, T).
"""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}


def parse_quantity(value: Any) -> int:
    """Read `1.28M` as 1280000. Raises ValueError for anything that is no whole, non-negative number."""
    expected = "expected a whole number such as 1280000, 1.28M or 3.07B"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)
    text = str(value).strip().replace(",", "").replace("_", "").upper()
    suffix = text[-1:] if text[-1:] in _FACTORS else ""
    try:
        number = Decimal(text[: len(text) - len(suffix)]) * _FACTORS[suffix]
    except InvalidOperation as error:
        raise ValueError(expected) from error
    if not number.is_finite() or number != int(number) or number < 0:
        raise ValueError(expected)
    return int(number)


def format_quantity(number: int) -> str:
    """Write 1280000 as `1.28M`: the shortest form that reads back as the same number."""
    for suffix in ("T", "B", "M", "K"):
        factor = _FACTORS[suffix]
        if number >= factor:
            text = f"{Decimal(number) / factor:f}"
            text = text.rstrip("0").rstrip(".") if "." in text else text
            if len(text) <= 7:
                return text + suffix
    return str(number)


Samples = Annotated[
    int,
    BeforeValidator(parse_quantity, json_schema_input_type=int | str),
    PlainSerializer(format_quantity, return_type=str, when_used="json"),
]
"""A number of samples seen (image-text pairs), written `1280000` or `1.28M`."""

_BYTES = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(value: Any) -> int:
    """Read `500GB` as 500 * 10**9 and `1GiB` as 2**30. Raises ValueError for anything else, and for 0."""
    text = str(value).strip().replace(",", "").replace("_", "").upper()
    unit = next((unit for unit in _BYTES if text.endswith(unit)), "")
    try:
        number = Decimal(text[: len(text) - len(unit)]) * _BYTES.get(unit, 1)
    except InvalidOperation:
        number = Decimal(0)
    if isinstance(value, bool) or not number.is_finite() or number != int(number) or number < 1:
        raise ValueError("expected a number of bytes such as 500GB, 512MiB or 1000000")
    return int(number)


def format_bytes(number: int) -> str:
    """Write 500 * 10**9 as `500GB`: the largest unit of which it is a whole number."""
    factor, unit = max(((f, u) for u, f in _BYTES.items() if number % f == 0), default=(1, ""))
    spelled = unit.replace("IB", "iB")
    return f"{number // factor}{spelled}"


Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes, json_schema_input_type=int | str),
    PlainSerializer(format_bytes, return_type=str, when_used="json"),
]
"""A number of bytes, written `500GB`, `1GiB` or `1000000`."""
