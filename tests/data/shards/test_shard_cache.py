"""Local copies: downloaded once, of the right version, never more than the limit, whoever reads, dies or evicts."""

import fcntl
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shard_servers import WebServer

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.config.data import CacheConfig, ReadingConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards import cache as cache_module
from mammut_clip.data.shards.cache import ShardCache, expand_folder
from mammut_clip.data.shards.storage import MissingShardError, ShardReadError, ShardStorage

SIZE = 100_000
offsets = st.integers(0, SIZE + 50_000)
ranges = st.lists(st.tuples(offsets, offsets).map(lambda pair: (min(pair), max(pair))), max_size=6)
forked = multiprocessing.get_context("fork")


def content(number: int) -> bytes:
    return bytes([number]) * SIZE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def urls(web: WebServer) -> list[str]:
    """Ten shards of SIZE bytes, each of its own number."""
    web.files.update({f"{number}.tar": content(number) for number in range(10)})
    return [f"{web.url}/{number}.tar" for number in range(10)]


def cached(folder: Path, shards: float = 100, sleep: Callable[[float], None] = time.sleep) -> ShardStorage:
    """With room for that many shards of SIZE bytes."""
    config = CacheConfig(folder=str(folder), size=int(shards * SIZE))
    return ShardStorage(ReadingConfig(retries=2), config, sleep=sleep)


def copies(folder: Path) -> list[str]:
    """Names of the shards that are kept."""
    return sorted(path.name.partition("-")[2] for path in folder.glob("*-*"))


def in_processes(work: Callable[..., None], *arguments: tuple[Any, ...]) -> list[int | None]:
    """Exit codes of processes that run `work` at the same time, one for each tuple of arguments."""
    processes = [forked.Process(target=work, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def wait_for(condition: Callable[[], bool], processes: list[Any]) -> None:
    """Wait until something holds that the processes bring about."""
    while not condition():
        assert all(process.is_alive() for process in processes)
        time.sleep(0.01)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ranges)
def test_reads_are_the_files_bytes_and_come_over_the_network_once(
    web: WebServer, folder: Path, wanted: list[tuple[int, int]]
) -> None:
    data = web.files.setdefault("random.tar", os.urandom(SIZE))
    assert cached(folder).read(f"{web.url}/random.tar", wanted) == [data[start:stop] for start, stop in wanted]
    assert web.count("GET") <= 1
    assert all(asked == "" for _, _, asked in web.requests)


def test_objects_of_s3_are_copied_too(s3: Callable[[str, bytes], str], folder: Path) -> None:
    url = s3("cached.tar", content(1))
    assert cached(folder).read(url, [(5, 9)]) == [content(1)[5:9]]
    assert copies(folder) == ["cached.tar"]


def test_local_shards_are_not_copied(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"abc")
    storage = cached(folder)
    assert storage.read(str(tmp_path / "a.tar"), [(0, 3)]) == [b"abc"]
    assert not folder.exists()


def test_one_copy_serves_everything(web: WebServer, urls: list[str], folder: Path) -> None:
    web.ignore_ranges = True  # which a cache does not mind
    storage = cached(folder)
    with storage.open(urls[3]) as reader:
        assert reader.size == SIZE
        assert reader.read_at(SIZE - 2, 512) == b"\3\3"
    with storage.local(urls[3]) as path:
        assert path.read_bytes() == content(3)
    again = pickle.loads(pickle.dumps(storage))
    assert again.read(urls[3], [(1, 3), (0, 1)]) == [b"\3\3", b"\3"]
    assert web.count("GET") == 1
    assert web.count("HEAD") == 2  # once per process, or what was unpickled as if in one


def test_another_version_is_another_copy(web: WebServer, urls: list[str], folder: Path) -> None:
    assert cached(folder).read(urls[0], [(0, 1)]) == [b"\0"]
    web.files["0.tar"] = content(99)
    assert cached(folder).read(urls[0], [(0, 1)]) == [b"c"]
    assert copies(folder) == ["0.tar", "0.tar"]


def test_processes_that_want_a_shard_at_the_same_time_download_it_once(
    web: WebServer, urls: list[str], folder: Path
) -> None:
    web.stall = 1  # the one that comes first waits until all have asked for the shard's version

    def read() -> None:
        assert cached(folder).read(urls[0], [(1, 4)]) == [b"\0" * 3]

    processes = [forked.Process(target=read) for _ in range(4)]
    for process in processes:
        process.start()
    wait_for(lambda: web.count("HEAD") == 4 and web.count("GET") == 1, processes)
    web.released.set()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert web.count("GET") == 1


def test_the_least_recently_used_copies_go(urls: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_TOUCH_SECONDS", 0.0)
    storage = cached(folder, shards=3.5)
    for number in (0, 1, 2):
        storage.read(urls[number], [(0, 1)])
    for age, path in enumerate(sorted(folder.glob("*-*"), key=lambda path: path.name.partition("-")[2])):
        os.utime(path, (age + 1, age + 1))
    storage.read(urls[0], [(0, 1)])  # from an open file, but used all the same
    storage.read(urls[3], [(0, 1)])
    assert copies(folder) == ["0.tar", "2.tar", "3.tar"]
    assert storage.read(urls[1], [(9, 10)]) == [b"\1"]
    assert copies(folder) == ["0.tar", "1.tar", "3.tar"]
    assert len(list(folder.glob("*.lock"))) == 3 + 1  # those of what is gone went too; one is for the folder


def test_a_copy_is_used_again_only_every_few_seconds(
    urls: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_TOUCH_SECONDS", 600.0)
    storage = cached(folder)
    storage.read(urls[0], [(0, 1)])
    copy = next(folder.glob("*-0.tar"))
    os.utime(copy, (1, 1))
    storage.read(urls[0], [(0, 1)])
    assert copy.stat().st_mtime == 1


def test_what_is_open_can_be_removed_and_its_space_is_given_back(
    web: WebServer, urls: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = cached(folder, shards=1)
    for round_ in range(2):
        for number in range(4):
            assert storage.read(urls[number], [(3, 5)]) == [bytes([number]) * 2]
            deleted = [name for name in open_files() if name.startswith(str(folder)) and name.endswith("(deleted)")]
            assert len(deleted) <= 1
        assert web.count("GET") == 4 * (round_ + 1)
    storage.read(urls[3], [(3, 5)])
    next(folder.glob("*-3.tar")).unlink()  # by another process, while it is open here
    assert storage.read(urls[3], [(3, 5)]) == [b"\3\3"]
    monkeypatch.setattr(cache_module, "_TOUCH_SECONDS", 0.0)
    assert storage.read(urls[3], [(3, 5)]) == [b"\3\3"]
    assert web.count("GET") == 9
    assert [name for name in open_files() if name.endswith("(deleted)") and name.startswith(str(folder))] == []


def open_files() -> list[str]:
    names = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder's own
            names.append(str(descriptor.readlink()))
    return names


def test_a_copy_in_use_stays(urls: list[str], folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    storage = cached(folder, shards=2.5)
    with storage.local(urls[0]) as path:
        os.utime(path, (1, 1))
        for number in (1, 2, 3):
            storage.read(urls[number], [(0, 1)])
        assert path.read_bytes() == content(0)
        assert copies(folder) == ["0.tar", "3.tar"]
        with storage.local(urls[1]), storage.local(urls[2]):
            assert copies(folder) == ["0.tar", "1.tar", "2.tar"]  # more than fits, but all in use
            assert "more than data.cache.size = 250KB" in caplog.text
    storage.read(urls[4], [(0, 1)])
    assert copies(folder)[-1] == "4.tar"
    assert len(copies(folder)) == 2


def stress(folder: Path, urls: list[str], seed: int) -> None:
    storage = cached(folder, shards=3.5)
    for step in range(30):
        number = (seed * 7 + step * step) % 10
        assert storage.read(urls[number], [(step, step + 9)]) == [bytes([number]) * 9]
        if step % 3 == 0:
            with storage.local(urls[number]) as path:
                assert path.read_bytes() == content(number)


def test_processes_that_evict_each_others_copies_read_right(urls: list[str], folder: Path) -> None:
    assert in_processes(stress, *((folder, urls, seed) for seed in range(4))) == [0] * 4
    cached(folder, shards=3.5).read(urls[0], [(0, 1)])
    kept = list(folder.glob("*-*"))
    assert sum(path.stat().st_size for path in kept) <= 3.5 * SIZE
    assert all(path.read_bytes() == content(int(path.name.partition("-")[2].removesuffix(".tar"))) for path in kept)
    assert list(folder.glob("*.part")) == []
    assert sum(path.stat().st_size for path in folder.glob("*.lock")) == 0


def test_a_lock_that_its_last_holder_removed_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited for the holder of a copy's lock gets it just after the copy was removed with its lock."""
    path = tmp_path / "x.lock"
    left = [path]

    def flock_after_removal(descriptor: int, how: int, flock: Callable[[int, int], None] = fcntl.flock) -> None:
        flock(descriptor, how)
        if left:
            left.pop().unlink()

    monkeypatch.setattr(fcntl, "flock", flock_after_removal)
    with cache_module._locked(path, fcntl.LOCK_EX):
        with cache_module._locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB) as second:
            assert second is None
        assert path.exists()


def test_what_a_killed_process_left_is_no_copy_and_goes(web: WebServer, urls: list[str], folder: Path) -> None:
    web.stall = 1
    process = forked.Process(target=lambda: cached(folder).read(urls[0], [(0, 1)]))
    process.start()
    wait_for(lambda: web.count("GET") == 1, [process])
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    lock = next(path for path in folder.glob("*.lock") if path.name != "room.lock")
    assert lock.stat().st_size == SIZE  # the room it had set aside
    lock.with_suffix(".part").write_bytes(b"half")
    web.released.set()
    storage = cached(folder, shards=1)
    assert storage.read(urls[1], [(0, 1)]) == [b"\1"]
    assert not lock.exists()
    assert list(folder.glob("*.part")) == []
    assert storage.read(urls[0], [(0, 1)]) == [b"\0"]


def test_a_copy_that_is_complete_while_room_is_made_takes_room(
    urls: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = cached(folder, shards=1.5)
    copy = storage._pipes.path(urls[0], storage.stamp(urls[0]).version)
    lock, part = (copy.with_name(copy.name.partition("-")[0] + ending) for ending in (".lock", ".part"))
    folder.mkdir()
    part.write_bytes(content(0))
    lock.write_bytes(bytes(SIZE))  # the room that another process has set aside
    scandir = os.scandir

    def completed_meanwhile(path: Any) -> Any:
        names = list(scandir(path))
        if part.exists():
            part.replace(copy)
            os.truncate(lock, 0)
        return names

    monkeypatch.setattr(os, "scandir", completed_meanwhile)
    storage.read(urls[1], [(0, 1)])
    monkeypatch.undo()
    assert copies(folder) == ["1.tar"]


def test_what_a_process_left_that_was_killed_as_it_asked_for_more_room_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_STEP", SIZE)
    url = f"pipe:head -c {40 * SIZE} /dev/zero"

    def die_at_the_fifth_look() -> None:
        looks: list[Any] = []

        def scandir(path: Any, scandir: Callable[[Any], Any] = os.scandir) -> Any:
            looks.append(path)
            return os._exit(9) if looks.count(folder) == 5 else scandir(path)

        monkeypatch.setattr(os, "scandir", scandir)
        cached(folder).read(url, [(0, 1)])

    assert in_processes(die_at_the_fifth_look, ()) == [9]
    (part,) = folder.glob("*.part")
    assert part.stat().st_size
    cached(folder, shards=1).read("pipe:echo another", [(0, 1)])
    assert not part.exists()


def test_broken_downloads_leave_nothing_and_are_tried_again(
    web: WebServer, urls: list[str], folder: Path, sleeps: list[float]
) -> None:
    storage = cached(folder, sleep=sleeps.append)
    web.drop = 3
    with pytest.raises(ShardReadError, match=r"0\.tar: cannot be read: .*, 3 times in a row"):
        storage.read(urls[0], [(0, 1)])
    assert copies(folder) == []
    assert [path for path in folder.iterdir() if path.stat().st_size] == []
    web.drop = 1
    assert storage.read(urls[0], [(0, 1)]) == [b"\0"]
    assert sleeps == [1, 2, 1]
    with pytest.raises(MissingShardError, match=r"gone\.tar: no such shard"):
        storage.read(f"{web.url}/gone.tar", [(0, 1)])


def test_a_shard_that_changes_between_asking_and_download_is_no_copy(
    web: WebServer, urls: list[str], folder: Path, sleeps: list[float]
) -> None:
    storage = cached(folder, sleep=sleeps.append)
    storage._known_stamp(urls[0])
    web.files["0.tar"] = b"short"
    with pytest.raises(ShardReadError, match=r"5 bytes came, expected 100000, 3 times in a row"):
        storage.read(urls[0], [(0, 1)])
    assert storage.read(urls[0], [(0, 9)]) == [b"short"]


def test_a_shard_whose_new_version_another_thread_found_is_there(
    web: WebServer, urls: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = cached(folder)
    storage._known_stamp(urls[0])

    def touch(*_: object) -> bool:
        """Just before the copy is opened, a thread that failed to download the old version forgets it."""
        storage._stamps.clear()
        web.files["0.tar"] = b"short"
        return True

    monkeypatch.setattr(ShardCache, "touch", touch)
    assert storage.read(urls[0], [(0, 9)]) == [b"short"]


def test_a_shard_larger_than_the_cache_is_refused(web: WebServer, urls: list[str], folder: Path) -> None:
    storage = cached(folder, shards=0.5)
    with pytest.raises(InputError, match=r"0\.tar: 100KB, which does not fit in the cache of 50KB"):
        storage.read(urls[0], [(0, 1)])
    assert web.count("GET") == 0
    web.name_sizes = False
    with pytest.raises(InputError, match=r"0\.tar: more than 50KB, which does not fit in the cache of 50KB"):
        cached(folder, shards=0.5).read(urls[0], [(0, 1)])
    assert [path for path in folder.iterdir() if path.stat().st_size] == []


def test_a_full_disk_is_named(folder: Path) -> None:
    storage = cached(folder)
    url = "pipe:head -c 50000 /dev/zero"
    copy = storage._pipes.path(url, "")
    folder.mkdir()
    (folder / f"{copy.name.partition('-')[0]}.part").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="No space left on device"):
        storage.read(url, [(0, 1)])
    assert storage.read(url, [(0, 1)]) == [b"\0"]


def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path, urls: list[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"data\.cache\.folder = .*expected a folder on a local disk"):
            cached(folder).read(urls[0], [(0, 1)])


def test_other_files_in_the_folder_are_left_alone(urls: list[str], folder: Path) -> None:
    folder.mkdir()
    other = folder / "important.tar"
    other.write_bytes(bytes(20 * SIZE))
    os.utime(other, (1, 1))
    storage = cached(folder, shards=1)
    for number in range(3):
        storage.read(urls[number], [(0, 1)])
    assert other.exists()
    assert copies(folder) == ["2.tar"]


def test_variables_in_the_folder_must_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert expand_folder("$SCRATCH/a/${SCRATCH}") == tmp_path / "a" / str(tmp_path).lstrip("/")
    assert expand_folder("~/cache") == Path("/home/me/cache")
    for folder in ("$NOWHERE/a", "/a/${NOWHERE}", "$EMPTY/a"):
        with pytest.raises(
            InputError, match=r"data\.cache\.folder = .* the environment variable (NOWHERE|EMPTY) is not"
        ):
            ShardStorage(cache=CacheConfig(folder=folder))
