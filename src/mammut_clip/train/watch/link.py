"""A rank's end of the watch: its connection to rank 0."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from mammut_clip.train.watch.report import Order, Report
from mammut_clip.train.watch.wire import LinkLostError, Wire, encode

_PATIENCE_SECONDS = 30.0
"""How long a rank tries to reach rank 0 when the watch opens."""
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Meeting:
    """Where rank 0 listens, and what a newcomer must know."""

    hosts: tuple[str, ...]
    """Names of rank 0's machine, the likeliest first."""
    port: int
    secret: str
    host: str
    """Rank 0's name for its machine in messages."""
    pid: int


class Link:
    """A connection to rank 0. Any thread may send; one thread at a time receives. Only opening and leaving wait."""

    def __init__(self, meeting: Meeting, first: Report) -> None:
        """Connect and introduce this rank. Raises ConnectionError where rank 0 cannot be reached."""
        self._lock = threading.Lock()
        self._wire = Wire(_connect(meeting))
        try:
            self._wire.send(encode({"secret": meeting.secret}))
            self._wire.send(encode(vars(first)))
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not self._wire.receive():
                if time.monotonic() > deadline:
                    raise LinkLostError("does not answer")
                time.sleep(_LOOK_SECONDS)
        except (LinkLostError, ValueError) as error:
            self._wire.close()
            raise ConnectionError(f"rank 0 does not answer at {meeting.hosts[0]}:{meeting.port}: {error}") from error

    def send(self, report: Callable[[], Report]) -> None:
        """Send what `report` gives, which is asked when it is this thread's turn: none arrives behind a later one.

        Raises LinkLostError.
        """
        with self._lock:
            self._wire.send(encode(vars(report())))

    def receive(self) -> list[Order]:
        """What rank 0 has said since this was last called; raises LinkLostError."""
        try:
            return [Order(**message) for message in self._wire.receive()]
        except (ValueError, TypeError) as error:
            raise LinkLostError("sent what is no message of the watch") from error

    def leave(self, goodbye: Report, patience: float) -> None:
        """Say goodbye, and wait until rank 0 has heard it, but no longer than `patience` seconds."""
        deadline = time.monotonic() + patience
        with suppress(LinkLostError, ValueError):  # rank 0 hangs up
            self.send(lambda: goodbye)
            while time.monotonic() < deadline:  # closed with something unread, a connection may lose what was sent
                self._wire.receive()
                time.sleep(_LOOK_SECONDS)
        self._wire.close()


def _connect(meeting: Meeting) -> socket.socket:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        for host in meeting.hosts:
            try:
                return socket.create_connection((host, meeting.port), timeout=5)
            except OSError as error:
                last = error
        if time.monotonic() > deadline:
            where = " or ".join(f"{host}:{meeting.port}" for host in meeting.hosts)
            raise ConnectionError(f"cannot reach rank 0 at {where}: {last}") from last
        time.sleep(0.2)
