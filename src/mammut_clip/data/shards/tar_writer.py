"""Writing WebDataset shards whose bytes depend on their samples alone: ustar headers with all times and
owners zero."""

from typing import BinaryIO

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.tar import BLOCK

_RECORD = 20 * BLOCK  # tars end on a multiple of this
_OWNER = b"0000644\0" + 2 * b"0000000\0"  # mode, user, group
_TIME = b"0" * 11 + b"\0"
_REST = b"0" + bytes(100) + b"ustar\0" + b"00" + bytes(64) + 2 * b"0000000\0"  # type, link, magic, names, device
_FIXED_SUM = sum(_OWNER) + sum(_TIME) + sum(_REST) + 8 * ord(" ")  # the checksum field counts as spaces


class TarWriter:
    """Appends members to an open file; `close` writes the end of the archive."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes = 0

    def add(self, name: str, data: bytes) -> None:
        """Append one member. Raises InputError for a name that ustar has no room for (over 100 bytes)."""
        raw = name.encode()
        if len(raw) > 100:
            raise InputError(f"member name {name!r} has {len(raw)} bytes; expected a key that leaves it at 100 or less")
        padding = -len(data) % BLOCK
        self._file.write(_header(raw, len(data)) + data + bytes(padding))
        self.bytes += BLOCK + len(data) + padding

    def close(self) -> None:
        """Write the two empty blocks that end an archive, and fill up its last record. The file stays
        open."""
        end = 2 * BLOCK
        self._file.write(bytes(end + -(self.bytes + end) % _RECORD))


def _header(name: bytes, size: int) -> bytes:
    octal_size = b"%011o\0" % size
    checksum = b"%06o\0 " % (_FIXED_SUM + sum(name) + sum(octal_size))
    header = name.ljust(100, b"\0") + _OWNER + octal_size + _TIME + checksum + _REST
    return header.ljust(BLOCK, b"\0")
