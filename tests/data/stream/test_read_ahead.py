"""Reading ahead: the same bytes as reading one by one, in few and large reads, within its bounds."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mammut_clip.config.data import DatasetConfig, ReadingConfig, ShuffleConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.bad_samples import Bad
from mammut_clip.data.order.sample_order import DatasetCounts, SampleOrder
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.stream.background import Job
from mammut_clip.data.stream.read_ahead import ReadAhead, StuckReadError
from mammut_clip.data.stream.sample_reader import Place, RawSample, SampleReader

SHUFFLE = ShuffleConfig(lanes=4, window=25)


class WatchedStorage(ShardStorage):
    """Counts what it reads."""

    def __init__(self) -> None:
        super().__init__(ReadingConfig())
        self.calls = 0
        self.bytes = 0
        self.samples = 0

    def read(self, url: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        data = super().read(url, ranges)
        self.calls += 1
        self.samples += len(ranges)
        self.bytes += sum(map(len, data))
        return data


class Bench:
    """Everything about some shards."""

    def __init__(self, folder: Path, shuffle: ShuffleConfig = SHUFFLE) -> None:
        self.storage = WatchedStorage()
        self.index = ShardIndex.open([DatasetConfig(name="a", sources=[str(folder)])], self.storage)
        self.order = SampleOrder([DatasetCounts(self.index.counts)], 3, shuffle)
        self.reader = SampleReader(self.index, self.storage, text=True, record=False)

    def ahead(self, positions: range, soon: int = 8, ahead: int = 1 << 30, stuck_after: float = 30.0) -> ReadAhead:
        return ReadAhead(self.reader, self.order, positions, soon=soon, ahead=ahead, stuck_after=stuck_after)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    start=st.integers(0, 1500),
    step=st.integers(1, 9),
    soon=st.integers(1, 50),
    ahead=st.sampled_from([1, 2_000, 20_000, 1 << 30]),
    takes=st.lists(st.integers(0, 40), max_size=8),
    window=st.sampled_from([3, 25, 200]),
)
def test_any_look_ahead_gives_the_same_samples(
    numbered: Path, start: int, step: int, soon: int, ahead: int, takes: list[int], window: int
) -> None:
    bench = Bench(numbered, ShuffleConfig(lanes=4, window=window))
    positions = range(start, start + step * sum(takes), step)
    expected = bench.order.span(positions) if positions else None
    reading = bench.ahead(positions, soon, ahead)
    got = [sample for count in takes for sample in reading.take(count)]
    reading.close()
    assert [sample.position for sample in got] == list(positions)
    for number, sample in enumerate(got):
        assert expected is not None
        place = Place(int(expected.shard[number]), int(expected.sample[number]))
        assert (sample.place, sample.augmentation_seed) == (place, int(expected.augmentation_seed[number]))
        assert sample.raw == bench.reader.read([place])[0]
    if got:
        assert reading.take(3) == []


def test_windows_are_read_in_few_reads(numbered: Path) -> None:
    bench = Bench(numbered)
    reading = bench.ahead(range(1200))
    for _ in range(120):
        reading.take(10)
    # two epochs of 24 windows, a few of which are cut by shards, lanes and the small beginning; 1,200 one by one
    assert bench.storage.calls < 150
    assert bench.storage.samples == 1200


def test_the_first_samples_wait_for_no_others(numbered: Path) -> None:
    bench = Bench(numbered)
    bench.ahead(range(600), soon=8).take(4)
    assert bench.storage.samples <= 12


def test_what_is_read_ahead_is_bounded_in_bytes(numbered: Path) -> None:
    bench = Bench(numbered)
    size = bench.index.rows(0)["image_size"].mean() + 4
    limit = int(40 * size)
    reading = bench.ahead(range(1200), soon=4, ahead=limit)
    used = 0
    for taken in range(4, 1200, 4):
        used += sum(len(part) for sample in reading.take(4) for part in (sample.raw or ())[:3] if part)
        if taken > 100:  # it has learnt how large samples are
            assert bench.storage.samples - taken <= 60


def test_members_that_stand_apart_are_read_apart(tmp_path: Path, write_members: object) -> None:
    samples = {"a": {"txt": b"1", "json": bytes(100_000), "png": b"picture"}, "b": {"jpg": b"p", "txt": b"2"}}
    write_members(tmp_path, samples)  # type: ignore[operator]
    bench = Bench(tmp_path)
    assert [(raw.image, raw.text, raw.record) for raw in bench.reader.read([Place(0, 1), Place(0, 0)])] == [
        (b"p", b"2", None),
        (b"picture", b"1", None),
    ]
    assert bench.storage.bytes < 9_000
    with_record = SampleReader(bench.index, bench.storage, text=False, record=True)
    [raw] = with_record.read([Place(0, 0)])
    assert (raw.text, raw.record) == (None, bytes(100_000))


def test_what_a_shard_lost_is_said(numbered: Path, tmp_path: Path) -> None:
    shard = tmp_path / "0.tar"
    shard.write_bytes((numbered / "00000.tar").read_bytes())
    bench = Bench(tmp_path)
    last = bench.index.rows(0)[-1]
    os.truncate(shard, int(last["image_offset"]) + 3)
    found = bench.reader.read([Place(0, 49), Place(0, 0), Place(0, 50)])
    assert [raw.problem and raw.problem.kind for raw in found] == [Bad.TRUNCATED, None, Bad.MISSING]
    assert found[1].text == b"0"


def test_a_shard_that_cannot_be_read_ends_it(numbered: Path, tmp_path: Path) -> None:
    shard = tmp_path / "0.tar"
    shard.write_bytes((numbered / "00000.tar").read_bytes())
    bench = Bench(tmp_path)
    shard.unlink()
    with pytest.raises(InputError, match=r"0\.tar"):
        bench.ahead(range(10)).take(1)


def test_a_read_during_which_the_process_was_suspended_is_not_stuck(
    numbered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, awake = Bench(numbered), threading.Event()
    read, wait, monotonic = bench.reader.read, Job.wait, time.monotonic

    def begin_and_sleep(places: Sequence[Place], turn_to: Callable[[str], None]) -> list[RawSample]:
        turn_to("a shard")
        awake.wait()
        return read(places)

    def wake_up_an_hour_later(job: Job[None], seconds: float) -> bool:
        done = wait(job, seconds)
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 3600.0)
        if not done:
            awake.set()
        return done

    monkeypatch.setattr(bench.reader, "read", begin_and_sleep)
    monkeypatch.setattr(Job, "wait", wake_up_an_hour_later)
    assert len(bench.ahead(range(10), stuck_after=300.0).take(4)) == 4
    assert awake.is_set()


def test_a_stuck_read_names_the_shard(numbered: Path, tmp_path: Path) -> None:
    shard = tmp_path / "0.tar"
    shard.write_bytes((numbered / "00000.tar").read_bytes())
    bench = Bench(tmp_path)
    shard.unlink()
    os.mkfifo(shard)  # opening it waits for a writer, for ever
    reading = bench.ahead(range(10), stuck_after=0.3)
    with pytest.raises(StuckReadError, match=r"0\.tar: a read has neither succeeded nor failed for 0\.3 s"):
        reading.take(1)
    os.close(os.open(shard, os.O_RDWR | os.O_NONBLOCK))
