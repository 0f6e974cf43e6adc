"""Where each sample's members are in its shard: one row of 28 bytes per sample, as stored and as mapped."""

import struct

import numpy as np
import numpy.typing as npt

from mammut_clip.data.shards.byte_ranges import ByteReader
from mammut_clip.data.shards.tar import BrokenTarError, Member, samples

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
MISSING = 0xFFFFFFFF
"""The size of a member that the sample does not have."""
ROW = np.dtype(
    [
        ("image_offset", "<i8"),  # in the tar; where there is no picture, of the sample's first member
        ("image_size", "<u4"),
        ("caption_distance", "<i4"),  # offset of the .txt member minus image_offset
        ("caption_size", "<u4"),
        ("json_distance", "<i4"),  # likewise
        ("json_size", "<u4"),
    ]
)
_PACK = struct.Struct("<qIiIiI").pack
_ABSENT = (0, MISSING)

Rows = npt.NDArray[np.void]


def walk_rows(reader: ByteReader, name: str) -> tuple[Rows, str | None]:
    """A row for each whole sample of a tar, and what is wrong with the tar, if anything.

    Raises InputError, naming the tar as `name`, where it is none, or has two samples under one key.
    """
    packed = bytearray()
    problem = None
    try:
        for sample in samples(reader, name):
            packed += _row(sample.members)
    except BrokenTarError as error:
        problem = error.reason
    if not packed and problem is None:
        problem = "no samples in this shard; expected members such as 000000.jpg and 000000.txt"
    return np.frombuffer(bytes(packed), dtype=ROW), problem


def _row(members: dict[str, Member]) -> bytes:
    for extension in IMAGE_EXTENSIONS:
        image = members.get(extension)
        if image is not None and image.size < MISSING:
            offset, image_size = image.offset, image.size
            break
    else:
        offset, image_size = next(iter(members.values())).offset, MISSING
    caption = _beside(members.get("txt"), offset)
    return _PACK(offset, image_size, *caption, *_beside(members.get("json"), offset))


def _beside(member: Member | None, image_offset: int) -> tuple[int, int]:
    """Distance and size. A member beyond what a row can say, over 2 GiB away or 4 GiB large, counts as missing."""
    if member is None:
        return _ABSENT
    distance = member.offset - image_offset
    return (distance, member.size) if abs(distance) < 2**31 and member.size < MISSING else _ABSENT
