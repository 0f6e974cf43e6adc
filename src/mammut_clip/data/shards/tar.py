"""Reading tar files by walking their headers: where each member's bytes are, without reading them.

Understands ustar, PAX (webdataset's TarWriter puts one before every member) and GNU long names, which are all
the kinds that WebDataset shards come in. Members group into samples by key as in webdataset: a key ends at
the first dot of the base name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.byte_ranges import ByteReader
from mammut_clip.data.shards.local_files import LocalReader
from mammut_clip.data.shards.retries import Retries

BLOCK = 512
_END = bytes(BLOCK)
_REGULAR = frozenset(b"0\x007")
_WITHOUT_DATA = frozenset(b"123456")  # links, devices, folders, pipes
_EXTENDED = frozenset(b"xgLK")
_LARGEST_RECORD = 1 << 20
_ONCE = Retries(0)


class Member(NamedTuple):
    """A regular file in a tar."""

    name: str
    offset: int
    """Where its bytes start in the tar file."""
    size: int


@dataclass(slots=True)
class TarSample:
    """Consecutive members with one key."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)
    """Extension in lower case, without the first dot -> member."""


class BrokenTarError(InputError):
    """A tar that cannot be walked to its end; what came before is whole."""

    def __init__(self, name: str, reason: str, member: str | None = None) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason
        self.member = member
        """The member that was cut, if its header is there."""


class TruncatedTarError(BrokenTarError):
    """A tar that ends before its archive does."""


def walk(reader: ByteReader, name: str) -> Iterator[Member]:
    """The regular files of a tar in order; `name` is what messages call it.

    Raises TruncatedTarError where the tar ends too soon and BrokenTarError where something else stands in it, both
    after all members before that place; InputError where it does not begin as a tar.
    """
    window = _Window(reader)
    extensions = _Extensions(name)
    offset = 0
    while True:
        header = window.read(offset, BLOCK)
        if header == _END:
            return
        if len(header) < BLOCK:
            # A writer that was stopped between two members leaves no empty block: samples would be missing unnoticed.
            where = f"inside a member's header at byte {offset}" if header else "without the empty block at its end"
            raise TruncatedTarError(name, _truncated(reader, where))
        if header[257:262] != b"ustar":
            _check_old_header(header, name, offset)
        size = _number(header, name, offset)
        kind = header[156]
        start = offset + BLOCK
        if kind in _REGULAR:
            member_name, size = extensions.applied(header, size, offset)
            if not _reaches(reader, start + size):
                where = f"inside member {member_name!r}, which starts at byte {start}"
                raise TruncatedTarError(name, _truncated(reader, where), member_name)
            yield Member(member_name, start, size)
        elif kind in _EXTENDED:
            record = window.read(start, min(size, _LARGEST_RECORD))
            if len(record) < size:
                raise TruncatedTarError(name, _truncated(reader, f"inside an extended header at byte {offset}"))
            extensions.take(kind, record, offset)
        elif kind in _WITHOUT_DATA:
            size = 0
            extensions.forget()
        else:
            raise _broken(name, offset, f"tar member of unknown type {chr(kind)!r} at byte {offset}")
        offset = start + (size + BLOCK - 1) // BLOCK * BLOCK


def samples(reader: ByteReader, name: str) -> Iterator[TarSample]:
    """Members grouped by key; hidden files and names without an extension are left out, as in webdataset.

    Raises what `walk` does. Of a tar that is broken, the last sample is only given if another one is known to begin
    after it: members of it could be missing. Raises InputError for a key with the same extension twice, which marks
    two samples under one key.
    """
    current: TarSample | None = None
    try:
        for member in walk(reader, name):
            key, extension = split_name(member.name)
            if not extension or not key or key[-1] == "/":
                continue
            if current is None or current.key != key:
                if current is not None:
                    yield current
                current = TarSample(key)
            if extension in current.members:
                raise InputError(f"{name}: key {key!r} has two members .{extension}; expected one sample per key")
            current.members[extension] = member
    except BrokenTarError as error:
        key, extension = split_name(error.member or "")
        if current is not None and extension and key != current.key:
            yield current
        raise
    if current is not None:
        yield current


def split_name(name: str) -> tuple[str, str]:
    """Key and extension of a member: `a.b/0001.seg.png` -> `a.b/0001`, `seg.png`."""
    dot = name.find(".", name.rfind("/") + 1)
    return (name, "") if dot < 0 else (name[:dot], name[dot + 1 :].lower())


def walk_file(path: Path) -> Iterator[Member]:
    """`walk` for a local file. Raises InputError also where it cannot be read."""
    return walk(LocalReader(str(path), _ONCE), str(path))


def samples_of_file(path: Path) -> Iterator[TarSample]:
    """`samples` for a local file. Raises InputError also where it cannot be read."""
    return samples(LocalReader(str(path), _ONCE), str(path))


class _Window:
    """Bytes of the tar from the last header on: where members are small, one read brings many headers."""

    _NEAR, _FAR = 1 << 16, 1 << 12
    """Bytes read at a time after a small step, and after a jump over a large member."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self._first = 0
        self._bytes = b""

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, or what there is of them; offsets only grow."""
        at = offset - self._first
        if at + count > len(self._bytes):
            ahead = self._NEAR if at < len(self._bytes) + self._FAR else self._FAR
            self._bytes = self._reader.read_at(offset, max(count, ahead))
            self._first, at = offset, 0
        return self._bytes[at : at + count]


class _Extensions:
    """What extended headers say of the members that follow them."""

    def __init__(self, tar: str) -> None:
        self._tar = tar
        self._long_name: str | None = None
        self._next: dict[str, str] = {}
        self._all: dict[str, str] = {}

    def take(self, kind: int, record: bytes, offset: int) -> None:
        """Remember an extended header."""
        if kind == ord("L"):
            self._long_name = record.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        elif kind == ord("x"):
            self._next = self._pax(record, offset)
        elif kind == ord("g"):
            self._all.update(self._pax(record, offset))

    def applied(self, header: bytes, size: int, offset: int) -> tuple[str, int]:
        """Name and size of the member with this header; what concerned it alone is forgotten."""
        if not self._next and not self._all:
            name = self._long_name or _short_name(header)
            self._long_name = None
            return name, size
        attributes = {**self._all, **self._next}
        name = attributes.get("path") or self._long_name or _short_name(header)
        self.forget()
        try:
            return name, int(attributes.get("size", size))
        except ValueError:
            raise _broken(self._tar, offset, f"unreadable member size in the PAX header before byte {offset}") from None

    def forget(self) -> None:
        """The member that they concerned is passed."""
        self._long_name, self._next = None, {}

    def _pax(self, record: bytes, offset: int) -> dict[str, str]:
        """The `length key=value` lines of a PAX header that matter."""
        if b"path=" not in record and b"size=" not in record:  # but for the time of webdataset's writer, say
            return {}
        attributes = {}
        position = 0
        try:
            while position < len(record) and record[position]:
                length = int(record[position : record.index(b" ", position)])
                key, _, value = record[position : position + length - 1].partition(b" ")[2].partition(b"=")
                attributes[key.decode()] = value.decode("utf-8", "surrogateescape")
                position += length
        except ValueError:
            raise _broken(self._tar, offset, f"unreadable PAX header at byte {offset}") from None
        return attributes


def _reaches(reader: ByteReader, end: int) -> bool:
    """Whether the tar has that many bytes."""
    if reader.size is None:
        return bool(reader.read_at(end - 1, 1))
    return end <= reader.size


def _truncated(reader: ByteReader, where: str) -> str:
    ends = "ends" if reader.size is None else f"ends at byte {reader.size},"
    return f"truncated tar: the file {ends} {where}"


def _broken(name: str, offset: int, reason: str) -> InputError:
    """What begins as a tar is one, if a damaged one."""
    return BrokenTarError(name, reason) if offset else InputError(f"{name}: {reason}")


def _check_old_header(header: bytes, name: str, offset: int) -> None:
    """Tars older than ustar have no magic word; only the checksum tells their headers from noise."""
    try:
        stored = int(header[148:156].rstrip(b"\0 ") or b"-1", 8)
    except ValueError:
        stored = -1
    if stored != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise _broken(name, offset, f"not a tar header at byte {offset}; expected a WebDataset shard, not compressed")


def _number(header: bytes, name: str, offset: int) -> int:
    """A size: octal, or base 256 with the top bit set (GNU, for members of 8 GiB and more)."""
    try:
        if header[124] & 0x80:
            return int.from_bytes(header[125:136], "big")
        if not header[135]:  # as nearly all writers do it: eleven digits and a zero
            return int(header[124:135], 8)
        return int(header[124:136].strip(b"\0 ") or b"0", 8)
    except ValueError:
        raise _broken(name, offset, f"unreadable member size in the tar header at byte {offset}") from None


def _short_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[345] and header[257:263] == b"ustar\0":  # GNU tars keep other things in the prefix field
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    return name.decode("utf-8", "surrogateescape")
