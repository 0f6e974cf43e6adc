"""Reads what Weights & Biases keeps of a run on the disk: records of protobuf in the format of LevelDB's logs.

See https://github.com/google/leveldb/blob/main/doc/log_format.md; wandb's file has a header of its own in front.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

_BLOCK, _HEADER = 32768, 7
_FULL, _FIRST, _LAST = 1, 2, 4


def history_steps(file: Path) -> Iterator[int]:
    """The steps of the rows in a .wandb file, in order; a record that a crash cut off is passed over."""
    from wandb.proto.wandb_internal_pb2 import Record

    for data in records(file.read_bytes()):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            yield record.history.step.num


def records(data: bytes) -> Iterator[bytes]:
    """The whole records of a file."""
    at, whole = _HEADER, b""  # wandb's header is as long as a record's
    while at + _HEADER <= len(data):
        if _BLOCK - at % _BLOCK < _HEADER:
            at += _BLOCK - at % _BLOCK  # no header fits there: the block is padded
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + _HEADER])
        at += _HEADER
        if at + length > len(data):
            return
        whole = data[at : at + length] if kind in (_FULL, _FIRST) else whole + data[at : at + length]
        at += length
        if kind in (_FULL, _LAST):
            yield whole
