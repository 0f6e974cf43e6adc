"""Which group a picture is counted to in worst-group metrics.

DataComp's shards of WILDS, Dollar Street and GeoDE have an .npy beside each picture: integers, one per field of the
metadata (fmow: region, year, y; dollar_street: income_ds, income_meta, region; geode: region, country). Sets of one's
own may have a .json instead, whose fields have names.
"""

import json
from collections.abc import Callable
from typing import Any

from mammut_clip.config.errors import InputError
from mammut_clip.data.evalsets.tar_entries import TarEntries
from mammut_clip.data.evalsets.targets import npy

GroupField = int | str
"""Number of a field in .npy metadata, or name of one in .json metadata."""


def member_of(field: GroupField) -> str:
    """The extension of the member that holds the field."""
    return "npy" if isinstance(field, int) else "json"


def number_in_npy(data: bytes, field: int, where: str) -> int:
    """The group from .npy metadata [F]. Raises InputError where it has no such field, or no numbers of 0 or more."""
    array = npy(data, where)
    if array.dtype.kind not in "iu" or array.ndim != 1 or not 0 <= field < len(array) or array[field] < 0:
        raise InputError(
            f"{where}: metadata of {array.dtype} {array.tolist()!s:.80}; expected integers, of which number {field} is "
            "the group (0 or more)"
        )
    return int(array[field])


def groups_in_json(entries: TarEntries, field: str) -> tuple[list[int], list[str] | None]:
    """The group of each sample from .json metadata, and the groups' names: sorted, if the field holds text.

    Raises InputError naming the sample whose field is neither text nor a number of 0 or more, or not what the first
    sample has.
    """
    values = [_field(entries.read_extra(number), field, entries.where, number) for number in range(len(entries))]
    kind = type(values[0])
    for number, value in enumerate(values):
        if type(value) is not kind:
            raise InputError(f"{entries.where(number)}: {field} = {value!r} in .json; expected as in the others")
    if kind is int:
        return values, None
    names = sorted(set(values))
    numbers = {name: number for number, name in enumerate(names)}
    return [numbers[value] for value in values], names


def _field(data: bytes, field: str, where: Callable[[int], str], number: int) -> Any:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where(number)}: broken .json: {error}") from error
    value = record.get(field) if isinstance(record, dict) else None
    if type(value) is str or (type(value) is int and value >= 0):
        return value
    raise InputError(f"{where(number)}: {field} = {value!r} in .json; expected a text, or a number of 0 or more")
