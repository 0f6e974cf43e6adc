"""Ranges of local shards: every byte as it stands in the file, whatever is merged, closed, forked or changed."""

import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config.data import ReadingConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards import local_files
from mammut_clip.data.shards.byte_ranges import MAX_GAP, MAX_RUN, Runs
from mammut_clip.data.shards.storage import MissingShardError, ShardReadError, ShardStorage

SIZE = 400_000
offsets = st.integers(0, SIZE + 100_000)
ranges_of_bytes = st.lists(st.tuples(offsets, offsets).map(lambda pair: (min(pair), max(pair))), max_size=8)
small_ranges = st.lists(st.tuples(offsets, st.integers(0, 900)).map(lambda pair: (pair[0], sum(pair))), max_size=30)
ranges = ranges_of_bytes | small_ranges


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SIZE bytes, no two neighbourhoods alike."""
    path = tmp_path_factory.mktemp("local") / "a.tar"
    path.write_bytes(os.urandom(SIZE))
    return path


@given(ranges)
def test_reads_are_the_files_bytes(shard: Path, wanted: list[tuple[int, int]]) -> None:
    data = shard.read_bytes()
    assert ShardStorage().read(str(shard), wanted) == [data[start:stop] for start, stop in wanted]


@given(
    st.lists(st.tuples(st.integers(0, 2**26), st.integers(0, 2**25)).map(lambda p: (p[0], p[0] + p[1])), max_size=40)
)
def test_near_ranges_are_one_run_and_runs_stay_short(wanted: list[tuple[int, int]]) -> None:
    runs = Runs(wanted).runs
    longest = max((stop - start for start, stop in wanted), default=0)
    assert all(stop - start <= max(MAX_RUN, longest) for start, stop in runs)
    assert {start for start, _ in runs} <= {start for start, _ in wanted}
    for start, stop in wanted:
        assert start == stop or any(first <= start and stop <= last for first, last in runs)
    covered = sorted(pair for pair in wanted if pair[0] < pair[1])
    for first, last in runs:  # no gap inside a run that could have been skipped
        inside = [pair for pair in covered if first <= pair[0] and pair[1] <= last]
        end = inside[0][1]
        for start, stop in inside[1:]:
            assert start - end <= MAX_GAP
            end = max(end, stop)
    for before, after in pairwise(runs):  # what is near is apart only where one run would be too long
        assert after[0] - before[1] > MAX_GAP or after[1] - before[0] > MAX_RUN


def test_neighbours_are_read_at_once() -> None:
    assert Runs([(100, 200), (0, 50), (200, 300), (300 + MAX_GAP, 310 + MAX_GAP)]).runs == [(0, 310 + MAX_GAP)]
    assert Runs([(0, 1), (2 + MAX_GAP, 3 + MAX_GAP)]).runs == [(0, 1), (2 + MAX_GAP, 3 + MAX_GAP)]
    for bad in [(2, 1), (-1, 3)]:
        with pytest.raises(ValueError, match="expected 0 <= start <= stop"):
            Runs([bad])


def test_stamps_are_size_and_time(shard: Path) -> None:
    storage = ShardStorage()
    assert storage.stamp(str(shard)) == (SIZE, str(shard.stat().st_mtime_ns))
    with storage.local(str(shard)) as path:
        assert path == shard
    with storage.open(str(shard)) as reader:
        data = shard.read_bytes()
        assert reader.size == SIZE
        assert reader.read_at(7, 512) == data[7:519]
        assert reader.read_at(SIZE - 5, 512) == data[-5:]
        assert reader.read_at(SIZE, 512) == b""


def test_what_is_not_there_or_no_file_is_an_error_at_once(tmp_path: Path, sleeps: list[float]) -> None:
    storage = ShardStorage(sleep=sleeps.append)
    gone = str(tmp_path / "gone.tar")
    for use in (storage.stamp, lambda url: storage.read(url, [(0, 1)]), lambda url: storage.open(url).__enter__()):
        with pytest.raises(MissingShardError, match=r"gone\.tar: no such shard"):
            use(gone)
        with pytest.raises(InputError, match=str(tmp_path)):
            use(str(tmp_path))
    assert issubclass(MissingShardError, ShardReadError)
    assert sleeps == []


def test_files_stay_open_but_not_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_files, "OPEN_FILES", 3)
    paths = [tmp_path / f"{number}.tar" for number in range(6)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 10)
    storage = ShardStorage()

    def open_now() -> set[str]:
        found = []
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # the folder's own
                found.append(str(descriptor.readlink()))
        return {Path(name).name for name in found if name.startswith(str(tmp_path))}

    for number in (0, 1, 2, 0, 3, 0, 4):
        assert storage.read(str(paths[number]), [(2, 4)]) == [bytes([number]) * 2]
    assert open_now() == {"0.tar", "3.tar", "4.tar"}
    copy = pickle.loads(pickle.dumps(storage))
    assert open_now() == {"0.tar", "3.tar", "4.tar"}
    storage.forget_open_files()
    assert open_now() == set()
    assert [copy.read(str(path), [(9, 20)])[0] for path in paths] == [bytes([number]) for number in range(6)]
    assert storage.read(str(paths[5]), [(9, 20)]) == [b"\5"]


def test_threads_that_push_out_each_others_files_read_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A descriptor that is closed under a read would be another file's by then.
    monkeypatch.setattr(local_files, "OPEN_FILES", 1)
    paths = [tmp_path / f"{number}.tar" for number in range(8)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 4096)
    storage = ShardStorage()

    def work(first: int) -> bool:
        numbers = [(first + step * 3) % 8 for step in range(12000)]
        return all(storage.read(str(paths[number]), [(0, 4096)]) == [bytes([number]) * 4096] for number in numbers)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns as often as they can
    try:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(work, range(4))) == [True] * 4
    finally:
        sys.setswitchinterval(interval)


def test_forked_processes_read_with_inherited_descriptors(shard: Path) -> None:
    storage = ShardStorage()
    data = shard.read_bytes()
    storage.read(str(shard), [(0, 10)])
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            wanted = [(number * 1000 + n, number * 1000 + n + 7) for n in range(200)]
            right = all(storage.read(str(shard), [pair])[0] == data[slice(*pair)] for pair in wanted)
            storage.forget_open_files()
            os._exit(0 if right else 1)
        children.append(child)
    assert all(storage.read(str(shard), [(n, n + 9)])[0] == data[n : n + 9] for n in range(200))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]


def test_a_handle_that_fails_is_opened_anew(shard: Path, sleeps: list[float]) -> None:
    """As on a network file system after its server came back: the old descriptor fails for ever, a new one does not."""
    storage = ShardStorage(sleep=sleeps.append)
    url, data = str(shard), shard.read_bytes()
    storage.read(url, [(0, 1)])
    with storage.open(url) as reader:
        fail(storage._files._open[url].descriptor)
        fail(reader._file.descriptor)  # type: ignore[attr-defined]
        assert storage.read(url, [(5, 9)]) == [data[5:9]]
        assert sleeps == [1]
        assert reader.read_at(5, 4) == data[5:9]


def fail(descriptor: int) -> None:
    """Make reading from a descriptor EIO, which is what a process's memory says where nothing is mapped."""
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    os.dup2(memory, descriptor)
    os.close(memory)
    with pytest.raises(OSError, match="Input/output error"):
        os.pread(descriptor, 1, 0)


@settings(max_examples=30)
@given(st.integers(0, SIZE), ranges)
def test_a_shard_that_shrank_gives_less(
    tmp_path_factory: pytest.TempPathFactory, size: int, wanted: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("short") / "a.tar"
    data = os.urandom(SIZE)
    path.write_bytes(data)
    storage = ShardStorage(ReadingConfig(retries=0))
    storage.read(str(path), [(0, 1)])
    os.truncate(path, size)
    assert storage.read(str(path), wanted) == [data[:size][start:stop] for start, stop in wanted]
