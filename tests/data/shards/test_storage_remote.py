"""Shards on a real web server and a real S3 endpoint: right bytes, few requests, failures survived or named."""

import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shard_servers import WebServer
from torch.utils.data import DataLoader, Dataset

from mammut_clip.config.data import ReadingConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards import remote_files
from mammut_clip.data.shards.byte_ranges import MAX_GAP, Runs
from mammut_clip.data.shards.sources import expand_sources
from mammut_clip.data.shards.storage import MissingShardError, ShardReadError, ShardStorage

SIZE = 300_000
DATA = os.urandom(SIZE)
offsets = st.integers(0, SIZE + 100_000)
ranges = st.lists(st.tuples(offsets, offsets).map(lambda pair: (min(pair), max(pair))), max_size=6)
same_server = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def url(web: WebServer) -> str:
    web.files["a.tar"] = DATA
    return f"{web.url}/a.tar"


@pytest.fixture
def storage(sleeps: list[float]) -> ShardStorage:
    return ShardStorage(ReadingConfig(retries=3), sleep=sleeps.append)


@same_server
@given(ranges)
def test_web_reads_are_the_files_bytes(
    web: WebServer, url: str, storage: ShardStorage, wanted: list[tuple[int, int]]
) -> None:
    web.requests.clear()
    assert storage.read(url, wanted) == [DATA[start:stop] for start, stop in wanted]
    assert (web.count("GET"), web.count("HEAD")) == (len(Runs(wanted).runs), 0)


@same_server
@given(ranges)
def test_s3_reads_are_the_objects_bytes(
    s3: Callable[[str, bytes], str], storage: ShardStorage, wanted: list[tuple[int, int]]
) -> None:
    url = s3("a.tar", DATA)
    assert storage.read(url, wanted) == [DATA[start:stop] for start, stop in wanted]


def test_stamps_follow_what_the_server_has(
    web: WebServer, url: str, s3: Callable[[str, bytes], str], storage: ShardStorage
) -> None:
    for put in (lambda data: web.files.update({"a.tar": data}), lambda data: s3("stamp.tar", data)):
        put(b"12345")
        there = url if put(b"12345") is None else "s3://shards/stamp.tar"
        first = storage.stamp(there)
        assert first.size == 5
        assert first.version != ""
        assert storage.stamp(there) == first
        put(b"abcde")
        second = storage.stamp(there)
        assert second.size == 5
        assert second.version != first.version
    assert web.count("GET") == 0
    assert "s3://shards/stamps/a.tar" in expand_sources([s3("stamps/a.tar", b"1").removesuffix("a.tar")])
    s3("stamps/a.tar", b"22")  # what listing saw is not believed
    assert storage.stamp("s3://shards/stamps/a.tar").size == 2


def test_headers_are_walked_in_blocks(
    web: WebServer, url: str, storage: ShardStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "BLOCK", 65_536)
    with storage.open(url) as reader:
        assert reader.size == SIZE
        for offset in range(0, SIZE, 1024):
            assert reader.read_at(offset, 512) == DATA[offset : offset + 512]
        assert web.count("GET") == -(-SIZE // 65_536)
        assert reader.read_at(SIZE - 10, 512) == DATA[-10:]
        assert reader.read_at(SIZE + 10, 512) == b""
        assert reader.read_at(60_000, 200_000) == DATA[60_000:260_000]
        assert len(reader._blocks) <= 4  # type: ignore[attr-defined]


def test_a_server_that_names_no_sizes_is_read_too(
    web: WebServer, url: str, storage: ShardStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "BLOCK", 65_536)
    web.name_sizes = False
    assert storage.stamp(url).size is None
    with storage.open(url) as reader:
        assert reader.size is None
        assert b"".join(reader.read_at(offset, 9999) for offset in range(0, SIZE, 9999)) == DATA
        assert reader.read_at(SIZE, 512) == b""
    with storage.local(url) as path:
        assert path.read_bytes() == DATA


def test_bytes_are_the_files_and_not_of_something_compressed(web: WebServer, url: str, storage: ShardStorage) -> None:
    web.compress = True
    assert storage.stamp(url).size == SIZE
    assert storage.read(url, [(100, 200)]) == [DATA[100:200]]
    with storage.local(url) as path:
        assert path.read_bytes() == DATA


def test_whole_files_are_copied_and_go_afterwards(
    url: str, s3: Callable[[str, bytes], str], storage: ShardStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "_s3_options", lambda: {"max_concurrency": 2, "default_block_size": 70_000})
    monkeypatch.setattr(remote_files, "_filesystems", {})
    for source in (url, s3("whole.tar", DATA)):
        with storage.local(source) as path:
            assert path.read_bytes() == DATA
        assert not path.exists()
        assert not path.parent.exists()


def test_errors_that_pass_are_waited_for(web: WebServer, url: str, storage: ShardStorage, sleeps: list[float]) -> None:
    far = [(0, 10), (20 + MAX_GAP, 30 + MAX_GAP), (90_000 + 2 * MAX_GAP, 90_010 + 2 * MAX_GAP)]
    right = [DATA[start:stop] for start, stop in far]
    web.fail = 2
    assert storage.read(url, far) == right
    assert sleeps == [1]
    assert web.count("GET") == 3 + 2  # only what failed is asked for again
    web.fail, web.status = 1, 429
    assert storage.read(url, far) == right
    web.drop = 1
    assert storage.read(url, far) == right
    assert sleeps == [1, 1, 1]
    web.fail, web.status = 2, 503  # the HEAD and the GET that fsspec tries after it
    assert storage.stamp(url).size == SIZE
    assert sleeps == [1] * 4
    web.drop = 2
    with storage.local(url) as path:
        assert path.read_bytes() == DATA
    assert sleeps == [1] * 4 + [1, 2]


def test_errors_that_stay_name_the_shard(web: WebServer, url: str, storage: ShardStorage, sleeps: list[float]) -> None:
    web.fail = 1000
    with pytest.raises(
        ShardReadError, match=r"a\.tar: cannot be read: the server answered 503 Service Unavailable, 4 times in a row"
    ):
        storage.read(url, [(0, 1)])
    with pytest.raises(
        ShardReadError, match=r"a\.tar: cannot be read: the server answered 503 Service Unavailable, 4 times in a row"
    ):
        storage.stamp(url)
    assert sleeps == [1, 2, 4] * 2
    web.status = 403
    for use in (lambda: storage.read(url, [(0, 1)]), lambda: storage.stamp(url)):
        with pytest.raises(ShardReadError, match=r"a\.tar: cannot be read: the server answered 403 Forbidden$"):
            use()
    web.fail = 0
    for use in (
        storage.stamp,
        lambda there: storage.read(there, [(0, 1)]),
        lambda there: storage.open(there).__enter__(),
    ):
        with pytest.raises(MissingShardError, match=r"gone\.tar: no such shard"):
            use(url.replace("a.tar", "gone.tar"))
    assert sleeps == [1, 2, 4] * 2


def test_a_server_that_is_not_there_is_named(url: str, storage: ShardStorage, sleeps: list[float]) -> None:
    nobody = "http://127.0.0.1:9/a.tar"
    for use in (lambda: storage.read(nobody, [(0, 1)]), lambda: storage.stamp(nobody)):
        with pytest.raises(ShardReadError, match=r"127\.0\.0\.1:9/a\.tar: cannot be read: .*, 4 times in a row"):
            use()
    assert sleeps == [1, 2, 4] * 2


def test_a_server_that_falls_silent_is_asked_again(
    web: WebServer, url: str, storage: ShardStorage, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "_STALL_SECONDS", 3.0)
    monkeypatch.setattr(remote_files, "_filesystems", {})
    web.stall = 1
    assert storage.read(url, [(0, 9)]) == [DATA[:9]]
    assert sleeps == [1]


@pytest.mark.parametrize("wanted", [(0, 10), (10, 20), (SIZE - 10, SIZE + 2 * SIZE), (0, SIZE - 1)])
def test_a_server_without_ranges_is_named_with_what_helps(
    web: WebServer, url: str, storage: ShardStorage, sleeps: list[float], wanted: tuple[int, int]
) -> None:
    web.ignore_ranges = True
    with pytest.raises(ShardReadError, match=r"a\.tar: the server ignores Range requests.*data\.cache\.folder"):
        storage.read(url, [wanted])
    assert storage.read(url, [(0, SIZE)]) == [DATA]
    with storage.local(url) as path:
        assert path.read_bytes() == DATA
    assert sleeps == []


def test_s3_says_what_is_missing_or_forbidden(
    s3: Callable[[str, bytes], str], storage: ShardStorage, sleeps: list[float]
) -> None:
    url = s3("folder/a.tar", DATA)
    for missing in ("s3://shards/gone.tar", "s3://nobucket/a.tar"):
        for use in (storage.stamp, lambda there: storage.read(there, [(0, 1)])):
            with pytest.raises(MissingShardError, match=f"{missing}: no such shard"):
                use(missing)
    with pytest.raises(InputError, match="s3://shards/folder: a folder; expected a tar file, or a /"):
        storage.stamp("s3://shards/folder")
    assert storage.read(url, [(SIZE, SIZE + 10), (5, 6)]) == [b"", DATA[5:6]]
    assert sleeps == []


def test_s3_errors_are_tried_again_by_us_alone(
    web: WebServer, storage: ShardStorage, sleeps: list[float], tmp_path: Path
) -> None:
    """The endpoint is a server that fails, named in a configuration file, as is the profile's key."""
    web.files["bucket/a.tar"] = DATA
    config = tmp_path / "config"
    config.write_text(
        f"[default]\nendpoint_url = {web.url}\nregion = eu-south-1\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    code = """
import sys
from mammut_clip.config.data import ReadingConfig
from mammut_clip.data.shards.storage import ShardStorage
pauses = []
storage = ShardStorage(ReadingConfig(retries=3), sleep=pauses.append)
sys.stdout.buffer.write(storage.read("s3://bucket/a.tar", [(100, 200)])[0])
sys.stderr.write(f"pauses {pauses}")
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {**clean, "AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    web.fail, web.drop = 2, 1
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout == DATA[100:200]
    assert done.stderr.endswith(b"pauses [1.0, 2.0, 4.0]")
    assert web.count("GET") == 4


def test_other_protocols_of_fsspec_are_read(storage: ShardStorage) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/a.tar", DATA)
    assert storage.read("memory://a.tar", [(3, 9), (SIZE, SIZE + 1)]) == [DATA[3:9], b""]
    assert storage.stamp("memory://a.tar").size == SIZE
    with storage.local("memory://a.tar") as path, storage.open("memory://a.tar") as reader:
        assert path.read_bytes() == DATA
        assert reader.read_at(5, 9) == DATA[5:14]
    with pytest.raises(MissingShardError, match="no such shard"):
        storage.stamp("memory://gone.tar")


class Reads(Dataset[bytes]):
    """Ranges of two shards by number."""

    def __init__(self, storage: ShardStorage, urls: list[str]) -> None:
        self.storage = storage
        self.urls = urls

    def __len__(self) -> int:
        return 16

    def __getitem__(self, number: int) -> bytes:
        if number < 2:
            gc.collect()  # would close what the parent still uses, if anything of it were collected here
        return self.storage.read(self.urls[number % len(self.urls)], [(number * 1000, number * 1000 + 500)])[0]


def test_forked_workers_read_after_and_while_their_parent_does(
    web: WebServer, url: str, s3: Callable[[str, bytes], str], storage: ShardStorage, sleeps: list[float]
) -> None:
    urls = [url, s3("fork.tar", DATA)]

    def parent_reads() -> Iterator[bool]:
        for there in urls:
            yield storage.read(there, [(7, 99)]) == [DATA[7:99]]

    assert all(parent_reads())
    loader = DataLoader(Reads(storage, urls), batch_size=None, num_workers=2, multiprocessing_context="fork")
    for _ in range(2):
        for number, data in enumerate(loader):
            assert data == DATA[number * 1000 : number * 1000 + 500]
            if number % 5 == 0:
                assert all(parent_reads())
    assert all(parent_reads())
    assert sleeps == []  # nothing was lost on the way


def test_a_spawned_worker_reads(url: str) -> None:
    copy = pickle.loads(pickle.dumps(ShardStorage()))
    assert copy.read(url, [(1, 9)]) == [DATA[1:9]]
