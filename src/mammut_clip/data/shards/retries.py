"""Which failures of a read are worth another try, and trying again.

Time heals lost connections, servers that are overloaded or restarting, and network file systems that stall; it does not
make a file that is not there, or may not be read, appear.
"""

import errno
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mammut_clip.config.data import ReadingConfig
from mammut_clip.config.errors import InputError

_log = logging.getLogger(__name__)
T = TypeVar("T")

_LONGEST_PAUSE = 60.0
_TRANSIENT_CODES = {errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ETIMEDOUT, errno.EPIPE}
_TRANSIENT_CODES |= {errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ENOTCONN, errno.ESHUTDOWN}
_TRANSIENT_CODES |= {errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH}
_TRANSIENT_CODES |= {getattr(errno, "EREMOTEIO", errno.EIO)}  # s3fs's word for a 500; Linux alone has it


class ShardReadError(InputError):
    """A shard that cannot be read; the message names it and the last error."""


class MissingShardError(ShardReadError):
    """A shard that is not there."""


class TryAgainError(Exception):
    """A failure that may pass, in words."""


def http_status(error: BaseException | None) -> int | None:
    """The status with which a server answered; None where none answered, or it answered and then broke off."""
    while error is not None:
        for name in ("status", "status_code", "code"):  # aiohttp's, Azure's, Google's
            status = getattr(error, name, None)
            if isinstance(status, int):
                return status
        response = getattr(error, "response", None)  # botocore's
        if isinstance(response, dict) and "ResponseMetadata" in response:
            return int(response["ResponseMetadata"]["HTTPStatusCode"])
        # fsspec's OSErrors are translations. aiohttp's cause of an answer that broke off pretends to be a 400.
        error = error.__cause__ if isinstance(error, OSError) else None
    return None


def is_transient(error: BaseException) -> bool:
    """Whether the same read may succeed later: lost connections, timeouts, 408, 429 and 5xx of servers, EIO and ESTALE
    of network file systems; not 403, 404, ENOENT, EACCES or a certificate that is not trusted."""
    error = _untranslated(error)
    status = http_status(error)
    if status is not None:
        return status in (408, 425, 429) or status >= 500
    if isinstance(error, (*_loaded("aiohttp", "ClientSSLError"), *_loaded("botocore.exceptions", "SSLError"))):
        return False
    lost: tuple[type[BaseException], ...] = (
        TryAgainError,
        TimeoutError,
        ConnectionError,
        *_loaded("aiohttp", "ClientConnectionError", "ClientPayloadError"),
        *_loaded("botocore.exceptions", "ConnectionError", "HTTPClientError", "IncompleteReadError"),
        *_loaded("botocore.parsers", "ResponseParserError"),
    )
    return isinstance(error, lost) or (isinstance(error, OSError) and error.errno in _TRANSIENT_CODES)


def _is_missing(error: BaseException) -> bool:
    status = http_status(error)
    return status in (404, 410) if status is not None else isinstance(_untranslated(error), FileNotFoundError)


def _in_words(error: BaseException) -> str:
    error = _untranslated(error)
    if isinstance(error, TryAgainError):
        return str(error)
    if isinstance(error, _loaded("aiohttp", "ClientResponseError")):
        return f"the server answered {http_status(error)} {getattr(error, 'message', '')}".strip()
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    return f"{text} ({type(error).__name__})" if text else type(error).__name__


def _untranslated(error: BaseException) -> BaseException:
    """fsspec says FileNotFoundError of everything that keeps it from asking a web server about a file."""
    known = isinstance(error.__cause__, (OSError, *_loaded("aiohttp", "ClientError")))
    return error.__cause__ if error.__cause__ and known and isinstance(error, FileNotFoundError) else error


def _loaded(module: str, *names: str) -> tuple[type[BaseException], ...]:
    """Error classes of a library; none where it is not loaded, since then it raised nothing."""
    library = sys.modules.get(module)
    return tuple(getattr(library, name) for name in names) if library is not None else ()


@dataclass(frozen=True)
class Retries:
    """How often a read that failed is tried again, with pauses of 1, 2, 4, ... up to 60 seconds."""

    times: int = ReadingConfig().retries
    sleep: Callable[[float], None] = time.sleep

    def run(self, shard: str, attempt: Callable[[], T]) -> T:
        """What `attempt` returns, once it succeeds.

        Raises MissingShardError at once where the shard is not there, ShardReadError naming it where the error would
        stay or stayed. InputErrors of the attempt go through.
        """
        tried = 0
        while True:
            tried += 1
            try:
                return attempt()
            except (InputError, MemoryError):
                raise
            except Exception as error:
                transient = is_transient(error)
                if not transient and _is_missing(error):
                    raise MissingShardError(f"{shard}: no such shard") from error
                if not transient or tried > self.times:
                    often = f", {tried} times in a row" if tried > 1 else ""
                    raise ShardReadError(f"{shard}: cannot be read: {_in_words(error)}{often}") from error
                pause = min(2.0 ** (tried - 1), _LONGEST_PAUSE)
                _log.warning(
                    "%s: %s; trying again in %g s (%d of %d)", shard, _in_words(error), pause, tried, self.times
                )
            self.sleep(pause)
