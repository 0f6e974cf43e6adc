"""Shards on web servers and in object stores, through fsspec: stamps, ranges, whole files, folders.

S3 is set up by the usual AWS_* variables and configuration files; what else fsspec's file systems can be told is told
them by fsspec's own (FSSPEC_S3_ANON=true and the like). Tries are counted by `Retries` alone, so the libraries' own
retries are off.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammut_clip.config.atomic import disk_errors
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.byte_ranges import Range, Stamp
from mammut_clip.data.shards.retries import MissingShardError, Retries, ShardReadError, TryAgainError, http_status
from mammut_clip.data.shards.sources import WEB, scheme_of

if TYPE_CHECKING:
    from aiohttp import ClientResponse

BLOCK = 4 * 2**20
"""Bytes that walking a remote shard asks for at a time."""
_KEPT_BLOCKS = 4
_CONNECT_SECONDS = 30.0
_STALL_SECONDS = 60.0
_REQUESTS_AT_ONCE = 8
_VERSIONS = ("ETag", "etag", "blob_id", "Last-Modified", "LastModified", "last_modified", "mtime", "created")

_filesystems: dict[tuple[int, str], Any] = {}
"""By process and protocol. A forked process needs its own, since fsspec's thread is not copied; its parent's stay here,
because collecting them would close the connections that the parent still uses."""


class _RangesIgnoredError(Exception):
    """The server answered with the whole file."""


async def _check_range(response: "ClientResponse") -> None:
    """Refuse a whole file in place of a range, before it is downloaded."""
    asked = response.request_info.headers.get("Range")
    if asked is None or response.status != 200:
        return
    start, _, last = asked.removeprefix("bytes=").partition("-")
    if start == "0" and last and response.content_length is not None and response.content_length <= int(last) + 1:
        return  # the range was the whole file
    response.close()
    raise _RangesIgnoredError


def _web_options() -> dict[str, Any]:
    import aiohttp

    # A total limit would end long downloads; one on silence ends those that are stuck.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_STALL_SECONDS)
    client = {
        "timeout": timeout,
        "trust_env": True,  # proxies
        "headers": {"Accept-Encoding": "identity"},  # ranges of the file, not of something compressed on the way
        "raise_for_status": _check_range,
    }
    return {"client_kwargs": client}


def _s3_options() -> dict[str, Any]:
    config = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _STALL_SECONDS,
        "retries": {"total_max_attempts": 1},
    }
    # Whole files come in parallel parts, each in memory: 10 of 50 MiB, the default, are too much for every worker.
    parts = {"max_concurrency": 4, "default_block_size": 16 * 2**20}
    return {"config_kwargs": config, "use_listings_cache": False, **parts}


def _filesystem(url: str) -> Any:
    """The fsspec file system of a URL. Raises InputError where its protocol is unknown or a package is missing."""
    scheme = scheme_of(url)
    key = (os.getpid(), scheme)
    if key not in _filesystems:
        try:
            import fsspec

            fsspec.get_filesystem_class(scheme)
            options = _web_options() if scheme in WEB else _s3_options() if scheme in ("s3", "s3a") else {}
        except ImportError as error:
            raise InputError(
                f"{url}: reading {scheme}:// needs a package that is not installed ({error}); "
                "pip install 'mammut-clip[remote]' brings those for http(s) and s3"
            ) from error
        except ValueError as error:
            raise InputError(f"{url}: unknown protocol {scheme}://; expected http, https, s3 or fsspec's") from error
        filesystem = fsspec.filesystem(scheme, **options)
        filesystem.retries = 1  # s3fs's
        filesystem.batch_size = _REQUESTS_AT_ONCE
        _filesystems[key] = filesystem
    return _filesystems[key]


def stamp_of_url(url: str, retries: Retries) -> Stamp:
    """Size and ETag, or date of modification. Raises MissingShardError where it is not there, ShardReadError."""
    info = retries.run(url, lambda: _filesystem(url).info(url))
    if info.get("type") == "directory":
        raise InputError(f"{url}: a folder; expected a tar file, or a / at the end for the .tar files in the folder")
    version = next((info[name] for name in _VERSIONS if info.get(name)), "")
    return Stamp(info.get("size"), str(version))


def read_url(url: str, runs: Sequence[Range], retries: Retries) -> list[bytes]:
    """The bytes of each run, several at the same time; fewer at the end of the file. Raises ShardReadError, also where
    the server does not know ranges."""
    found: dict[int, bytes] = {}

    def attempt() -> None:
        wanted = [number for number in range(len(runs)) if number not in found]
        starts, stops = [runs[n][0] for n in wanted], [runs[n][1] for n in wanted]
        answers = _filesystem(url).cat_ranges([url] * len(wanted), starts, stops, on_error="return")
        failed = []
        for number, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, BaseException) and http_status(answer) != 416:
                failed.append(answer)
            else:  # 416: the run starts behind the end
                found[number] = b"" if isinstance(answer, BaseException) else answer
        if failed:
            raise failed[0]
        if any(len(found[n]) > runs[n][1] - runs[n][0] for n in wanted):
            raise _RangesIgnoredError

    try:
        retries.run(url, attempt)
    except ShardReadError as error:
        if isinstance(error.__cause__, _RangesIgnoredError):
            raise ShardReadError(
                f"{url}: the server ignores Range requests and answers with the whole file; set data.cache.folder, "
                "so that shards are downloaded once and read locally"
            ) from error
        raise
    return [found[number] for number in range(len(runs))]


def download(url: str, size: int | None, retries: Retries, path: Path, count: Callable[[int], None]) -> None:
    """Write the whole file to `path`; `count(bytes so far)` is called as it grows, and may raise.

    Raises DiskFullError, ShardReadError, also where it is not of the size expected (None: any).
    """
    from fsspec.callbacks import Callback

    class Counted(Callback):
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            count(self.value)

    def attempt() -> None:
        with disk_errors(path):
            _filesystem(url).get_file(url, str(path), callback=Counted())
        if size is not None and path.stat().st_size != size:
            raise TryAgainError(f"{path.stat().st_size} bytes came, expected {size}")

    retries.run(url, attempt)


def list_tars(url: str) -> list[str]:
    """The .tar files of a folder in an object store, sorted, without hidden ones. Raises InputError for none."""
    filesystem = _filesystem(url)
    filesystem.invalidate_cache()  # of listings
    try:
        names = Retries().run(url, lambda: filesystem.ls(url, detail=False))
    except MissingShardError:
        names = []
    names = [name for name in sorted(names) if name.endswith(".tar") and not name.rpartition("/")[2].startswith(".")]
    if not names:
        raise InputError(f"{url}: no .tar files in this folder; expected WebDataset shards such as 00000.tar")
    return [filesystem.unstrip_protocol(name) for name in names]


class BlockReader:
    """A remote shard for walking its headers (a ByteReader): reads blocks, and keeps the last few."""

    def __init__(self, url: str, size: int | None, retries: Retries) -> None:
        self.size = size
        self._url = url
        self._retries = retries
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes [offset, offset + count), fewer at the end. Raises ShardReadError."""
        pieces = []
        stop = offset + count if self.size is None else min(offset + count, self.size)
        while offset < stop:
            number, start = divmod(offset, BLOCK)
            piece = self._block(number)[start : start + stop - offset]
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * BLOCK
            stop = start + BLOCK if self.size is None else min(start + BLOCK, self.size)
            self._blocks[number] = read_url(self._url, [(start, stop)], self._retries)[0]
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]
