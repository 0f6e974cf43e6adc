"""A sample's caption: out of its .txt, or out of a field of its .json, as `data.captions` says.

Which of several fields a position takes, and which entry of a field's list, is a pure function of the run's seed
and the position, so that it is the same on any number of processes and after any restart.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from mammut_clip.config.data import FilterConfig
from mammut_clip.data.bad_samples import Bad, BadSampleError
from mammut_clip.data.order.mixing import mix

_FIELD, _ENTRY = 101, 102  # streams of random numbers, apart from the order's (order/streams.py); never to change
_TEXT = "txt"
_JSON = "json."
_BYTE_ORDER_MARK = "\ufeff"


class CaptionReader:
    """Finds captions in the members of samples."""

    def __init__(self, captions: dict[str, float], filters: FilterConfig, seed: int) -> None:
        self._fields = sorted(captions)  # so that their order in the config plays no part
        self._bounds = list(accumulate(captions[field] for field in self._fields))
        self._filters = filters
        self._seed = seed

    @property
    def needs_text(self) -> bool:
        """Whether any caption comes from .txt members."""
        return _TEXT in self._fields

    @property
    def needs_json(self) -> bool:
        """Whether any caption comes from .json members."""
        return any(field.startswith(_JSON) for field in self._fields)

    def read(self, text: bytes | None, record: bytes | None, position: int) -> str:
        """The caption at a position, from the bytes of the sample's .txt and .json; None: it has no such member.

        The caption stands there as written, with any white space around it. Raises BadSampleError: NO_CAPTION,
        EMPTY_CAPTION, CAPTION_NOT_UTF8, BROKEN_JSON, or what `filters` leaves out.
        """
        field = self._field(position)
        caption = _decoded(text) if field == _TEXT else self._from_record(record, field.removeprefix(_JSON), position)
        self._check(caption)
        return caption

    def _field(self, position: int) -> str:
        if len(self._fields) == 1:
            return self._fields[0]
        at = _share(self._seed, _FIELD, position) * self._bounds[-1]
        return self._fields[min(bisect_right(self._bounds, at), len(self._fields) - 1)]  # rounding may reach the end

    def _from_record(self, record: bytes | None, path: str, position: int) -> str:
        value = _look_up(record, path)
        if isinstance(value, list) and value:
            value = value[int(_share(self._seed, _ENTRY, position) * len(value))]
        if not isinstance(value, str):
            found = "an empty list" if value == [] else json.dumps(value)[:40]
            raise BadSampleError(Bad.NO_CAPTION, f"{path} in .json is {found}, neither a text nor texts in a list")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadSampleError(Bad.CAPTION_NOT_UTF8, f"{path} in .json holds half a character: {error}") from error
        return value

    def _check(self, caption: str) -> None:
        length = len(caption.removeprefix(_BYTE_ORDER_MARK).strip())
        if not length:
            raise BadSampleError(Bad.EMPTY_CAPTION, "nothing but white space" if caption else "0 characters")
        shortest, longest = self._filters.min_caption, self._filters.max_caption
        if shortest is not None and length < shortest:
            raise BadSampleError(Bad.SHORT_CAPTION, f"{length} characters; data.filters.min_caption is {shortest}")
        if longest is not None and length > longest:
            raise BadSampleError(Bad.LONG_CAPTION, f"{length} characters; data.filters.max_caption is {longest}")


def _decoded(text: bytes | None) -> str:
    if text is None:
        raise BadSampleError(Bad.NO_CAPTION, "no .txt member")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise BadSampleError(Bad.CAPTION_NOT_UTF8, f"{error.reason} at byte {error.start} of .txt") from error


def _look_up(record: bytes | None, path: str) -> Any:
    """The value at a dotted path."""
    if record is None:
        raise BadSampleError(Bad.NO_CAPTION, "no .json member")
    try:
        value = json.loads(record)
    except (ValueError, RecursionError) as error:  # ValueError: broken in form or in encoding
        raise BadSampleError(Bad.BROKEN_JSON, f"{len(record)} bytes of .json: {error}") from error
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise BadSampleError(Bad.NO_CAPTION, f"no {path} in .json")
        value = value[name]
    return value


def _share(seed: int, stream: int, position: int) -> float:
    """A random number in [0, 1) that belongs to a position."""
    return (int(mix(seed, stream, position)[0]) >> 11) * 2.0**-53
