"""One connection of the watch: lines of JSON, some 200 bytes every few seconds.

Why not a TCPStore: its calls wait without limit for a server that is stopped or whose host has lost power, and it does
not tell when a client is gone. A connection does: the kernel closes those of a process that was killed, and notices by
itself (keepalive) that a host no longer answers.
"""

import errno
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

ENDED = "ended without a word (killed, or out of memory?)"
OUT_OF_REACH = "is out of reach: its host is down or cut off"
_UNREACHABLE = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN)

_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}
"""A host that does not answer is given up after 10 + 4 x 5 s, or 30,000 ms after something was sent to it."""
_LONGEST_LINE = _CHUNK = 1 << 16

_not_for_children: WeakSet[socket.socket] = WeakSet()


def keep_from_children(sock: socket.socket) -> None:
    """Close the socket in forked workers: one that outlives a killed process would keep its connections alive."""
    _not_for_children.add(sock)


def _close_in_child() -> None:
    for sock in list(_not_for_children):
        sock.close()


os.register_at_fork(after_in_child=_close_in_child)


class LinkLostError(Exception):
    """The other side is gone; the message completes the sentence `rank 0 ...`."""


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as it travels."""
    return json.dumps(message).encode() + b"\n"


@dataclass(eq=False)
class Wire:
    """A connected socket that carries messages. Nothing here waits."""

    sock: socket.socket
    _unread: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self.sock.setblocking(False)
        keep_from_children(self.sock)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            with suppress(AttributeError, OSError):  # not on every system; silence is noticed all the same
                self.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, line: bytes) -> None:
        """Send what `encode` gave. Raises LinkLostError. Where the other side has not read for very long, the message
        is dropped."""
        with suppress(BlockingIOError), _telling_loss():
            self.sock.send(line)

    def receive(self) -> list[dict[str, Any]]:
        """The messages that have come. Raises LinkLostError where there are none and never will be, ValueError for
        what is no message."""
        lost = self._read()
        *lines, self._unread = self._unread.split(b"\n")
        if lost is not None and not lines:
            raise lost
        messages = [json.loads(line) for line in lines]
        if len(self._unread) > _LONGEST_LINE or not all(isinstance(message, dict) for message in messages):
            raise ValueError("not a message of the watch")
        return messages

    def close(self) -> None:
        """Idempotent."""
        self.sock.close()

    def _read(self) -> LinkLostError | None:
        try:
            with _telling_loss():
                data = self.sock.recv(_CHUNK)
                while data and len(self._unread) <= _LONGEST_LINE:
                    self._unread += data
                    if len(data) < _CHUNK:
                        return None
                    data = self.sock.recv(_CHUNK)
            return LinkLostError(ENDED) if not data else None
        except BlockingIOError:
            pass
        except LinkLostError as error:
            return error
        return None


@contextmanager
def _telling_loss() -> Iterator[None]:
    """Make errors of a connection that is gone LinkLostError."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        raise LinkLostError(OUT_OF_REACH if error.errno in _UNREACHABLE else ENDED) from error
