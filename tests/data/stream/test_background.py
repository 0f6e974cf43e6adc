"""Jobs on daemon threads, and iterating ahead: order, errors, and that threads end."""

import threading
import time
from collections.abc import Iterator

import pytest

from mammut_clip.data.stream.background import Job, JobPool, iterate_ahead


def counting(stop: int, drawn: list[int]) -> Iterator[int]:
    for number in range(stop):
        drawn.append(number)
        yield number


def until(condition: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_items_come_in_order_and_only_so_many_ahead() -> None:
    drawn: list[int] = []
    items = iterate_ahead(counting(50, drawn), 3)
    assert next(items) == 0
    until(lambda: len(drawn) >= 4)
    time.sleep(0.2)
    assert len(drawn) <= 6  # one taken, three in the queue, one in the thread's hand
    assert list(items) == list(range(1, 50))


def test_an_error_is_raised_in_its_place() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("two")

    items = iterate_ahead(failing(), 5)
    assert next(items) == 1
    with pytest.raises(ValueError, match="two"):
        next(items)


def test_closing_ends_the_thread_and_the_source() -> None:
    before, closed = set(threading.enumerate()), []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    items = iterate_ahead(endless(), 2)
    next(items)
    items.close()  # type: ignore[attr-defined]
    until(lambda: set(threading.enumerate()) <= before)
    until(lambda: closed)


def test_jobs_return_raise_and_say_what_they_do() -> None:
    before = set(threading.enumerate())
    pool = JobPool(1)
    release = threading.Event()

    def slow(job: Job[int]) -> int:
        job.now_doing("shard 7")
        release.wait()
        return 7

    def failing(_: Job[int]) -> int:
        raise ValueError("no")

    first, second = pool.submit(Job(slow)), pool.submit(Job(failing))
    until(lambda: first.doing == "shard 7")
    assert [first.is_stuck(2, 1) for _ in range(4)] == [False, False, False, True]
    assert not any(second.is_stuck(0, 1) for _ in range(4))  # it waits for its turn, which is no fault of its own
    release.set()
    assert first.wait(60) and first.result() == 7 and not first.is_stuck(0, 1)
    assert second.wait(60)
    with pytest.raises(ValueError, match="no"):
        second.result()
    assert len(set(threading.enumerate()) - before) == 1
    pool.close()
    until(lambda: set(threading.enumerate()) <= before)
