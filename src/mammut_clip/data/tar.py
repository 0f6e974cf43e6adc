"""Reading tar files by walking their headers: where each member's bytes are, without reading them.

Understands ustar, PAX (webdataset's TarWriter puts one before every member) and GNU long names, which are all
the kinds that WebDataset shards come in. Members group into samples by key as in webdataset: a key ends at
the first dot of the base name.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mammut_clip.config.errors import InputError

BLOCK = 512
_END = bytes(BLOCK)
_REGULAR = frozenset(b"0\x007")
_WITHOUT_DATA = frozenset(b"123456")  # links, devices, folders, pipes
_SMALL_RECORD = 1 << 20


class Member(NamedTuple):
    """A regular file in a tar."""

    name: str
    offset: int
    """Where its bytes start in the tar file."""
    size: int


@dataclass
class TarSample:
    """Consecutive members with one key."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)
    """Extension in lower case, without the first dot -> member."""


def walk(path: Path) -> Iterator[Member]:
    """The regular files of a tar in order.

    Raises InputError naming the file and the offset where it is truncated or not a tar.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from error
    try:
        yield from _walk(descriptor, path, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _walk(descriptor: int, path: Path, file_size: int) -> Iterator[Member]:
    offset = 0
    long_name: str | None = None
    override: dict[str, str] = {}
    for_all: dict[str, str] = {}
    while offset < file_size:
        header = os.pread(descriptor, BLOCK, offset)
        if header == _END:
            return
        if len(header) < BLOCK:
            raise _truncated(path, file_size, f"inside a member's header at byte {offset}")
        if header[257:262] != b"ustar":
            _check_old_header(header, path, offset)
        size = _number(header[124:136], path, offset)
        kind = header[156]
        start = offset + BLOCK
        if kind in _REGULAR:
            attributes = {**for_all, **override} if override or for_all else override
            name = attributes.get("path") or long_name or _short_name(header)
            if "size" in attributes:
                size = int(attributes["size"])
            if start + size > file_size:
                raise _truncated(path, file_size, f"inside member {name!r}, which starts at byte {start}")
            yield Member(name, start, size)
            long_name, override = None, {}
        elif kind in _WITHOUT_DATA:
            size, long_name, override = 0, None, {}
        elif kind in b"xgLK":
            record = os.pread(descriptor, min(size, _SMALL_RECORD), start)
            if len(record) < size:
                raise _truncated(path, file_size, f"inside an extended header at byte {offset}")
            if kind == ord("L"):
                long_name = record.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
            elif kind == ord("x"):
                override = _pax(record, path, offset)
            elif kind == ord("g"):
                for_all.update(_pax(record, path, offset))
        else:
            raise InputError(f"{path}: tar member of unknown type {chr(kind)!r} at byte {offset}")
        offset = start + (size + BLOCK - 1) // BLOCK * BLOCK
    # A writer that was stopped between two members leaves such a file: samples would be missing unnoticed.
    raise _truncated(path, file_size, "without the empty block that ends an archive")


def _truncated(path: Path, file_size: int, where: str) -> InputError:
    return InputError(f"{path}: truncated tar: the file ends at byte {file_size}, {where}")


def _check_old_header(header: bytes, path: Path, offset: int) -> None:
    """Tars older than ustar have no magic word; only the checksum tells their headers from noise."""
    try:
        stored = int(header[148:156].rstrip(b"\0 ") or b"-1", 8)
    except ValueError:
        stored = -1
    if stored != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise InputError(f"{path}: not a tar header at byte {offset}; expected a WebDataset shard, uncompressed")


def _number(field_bytes: bytes, path: Path, offset: int) -> int:
    """A size: octal, or base 256 with the top bit set (GNU, for members of 8 GiB and more)."""
    if field_bytes[0] & 0x80:
        return int.from_bytes(field_bytes[1:], "big")
    try:
        return int(field_bytes.strip(b"\0 ") or b"0", 8)
    except ValueError:
        raise InputError(f"{path}: unreadable member size in the tar header at byte {offset}") from None


def _short_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[345] and header[257:263] == b"ustar\0":  # GNU tars keep other things in the prefix field
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    return name.decode("utf-8", "surrogateescape")


def _pax(record: bytes, path: Path, offset: int) -> dict[str, str]:
    """The `length key=value` lines of a PAX header."""
    attributes = {}
    position = 0
    try:
        while position < len(record) and record[position]:
            length = int(record[position : record.index(b" ", position)])
            key, _, value = record[position : position + length - 1].partition(b" ")[2].partition(b"=")
            attributes[key.decode()] = value.decode("utf-8", "surrogateescape")
            position += length
    except ValueError:
        raise InputError(f"{path}: unreadable PAX header at byte {offset}") from None
    return attributes


def split_name(name: str) -> tuple[str, str]:
    """Key and extension of a member: `a.b/0001.seg.png` -> `a.b/0001`, `seg.png`."""
    start = name.rfind("/") + 1
    dot = name.find(".", start)
    return (name, "") if dot < 0 else (name[:dot], name[dot + 1 :].lower())


def samples(path: Path) -> Iterator[TarSample]:
    """Members grouped by key; hidden files and names without an extension are left out, as in webdataset.

    Raises InputError for a key with the same extension twice, which marks two samples under one key.
    """
    current: TarSample | None = None
    for member in walk(path):
        key, extension = split_name(member.name)
        if not extension or key.endswith("/") or not key:
            continue
        if current is None or current.key != key:
            if current is not None:
                yield current
            current = TarSample(key)
        if extension in current.members:
            raise InputError(f"{path}: key {key!r} has two members .{extension}; expected one sample per key")
        current.members[extension] = member
    if current is not None:
        yield current
