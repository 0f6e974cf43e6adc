"""Work on daemon threads: jobs that may hang without holding the process, and iteration ahead of its consumer."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Job(Generic[T]):
    """One call made on a thread of a JobPool, and what became of it."""

    def __init__(self, work: Callable[["Job[T]"], T]) -> None:
        self._work: Callable[[Job[T]], T] | None = work
        self._done = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        self.doing = ""
        """What it is busy with, for messages; `work` keeps it up to date."""
        self._said = 0  # how often it said so; 0 before it started
        self._heard, self._waited = 0, 0.0  # how often by the last look, and seconds of looks since then

    def now_doing(self, what: str) -> None:
        """Called by `work` whenever it turns to something else."""
        self.doing = what
        self._said += 1

    def run(self) -> None:
        """Called by the pool."""
        self.now_doing("")
        work, self._work = self._work, None  # what it refers to shall not live as long as the result
        assert work is not None
        try:
            self._result = work(self)
        except BaseException as error:  # handed over to whoever waits
            self._error = error
        self._done.set()

    def wait(self, seconds: float) -> bool:
        """Whether it is done within some seconds."""
        return self._done.wait(seconds)

    def is_stuck(self, seconds: float, turn: float) -> bool:
        """Whether it has been busy with one thing for longer than some seconds. To be asked every `turn` seconds of
        waiting: those during which this process was suspended (`scontrol suspend`, a closed laptop) do not count."""
        if self._heard != self._said:
            self._heard, self._waited = self._said, 0.0
        elif self._said:
            self._waited += turn
        return not self._done.is_set() and self._waited > seconds

    def result(self) -> T:
        """What `work` returned; raises what it raised. Only once it is done."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


class JobPool:
    """Threads that take jobs in the order given. Unlike concurrent.futures', they are daemons: a read that hangs in
    the kernel would otherwise keep the process from ending."""

    def __init__(self, threads: int) -> None:
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()

    def submit(self, job: Job[T]) -> Job[T]:
        """Queue a job."""
        self._jobs.put(job)
        return job

    def close(self) -> None:
        """Let the threads end after what is queued; does not wait for them."""
        for _ in self._threads:
            self._jobs.put(None)


_END = object()


def iterate_ahead(source: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The items of `source`, which a thread draws up to `depth` items before they are asked for.

    What `source` raises is raised here in its place. Closing the generator ends the thread.
    """
    items: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_draw, args=(source, items, stopped), daemon=True)
    thread.start()
    try:
        while (item := items.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            yield item
    finally:
        stopped.set()
        thread.join(timeout=10.0)  # it may be waiting for an item that never comes


class _Raised:
    """An error on its way through the queue."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _draw(source: Iterator[Any], items: "queue.Queue[Any]", stopped: threading.Event) -> None:
    last: Any = _END
    try:
        for item in source:
            if not _put(items, item, stopped):
                return
    except BaseException as error:
        last = _Raised(error)
    _put(items, last, stopped)


def _put(items: "queue.Queue[Any]", item: Any, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            items.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
