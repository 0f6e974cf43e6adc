"""One thread per process that notices when a step hangs or another rank dies, and then ends this process.

What is noticed, and when with the limits as they are:

- a process that ends (killed, out of memory, crashed): at once, by its connection; told apart from the errors that
  this causes in the collectives of others. After 3 s the verdict stands, after 10 more all processes are gone.
- a process or host that no longer gives a sign of life (stopped, power lost, network cut): after 30 s, then the same.
- an error that a rank reports itself (`failed`): at once, then the same.
- a step in which nothing moves for `hang_after` seconds: all ranks write down their stacks, rank 0 says who is behind.
"""

import faulthandler
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import from_main
from mammut_clip.runs.failures import ErrorKind, kind_of, leave_words
from mammut_clip.train.watch.clock import Limits, WakingClock
from mammut_clip.train.watch.dump import end_process, within_patience, write_stacks
from mammut_clip.train.watch.hub import Hub
from mammut_clip.train.watch.link import Link, Meeting
from mammut_clip.train.watch.report import Order, Report, describe_hang
from mammut_clip.train.watch.wire import LinkLostError

_LIMITS = Limits()
_LONGEST_ERROR = 4000


class Watch:
    """A context on every rank; to enter it is a collective, to leave it is not.

    Whoever leaves it says goodbye, also where an exception leaves it: a rank that fails says so with `failed` before.
    Once the job has a verdict (`first_failure`), a main thread that does not leave by itself within a few seconds is
    ended with its process, by exit code 1, with the verdict as the last thing on standard error.

    Stacks are written on a hang only, never on a signal (`py-spy dump --pid PID` looks into a process from outside). A
    main thread that never gives the interpreter up keeps this thread from running too: then the others miss its signs
    of life, and faulthandler's own thread writes the stacks to standard error (so it may when a suspended job wakes up;
    then that is all that happens).
    """

    def __init__(
        self,
        process: Process,
        hang_after: float,
        log: Path | None = None,
        on_end: Callable[[str], None] | None = None,
        limits: Limits = _LIMITS,
    ) -> None:
        """`hang_after` in seconds. Stacks go to standard error and to the end of `log`. Before rank 0's process is
        ended from here, `on_end` is called with the verdict, in another thread than the main one, for 5 s at most."""
        self._process = process
        self._hang_after = hang_after
        self._log = log
        self._on_end = on_end
        self._limits = limits
        self._host, self._pid = socket.gethostname(), os.getpid()

        # the main thread writes these, the watching thread reads them
        self._place: tuple[int, str] = (0, "starting")
        self._paused = False
        self._failure: str | None = None
        self._failure_kind: ErrorKind | None = None

        self._verdict: str | None = None
        self._verdict_kind: ErrorKind = "crash"
        self._decided = threading.Event()
        self._stop = threading.Event()
        self._hub: Hub | None = None
        self._link: Link | None = None

        # only the watching thread uses these; times are its clock's
        self._now = self._moved = self._spoke = self._heard = 0.0
        self._ends_at: float | None = None
        self._seen = self._place
        self._hung = False
        self._dumped: tuple[int, str] | None = None

    def __enter__(self) -> "Watch":
        """Raises OSError where rank 0 has no port to listen at, ConnectionError where it cannot be reached."""
        if self._process.world_size > 1:
            self._meet()
        self._watch_interpreter()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(self._limits.goodbye)
        faulthandler.cancel_dump_traceback_later()
        link = self._link  # looked at once: the thread, where it still runs, may part meanwhile
        if link is not None:
            link.leave(self._report(leaving=True), self._limits.goodbye)
        if self._hub is not None:
            self._hub.close()

    def at(self, samples_seen: int, what: str) -> None:
        """The main thread has come this far, and now does `what`, such as "computing". Each call is a sign that it
        moves, also where it says the same again."""
        self._place = (samples_seen, what)

    @contextmanager
    def paused(self, what: str) -> Iterator[None]:
        """What happens inside the block may take as long as it likes; signs of life go on."""
        (samples_seen, before), was_paused = self._place, self._paused
        self._paused = True
        self._place = (samples_seen, what)
        self._watch_interpreter()
        self._say()  # now: loading a library may hold up this process's threads for a while
        try:
            yield
        finally:
            self._place = (self._place[0], before)
            self._paused = was_paused

    def failed(self, error: BaseException) -> None:
        """Tell the others of an error on this rank; returns once it is known what came first, after a few seconds.

        To be called before this process ends or leaves the process group, since the others fail in consequence.
        """
        if self._failure is None:
            text = f"{type(error).__name__}: {error}"
            self._failure_kind = kind_of(error)
            self._failure = f"rank {self._process.rank} on host {self._host}: {text[:_LONGEST_ERROR]}"
        if self._link is None:
            if self._verdict is None:  # nobody else waits: this process may take its time to end
                self._verdict_kind, self._verdict = self._failure_kind or "crash", self._failure
            return
        self._say()
        self._decided.wait(self._limits.settle + self._limits.goodbye)

    def first_failure(self) -> str | None:
        """What ended the job, in one sentence, as all ranks say it: `rank 3 on host n2: ValueError: ...`.

        None while nothing is known to be wrong. It may be of another kind than this rank's own error, which is then
        only its consequence: `rank 3 on host n2 (pid 123) ended without a word ...`.
        """
        return self._verdict

    def failure_kind(self) -> ErrorKind:
        """Of which kind the first failure is; crash also where nothing is known to be wrong."""
        return self._verdict_kind

    def _meet(self) -> None:
        meeting, error = from_main(self._open_hub() if self._process.is_main else None)
        if meeting is None:
            raise OSError(f"rank 0 cannot listen for the others: {error}")
        self._main = f"rank 0 on host {meeting.host} (pid {meeting.pid})"
        try:
            self._link = Link(meeting, self._report())
        except ConnectionError:
            if self._hub is not None:
                self._hub.close()
            raise

    def _open_hub(self) -> tuple[Meeting | None, str]:
        """An error is given back, for all ranks to raise: none is to wait for a rank 0 that has ended."""
        try:
            self._hub = Hub(self._process.world_size, self._hang_after, self._limits)
        except OSError as error:
            return None, str(error)
        return self._hub.meeting, ""

    def _run(self) -> None:
        clock = WakingClock(largest_step=5 * self._limits.turn)
        while not self._stop.wait(self._limits.turn):
            self._now = clock.now()
            self._watch_interpreter()
            if self._verdict is None:
                self._look_at_main_thread()
            if self._link is not None:
                self._talk(self._link)
            elif self._hung and self._verdict is None:
                self._conclude(describe_hang(self._hang_after, {self._process.rank: self._report()}), "hung")
            if self._ends_at is not None and self._now >= self._ends_at:
                self._end()

    def _watch_interpreter(self) -> None:
        """Set off once more the dump for the case that no thread of this process gets to run."""
        limit = max(self._limits.silence, self._hang_after) if self._paused else self._limits.silence
        faulthandler.dump_traceback_later(limit, file=2)

    def _look_at_main_thread(self) -> None:
        place = self._place
        if self._paused or place is not self._seen:
            self._seen, self._moved, self._hung = place, self._now, False
        elif not self._hung and self._now - self._moved >= self._hang_after:
            self._hung = True
            self._say()  # first: it takes a moment to write
            self._write_stacks()

    def _talk(self, link: Link) -> None:
        """Hear rank 0, and give a sign of life when it is time."""
        try:
            for order in link.receive():
                self._heard = self._now
                self._obey(order)
        except LinkLostError as error:
            self._lose_main(str(error))
            return
        patience = max(self._limits.silence, self._hang_after) if self._paused else self._limits.silence
        if self._now - self._heard > patience:
            self._lose_main(f"gave no sign of life for {patience:.0f} s")
        elif self._now - self._spoke >= self._limits.beat:
            self._say()
            self._spoke = self._now

    def _obey(self, order: Order) -> None:
        if order.verdict is not None and self._verdict is None:
            self._conclude(order.verdict, order.kind)
            self._say()
        if order.answer:
            self._say()
        if order.stacks:
            self._write_stacks()
        if order.leaving:
            self._part()

    def _part(self) -> None:
        """Rank 0 leaves in good order; what remains here is the limit for a step that hangs."""
        link, self._link = self._link, None
        if link is not None:
            link.leave(self._report(leaving=True), self._limits.turn)

    def _lose_main(self, how: str) -> None:
        if self._verdict is None:
            self._conclude(f"{self._main} {how}", "crash")
        self._part()

    def _conclude(self, verdict: str, kind: ErrorKind) -> None:
        self._verdict_kind, self._verdict = kind, verdict
        self._ends_at = self._now + self._limits.grace
        self._decided.set()

    def _end(self) -> None:
        verdict, on_end = self._verdict or "", self._on_end
        if on_end is not None and self._process.is_main:
            within_patience(lambda: on_end(verdict))
        within_patience(lambda: leave_words(self._verdict_kind, verdict))
        end_process(verdict)

    def _say(self) -> None:
        """Report to rank 0."""
        link = self._link
        if link is not None:
            with suppress(LinkLostError):  # the watching thread will notice
                link.send(self._report)

    def _report(self, **more: Any) -> Report:
        return Report(
            self._process.rank,
            self._host,
            self._pid,
            *self._place,
            paused=self._paused,
            hung=self._hung,
            failure=self._failure,
            failure_kind=self._failure_kind,
            informed=self._verdict is not None,
            **more,
        )

    def _write_stacks(self) -> None:
        """Once for each place."""
        if self._dumped is self._seen:
            return
        self._dumped = self._seen
        still, (samples_seen, what) = self._now - self._moved, self._seen
        since = time.strftime("%H:%M:%S", time.localtime(time.time() - still))
        who = f"rank {self._process.rank} on host {self._host} (pid {self._pid})"
        write_stacks(f"{who} has been {what} at {samples_seen:,} samples since {since}, {still:.0f} s ago", self._log)
