"""Rank 0's end of the watch: a thread that hears all ranks, lets the judge decide, and tells everyone."""

import os
import resource
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mammut_clip.train.watch.clock import Limits, WakingClock
from mammut_clip.train.watch.judge import Judge
from mammut_clip.train.watch.link import Meeting
from mammut_clip.train.watch.report import Order, Report
from mammut_clip.train.watch.wire import ENDED, LinkLostError, Wire, encode, keep_from_children

_TURN_SECONDS = 0.25
"""What has come is read this often and not as it comes: each time costs the main thread the interpreter."""
_HURRY_SECONDS = 0.02
"""The same while ranks arrive or leave."""


class Hub:
    """Listens from the time it is made until `close`, at a port of the system's choice."""

    def __init__(self, world_size: int, hang_after: float, limits: Limits) -> None:
        """Raises OSError where this machine has no port to give."""
        _allow_connections(world_size)
        self._world_size = world_size
        self._limits = limits
        self._judge = Judge(world_size, hang_after, limits)
        self._answer = encode(vars(Order()))
        """To each sign of life; the verdict is in it once there is one."""
        self._clock = WakingClock(largest_step=4 * _TURN_SECONDS)
        self._server = _listen(world_size)
        self._strangers: set[Wire] = set()
        """Connections that have not shown the secret yet."""
        self._ranks: dict[Wire, int | None] = {}
        """The others, with the rank once it is known."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        own = socket.gethostname()
        hosts = tuple(dict.fromkeys((os.environ.get("MASTER_ADDR", own), own)))
        self.meeting = Meeting(hosts, self._server.getsockname()[1], secrets.token_hex(16), own, os.getpid())
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch-hub", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait a few seconds for the others to leave, or to have heard the verdict, and part from them."""
        self._closing.set()
        self._thread.join(3 * self._limits.goodbye)

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._turn()
                self._closing.wait(_TURN_SECONDS if len(self._ranks) == self._world_size else _HURRY_SECONDS)
            self._part()
        finally:  # also where this code itself is wrong: then the run goes on without a watch over other ranks
            self._tell_all(Order(leaving=True))
            for wire in [*self._strangers, *self._ranks]:
                self._drop(wire)
            self._selector.close()
            self._server.close()

    def _turn(self) -> None:
        now = self._clock.now()
        for key, _ in self._selector.select(0):
            if key.data is None:
                self._welcome()
            else:
                self._read(key.data, now)
        self._announce(self._judge.decide(now))

    def _part(self) -> None:
        self._turn()
        self._announce(self._judge.decide_at_once())
        self._turn_until(lambda: not self._ranks or self._judge.everyone_knows)
        self._tell_all(Order(leaving=True))
        self._turn_until(lambda: not self._ranks)

    def _turn_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._limits.goodbye
        while not done() and time.monotonic() < deadline:
            self._turn()
            time.sleep(_HURRY_SECONDS)

    def _welcome(self) -> None:
        with suppress(OSError):  # no more newcomers, or no more files: then the judge will miss a rank
            while True:
                sock, _ = self._server.accept()
                wire = Wire(sock)
                self._strangers.add(wire)
                self._selector.register(sock, selectors.EVENT_READ, wire)

    def _read(self, wire: Wire, now: float) -> None:
        try:
            for message in wire.receive():
                if wire in self._strangers:
                    self._admit(wire, message)
                elif wire in self._ranks:  # nothing counts after a goodbye
                    self._hear(wire, Report(**message), now)
            if self._ranks.get(wire) is not None:  # all was heard: to send may fail where the other end is closed
                self._tell(wire, self._answer)
        except LinkLostError as error:
            self._lose(wire, str(error))
        except (ValueError, TypeError):  # nothing a rank would say
            self._lose(wire, ENDED)

    def _admit(self, wire: Wire, message: dict[str, Any]) -> None:
        if not secrets.compare_digest(str(message.get("secret")).encode(), self.meeting.secret.encode()):
            raise ValueError("no rank of this job")
        self._strangers.remove(wire)
        self._ranks[wire] = None

    def _hear(self, wire: Wire, report: Report, now: float) -> None:
        self._ranks[wire] = report.rank
        self._judge.hear(report, now)
        if report.leaving:
            self._drop(wire)

    def _announce(self, order: Order | None) -> None:
        if order is not None:
            self._answer = encode(vars(Order(verdict=order.verdict, kind=order.kind)))
            self._tell_all(order)

    def _tell_all(self, order: Order) -> None:
        line = encode(vars(order))
        for wire in list(self._ranks):
            self._tell(wire, line)

    def _tell(self, wire: Wire, line: bytes) -> None:
        try:
            wire.send(line)
        except LinkLostError as error:
            self._lose(wire, str(error))

    def _lose(self, wire: Wire, how: str) -> None:
        rank = self._ranks.get(wire)
        if rank is not None:
            self._judge.lose(rank, how)
        self._drop(wire)

    def _drop(self, wire: Wire) -> None:
        known = wire in self._strangers or wire in self._ranks
        self._strangers.discard(wire)
        self._ranks.pop(wire, None)
        if known:
            self._selector.unregister(wire.sock)
            wire.close()


def _listen(backlog: int) -> socket.socket:
    """For IPv4, and IPv6 where there is one. Does not wait for newcomers."""
    server: socket.socket | None = None
    if socket.has_dualstack_ipv6():
        with suppress(OSError):  # a container may know IPv6 and have no address
            server = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)
    server = server or socket.create_server(("", 0), backlog=backlog)
    server.setblocking(False)
    keep_from_children(server)
    return server


def _allow_connections(count: int) -> None:
    """Make room for so many beside the files of training: the usual soft limit of a process is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + 1024
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
