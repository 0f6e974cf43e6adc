"""Building the stored index: in parallel, stopped and continued, by several builders at once; where its files go."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_servers import WebServer

from mammut_clip.config.data import DatasetConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.build import known_shards
from mammut_clip.data.shards.byte_ranges import Stamp
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.index_files import Depth, Entry, merge, part_of, read_all, write_index
from mammut_clip.data.shards.index_places import INDEX_NAME, index_place
from mammut_clip.data.shards.parallel import each_done
from mammut_clip.data.shards.rows import ROW, Rows
from mammut_clip.data.shards.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.shards.sources import expand_sources
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.shards.stored_index import StoredIndex


@pytest.fixture(autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder of one test."""
    folder = tmp_path_factory.mktemp("caches")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def write_shards(folder: Path, shards: int, samples: int = 2, first: int = 0) -> None:
    for number in range(first, first + shards):
        with ShardSetWriter(folder, samples, lambda _, n=number: train_shard_name(n)) as writer:
            for sample in range(samples):
                writer.add(f"{number}_{sample}", {"jpg": bytes([number]), "txt": f"{number} {sample}".encode()})


def indexed(sources: list[str], folder: Path | None = None, workers: int = 1) -> ShardIndex:
    place = None if folder is None else str(folder)
    return ShardIndex.open([DatasetConfig(name="d", sources=sources)], ShardStorage(), folder=place, workers=workers)


def first_captions(index: ShardIndex) -> list[str]:
    """The caption of the first sample of each shard, read where the index says."""
    storage = ShardStorage()
    found = []
    for shard in range(len(index.shards)):
        row = index.rows(shard)[0]
        start = int(row["image_offset"] + row["caption_distance"])
        found.append(storage.read(index.url(shard), [(start, start + int(row["caption_size"]))])[0].decode())
    return found


def index_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "index" in path.name)


def test_several_workers_find_what_one_does_and_checksums_are_those_of_the_files(tmp_path: Path) -> None:
    import hashlib

    write_shards(tmp_path, 7)
    urls = expand_sources([str(tmp_path)])
    seen: list[tuple[int, int]] = []
    known_shards(
        urls,
        ShardStorage(),
        wanted=Depth.CHECKSUMMED,
        workers=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 7) for done in range(1, 8)]
    parallel = indexed([str(tmp_path)])
    assert first_captions(parallel) == [f"{number} 0" for number in range(7)]
    for shard in parallel.shards:
        assert shard.sha256 == hashlib.sha256(Path(shard.url).read_bytes()).hexdigest()
    (tmp_path / INDEX_NAME).unlink()
    alone = indexed([str(tmp_path)])
    assert all((alone.rows(shard) == parallel.rows(shard)).all() for shard in range(7))
    assert {shard.sha256 for shard in alone.shards} == {None}
    # What is known but not deep enough is looked into again; what is deeper is kept.
    assert known_shards(urls, ShardStorage(), enough=Depth.CHECKSUMMED, wanted=Depth.CHECKSUMMED)[urls[0]].entry.sha256
    assert known_shards(urls, ShardStorage(), enough=Depth.WALKED)[urls[0]].entry.sha256


BUILDER = '''
import logging, sys, time
from contextlib import contextmanager
from pathlib import Path
from mammut_clip.data.shards import build
from mammut_clip.data.shards.sources import expand_sources
from mammut_clip.data.shards.storage import ShardStorage

class Held(ShardStorage):
    """Notes which shards are walked, and waits before the seventh until there is a file `go`."""

    @contextmanager
    def open(self, url):
        while Path(url).stem >= "00006" and not Path(sys.argv[3]).exists():
            time.sleep(0.005)
        with super().open(url) as reader:
            yield reader
        with open(sys.argv[4], "a") as log:
            print(url, file=log)

if __name__ == "__main__":
    build.FLUSH_SECONDS = 0.0
    urls = expand_sources([sys.argv[1]])
    try:
        known = build.known_shards(urls, Held(), workers=int(sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit(130)
    print(len(known))
'''


class Builder:
    """Another process that builds the index of some shards, and notes each one that it walked."""

    def __init__(self, folder: Path, source: str, workers: int = 1) -> None:
        self.log = folder / f"log{time.monotonic_ns()}"
        self.log.touch()
        script = folder / "builder.py"
        script.write_text(BUILDER)
        self.process = subprocess.Popen(
            [sys.executable, script, source, str(workers), folder / "go", self.log],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )

    def walked(self) -> list[str]:
        return [Path(line).name for line in self.log.read_text().splitlines()]

    def finish(self) -> int:
        """The number of shards it found."""
        out, errors = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, errors
        return int(out)


def stored_in(folder: Path) -> set[str]:
    """The names of the shards that are stored."""
    return StoredIndex(expand_sources([str(folder)])).names(str(folder))


@pytest.mark.parametrize(
    ("sign", "workers"), [(signal.SIGKILL, 1), (signal.SIGKILL, 2), (signal.SIGINT, 1), (signal.SIGINT, 2)]
)
def test_a_builder_that_is_stopped_is_continued(tmp_path: Path, sign: signal.Signals, workers: int) -> None:
    data = tmp_path / "data"
    write_shards(data, 12)
    builder = Builder(tmp_path, str(data), workers)
    while stored_in(data) != {train_shard_name(n) for n in range(6)}:
        assert builder.process.poll() is None
        time.sleep(0.01)
    # Ctrl-C reaches all processes of a terminal; kill -9 only the one it names.
    os.killpg(builder.process.pid, sign) if sign == signal.SIGINT else builder.process.kill()
    _, errors = builder.process.communicate(timeout=300)
    assert builder.process.returncode == (130 if sign == signal.SIGINT else -sign)
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        for _ in range(6000):  # the workers end, too
            os.killpg(builder.process.pid, 0)
            time.sleep(0.01)
    (tmp_path / "go").touch()
    again = Builder(tmp_path, str(data))
    assert again.finish() == 12
    assert again.walked() == [train_shard_name(n) for n in range(6, 12)]
    assert first_captions(indexed([str(data)])) == [f"{number} 0" for number in range(12)]
    assert index_files(data) == [INDEX_NAME]


def test_two_builders_at_once_lose_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_shards(data, 16)
    # Each knows of some shards that the other does not.
    builders = [Builder(tmp_path, str(data / braces)) for braces in ("{00000..00010}.tar", "{00002..00015}.tar")]
    while stored_in(data) != {train_shard_name(n) for n in range(6)}:  # both are at work
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [builder.finish() for builder in builders] == [11, 14]
    last = Builder(tmp_path, str(data))
    assert last.finish() == 16
    assert last.walked() == []
    assert first_captions(indexed([str(data)])) == [f"{number} 0" for number in range(16)]


@pytest.mark.parametrize("wanted", [Depth.WALKED, Depth.COUNTED])
def test_a_clock_that_was_ahead_does_not_keep_a_shard_from_being_found_anew(tmp_path: Path, wanted: Depth) -> None:
    write_shards(tmp_path, 1)
    (tmp_path / "sizes.json").write_text('{"00000.tar": 2}')
    ahead = Entry("00000.tar", 100, "before", 7, time.time() + 3600.0, walked=False)
    write_index(part_of(tmp_path / INDEX_NAME), [(ahead, None)])  # of what the shard was, by another machine
    for _ in range(2):
        (found,) = known_shards([str(tmp_path / "00000.tar")], ShardStorage(), wanted=wanted).values()
        assert found.entry.samples == 2
        os.utime(tmp_path / "00000.tar", (1, 1))


def entry_of(number: int, **more: object) -> tuple[Entry, Rows]:
    rows = np.zeros(number % 5, dtype=ROW)
    rows["image_offset"] = number
    return Entry(f"{number:05d}.tar", 100, "v", len(rows), 1.0)._replace(**more), rows


def add_and_merge(job: tuple[Path, int]) -> int:
    """Add shards as parts, and merge after every other, as many builders do that know nothing of each other."""
    main, first = job
    for number in range(first, first + 40):
        write_index(part_of(main), [entry_of(number)])
        if number % 2:
            merge(main, lambda names: set())
        seen = {name for file in read_all(main) for name in file.shards}
        missing = {f"{n:05d}.tar" for n in range(first, number + 1)} - seen
        assert not missing, missing
    return first


def test_many_processes_that_add_read_and_merge_at_once_lose_nothing(tmp_path: Path) -> None:
    main = tmp_path / INDEX_NAME
    jobs = [(main, first) for first in (0, 100, 200, 300)]
    assert sorted(each_done(add_and_merge, jobs, 4)) == [0, 100, 200, 300]
    merge(main, lambda names: set())
    (file,) = read_all(main)
    assert file.path == main
    assert set(file.shards) == {f"{n:05d}.tar" for _, first in jobs for n in range(first, first + 40)}
    for name, located in file.shards.items():
        rows = located.rows()
        assert rows is not None
        assert rows["image_offset"].tolist() == [int(name[:5])] * (int(name[:5]) % 5)
    assert index_files(tmp_path) == [INDEX_NAME]


def test_a_merge_that_ends_and_one_that_begins_while_it_is_read_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = tmp_path / INDEX_NAME
    write_index(part_of(main), [entry_of(1)])
    reads = []

    def listed(_: Path) -> list[str]:
        """When it is first listed, what was a part shortly before is the main file, and is a part again after that."""
        names = index_files(tmp_path)
        if not reads:
            (tmp_path / names[0]).rename(main)
            names = index_files(tmp_path)
            main.rename(part_of(main))
        reads.append(names)
        return names

    monkeypatch.setattr("mammut_clip.data.shards.index_files._listed", listed)
    assert [list(file.shards) for file in read_all(main)] == [["00001.tar"]]
    assert len(reads) == 2 * 2


def test_a_merge_while_a_large_folder_is_listed_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = tmp_path / INDEX_NAME
    write_index(main, [entry_of(0)])
    write_index(part_of(main), [entry_of(1)])
    merged = []

    def listed(_: Path) -> list[str]:
        """The new file's name stands in what was read of the folder before, the old one's in what is read after."""
        names = index_files(tmp_path)
        if not merged:
            (old,) = set(names) - {INDEX_NAME}
            merged.append(part_of(main))
            write_index(merged[0], [entry_of(1)])
            (tmp_path / old).unlink()
            names.remove(old)
        return names

    monkeypatch.setattr("mammut_clip.data.shards.index_files._listed", listed)
    assert {name for file in read_all(main) for name in file.shards} == {"00000.tar", "00001.tar"}


def test_a_merge_by_a_user_with_a_stricter_umask_hides_nothing_from_others(tmp_path: Path) -> None:
    main = tmp_path / INDEX_NAME
    before = os.umask(0o022)
    try:
        write_index(part_of(main), [entry_of(1)])
        os.umask(0o077)
        write_index(part_of(main), [entry_of(2)])
        merge(main, lambda names: set())
    finally:
        os.umask(before)
    assert main.stat().st_mode & 0o777 == 0o644


known = st.tuples(st.sampled_from("ab"), st.sampled_from(Depth), st.integers(1, 100))
"""Version of a shard, what is known of it, when that was found."""


def entry_as(number: int, version: str, depth: Depth, found_at: int) -> tuple[Entry, Rows | None]:
    checksum = "5" if depth == Depth.CHECKSUMMED else None
    entry, rows = entry_of(number, version=version, found_at=float(found_at), sha256=checksum, walked=depth > 0)
    return entry, rows if depth > 0 else None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 3), known, min_size=1), min_size=1, max_size=5), st.data())
def test_what_is_true_now_and_known_best_survives_merges(
    parts: list[dict[int, tuple[str, Depth, int]]], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        main = Path(folder) / INDEX_NAME
        for part in parts:
            write_index(part_of(main), [entry_as(number, *state) for number, state in part.items()])
            if data.draw(st.booleans()):
                merge(main, lambda names: set())
        merge(main, lambda names: set())
        (file,) = read_all(main)
    found = {int(name[:5]): located.entry for name, located in file.shards.items()}
    assert found.keys() == {number for part in parts for number in part}
    for number, entry in found.items():
        seen = [part[number] for part in parts if number in part]
        latest = max(found_at for _, _, found_at in seen)
        last = [(version, depth) for version, depth, found_at in seen if found_at == latest]
        assert entry.version in {version for version, _ in last}
        assert entry.depth >= min(depth for version, depth in last if version == entry.version)
        if len({version for version, _, _ in seen}) == 1:
            assert entry.depth == max(depth for _, depth, _ in seen)


def test_a_worker_that_dies_ends_the_build_with_a_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ended abruptly"):
        list(each_done(os._exit, [1, 1], 2))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere: give that up for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_index_in_a_folder_that_cannot_be_listed_is_read(caplog: pytest.LogCaptureFixture) -> None:
    with TemporaryDirectory() as name:  # pytest's folders are closed to others
        folder = Path(name)
        write_index(folder / INDEX_NAME, [entry_of(1)])
        folder.chmod(0o311)
        with as_nobody():
            assert [list(file.shards) for file in read_all(folder / INDEX_NAME)] == [["00001.tar"]]
        folder.chmod(0o700)
        (folder / INDEX_NAME).chmod(0)
        folder.chmod(0o755)
        with as_nobody():
            assert read_all(folder / INDEX_NAME) == []
    assert caplog.text.count("is passed over") == 1


def test_where_the_folder_cannot_be_written_the_users_cache_holds_the_index(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with TemporaryDirectory() as name:  # pytest's folders are closed to others
        root = Path(name)
        root.chmod(0o755)
        data, caches = root / "data", root / "caches"
        write_shards(data, 3)
        caches.mkdir(mode=0o777)
        caches.chmod(0o777)
        data.chmod(0o555)
        monkeypatch.setenv("XDG_CACHE_HOME", str(caches))
        caplog.set_level("INFO")
        with as_nobody():
            assert first_captions(indexed([str(data)])) == ["0 0", "1 0", "2 0"]
        (kept,) = (caches / "mammut-clip" / "indices").iterdir()
        assert kept.name.startswith("-".join(data.parts[-3:]).strip("-/"))
        assert f"is kept in {kept}, since {data / INDEX_NAME}" in caplog.text
        with as_nobody():
            assert all((data.glob("*.tar"), len(indexed([str(data)])) == 6))
        assert StoredIndex([str(data / "00000.tar")]).names(str(data)) == {train_shard_name(n) for n in range(3)}
        caches.chmod(0o555)
        kept.unlink()
        (caches / "mammut-clip" / "indices").chmod(0o555)
        with as_nobody(), pytest.raises(InputError, match=r"can be kept nowhere: .*data\.index"):
            indexed([str(data)])
        data.chmod(0o755)


def test_the_folder_of_the_config_holds_all_indices(tmp_path: Path, caches: Path) -> None:
    write_shards(tmp_path / "a" / "train", 2)
    write_shards(tmp_path / "b" / "train", 1, first=5)
    named = tmp_path / "indices"
    index = indexed([str(tmp_path / "a" / "train"), str(tmp_path / "b" / "train")], named)
    assert first_captions(index) == ["0 0", "1 0", "5 0"]
    assert len(index_files(named)) == 2
    assert all("train" in name for name in index_files(named))
    assert not list(tmp_path.glob("*/train/*index*"))
    assert not list(caches.iterdir())
    # One that lies beside the shards is used, too.
    indexed([str(tmp_path / "a" / "train")])
    for path in named.iterdir():
        path.unlink()
    indexed([str(tmp_path / "a" / "train")], named)
    assert index_files(named) == []


def test_remote_shards_have_one_index_per_parent(tmp_path: Path, caches: Path, web: WebServer) -> None:
    write_shards(tmp_path, 4)
    for number in range(4):
        name = train_shard_name(number)
        web.files[f"{'ab'[number % 2]}/{name}"] = (tmp_path / name).read_bytes()
    web.files["a/sizes.json"] = json.dumps({"00000.tar": 2, "00002.tar": 7}).encode()
    urls = [f"{web.url}/a/{{00000,00002}}.tar", f"{web.url}/b/00001.tar", f"{web.url}/b/00003.tar"]
    index = indexed(urls)
    assert index.counts.tolist() == [2, 2, 2, 2]
    assert first_captions(index) == ["0 0", "2 0", "1 0", "3 0"]
    folder = caches / "mammut-clip" / "indices"
    assert len(list(folder.iterdir())) == 2
    gets = web.count("GET")
    assert len(indexed(urls)) == 8
    assert web.count("GET") == gets
    web.files["b/00003.tar"] = web.files["b/00001.tar"]  # another version
    assert first_captions(indexed(urls)) == ["0 0", "2 0", "1 0", "1 0"]
    for path in folder.iterdir():
        path.unlink()
    gets = web.count("GET")
    known = known_shards(expand_sources(urls[:1]), ShardStorage(), enough=Depth.COUNTED, wanted=Depth.COUNTED)
    assert [located.entry.samples for located in known.values()] == [2, 7]
    assert web.count("GET") == gets + 1  # sizes.json


def test_all_pipes_share_an_index(tmp_path: Path, caches: Path) -> None:
    write_shards(tmp_path / "a", 1)
    write_shards(tmp_path / "b", 1, first=1)
    sources = [f"pipe:cat {tmp_path / 'a' / '00000.tar'}", f"pipe:cat {tmp_path / 'b' / '00001.tar'}"]
    index = indexed(sources)
    assert first_captions(index) == ["0 0", "1 0"]
    assert index.summary() == {"shards": 2, "samples": 4, "bytes": 0}
    assert len(list((caches / "mammut-clip" / "indices").iterdir())) == 1
    (tmp_path / "a" / "00000.tar").unlink()  # what is stored counts: a pipe is not run to look for changes
    assert len(indexed(sources)) == 4


def test_names_of_index_files_tell_groups_apart_and_no_passwords() -> None:
    groups = ["/data/a/train", "/data/b/train", "s3://bucket/train", "https://user:secret@host/train", "pipe:", "/"]
    names = [index_place(group, "/indices").written[0].name for group in groups]
    assert len(set(names)) == len(groups)
    assert "secret" not in " ".join(names)
    assert all(name.endswith(".index") and not name.startswith((".", "-")) for name in names)


def test_a_stamp_in_another_state_does_not_match(tmp_path: Path) -> None:
    write_index(tmp_path / INDEX_NAME, [entry_of(3)])
    stored = StoredIndex([str(tmp_path / "00003.tar")])
    assert stored.matching(str(tmp_path / "00003.tar"), Stamp(100, "v")) is not None
    assert stored.matching(str(tmp_path / "00003.tar"), Stamp(100, "w")) is None
    assert stored.matching(str(tmp_path / "00003.tar"), Stamp(101, "v")) is None
    assert stored.newest(str(tmp_path / "00003.tar")) is not None
