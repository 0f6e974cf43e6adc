"""Work on many shards in several processes, each result as soon as it is there."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from types import FrameType
from typing import TypeVar

from mammut_clip.config.errors import InputError

Job = TypeVar("Job")
Result = TypeVar("Result")

_LAST_SECONDS = 10.0


def each_done(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Generator[Result, None, None]:
    """The results of `work` on the jobs, in the order in which they are ready.

    With one worker, or one job, in this process; else in spawned ones (the caller may hold threads), to which `work` is
    pickled, and which end with this one, however it ends. Raises what `work` raises, and InputError if a worker dies.
    """
    if min(workers, len(jobs)) <= 1:
        yield from map(work, jobs)
        return
    workers = min(workers, len(jobs))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _be_a_worker) as pool:
        left = iter(jobs)
        # Not all at once: results that are ready would pile up beside those that the caller took.
        running = _submitted(pool, work, islice(left, 2 * workers))
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield _result(future)
                    running |= _submitted(pool, work, islice(left, 1))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, work: Callable[[Job], Result], jobs: Iterable[Job]) -> "set[Future[Result]]":
    # Workers are started here, and inherit the mask: Ctrl-C waits until they know what to do then.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return {pool.submit(_do, work, job) for job in jobs}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _result(future: "Future[Result]") -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process ended abruptly, perhaps for lack of memory; the same command, with fewer workers, "
            "continues"
        ) from error


def _be_a_worker() -> None:
    signal.signal(signal.SIGINT, _this_worker.leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


class _Worker:
    """What a worker does on Ctrl-C, which every process of a terminal gets: it leaves the shard at hand, and removes
    its temporary files. A result is sent whole first: the parent would await its rest for ever."""

    at_work = False
    told = False

    def leave(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        if self.at_work:
            raise SystemExit(128 + number)


_this_worker = _Worker()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_LAST_SECONDS)  # for what is at hand, if anything is
    os._exit(1)


def _do(work: Callable[[Job], Result], job: Job) -> Result:
    try:
        try:
            _this_worker.at_work = True
            if _this_worker.told:
                _this_worker.leave(signal.SIGINT, None)
            return work(job)
        finally:
            _this_worker.at_work = False
    except SystemExit as leaving:
        os._exit(leaving.code if isinstance(leaving.code, int) else 1)  # or the pool would hand out the next job
