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
