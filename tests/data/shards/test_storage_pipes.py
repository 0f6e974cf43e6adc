"""Shards out of commands: run once, read in parts, errors with command and exit code, and nothing left behind."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mammut_clip.config.data import CacheConfig, ReadingConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.storage import ShardReadError, ShardStorage

SIZE = 200_000
DATA = os.urandom(SIZE)
offsets = st.integers(0, SIZE + 50_000)
ranges = st.lists(st.tuples(offsets, offsets).map(lambda pair: (min(pair), max(pair))), max_size=6)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A command that says how often it ran, in a file `runs`."""
    (tmp_path / "a b.tar").write_bytes(DATA)
    return f"pipe:cat '{tmp_path}/a b.tar' && echo >> {tmp_path}/runs"


def runs(folder: Path) -> int:
    return (folder / "runs").read_text().count("\n") if (folder / "runs").exists() else 0


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ranges)
def test_reads_are_the_commands_output(url: str, wanted: list[tuple[int, int]]) -> None:
    assert ShardStorage().read(url, wanted) == [DATA[start:stop] for start, stop in wanted]


def test_a_command_runs_once_for_all_who_read(tmp_path: Path, url: str) -> None:
    storage = ShardStorage()
    assert storage.stamp(url) == (None, "")
    assert runs(tmp_path) == 0
    child = os.fork()
    if child == 0:
        os._exit(0 if storage.read(url, [(5, 9)]) == [DATA[5:9]] else 1)
    assert os.waitpid(child, 0)[1] == 0
    copy = pickle.loads(pickle.dumps(storage))
    assert copy.read(url, [(SIZE - 3, SIZE)]) == [DATA[-3:]]
    with storage.local(url) as path, storage.open(url) as reader:
        assert path.read_bytes() == DATA
        assert reader.size == SIZE
        assert reader.read_at(100, 512) == DATA[100:612]
    assert runs(tmp_path) == 1


def test_the_cache_keeps_what_came_out_for_the_next_run(tmp_path: Path, url: str) -> None:
    for _ in range(2):
        storage = ShardStorage(cache=CacheConfig(folder=str(tmp_path / "cache")))
        assert storage.read(url, [(SIZE - 3, SIZE)]) == [DATA[-3:]]
    assert runs(tmp_path) == 1


def test_the_temporary_folder_goes_with_the_process_that_made_it(tmp_path: Path, url: str) -> None:
    code = f"""
import os, pathlib
from mammut_clip.data.shards.storage import ShardStorage
storage = ShardStorage()
if os.fork() == 0:
    storage.read({url!r}, [(0, 1)])
    raise SystemExit  # a fork that ends as a whole program would, with its exit handlers
os.wait()
print(*(str(path) for path in pathlib.Path({str(tmp_path / "tmp")!r}).rglob("*")))
"""
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.startswith(str(tmp_path / "tmp" / "mammut-clip-"))
    assert "_runs" in said.stdout
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_command_that_fails_is_tried_again(tmp_path: Path, sleeps: list[float]) -> None:
    storage = ShardStorage(ReadingConfig(retries=3), sleep=sleeps.append)
    # Fails after half of its output until the third time.
    command = f"pipe:cd {tmp_path}; echo >> runs; echo half; test $(wc -l < runs) -ge 3 || exit 7; echo whole"
    assert storage.read(command, [(0, 99)]) == [b"half\nwhole\n"]
    assert sleeps == [1, 2]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("cat /nowhere/a.tar 2>/dev/null", "the command ended with exit code 1"),
        ("echo half; exit 7", "the command ended with exit code 7"),
        ("echo half; kill -9 $$", "the command ended with exit code -9"),
        ("true", "the command wrote nothing"),
    ],
)
def test_a_command_that_keeps_failing_is_named_with_its_exit_code(
    command: str, message: str, sleeps: list[float]
) -> None:
    storage = ShardStorage(ReadingConfig(retries=2), sleep=sleeps.append)
    with pytest.raises(ShardReadError) as caught:
        storage.read(f"pipe:{command}", [(0, 1)])
    assert str(caught.value) == f"pipe:{command}: cannot be read: {message}, 3 times in a row"
    assert sleeps == [1, 2]


@pytest.mark.parametrize("command", ["exec yes", "head -c 4000000 /dev/zero; sleep 20; touch went_on"])
def test_a_command_that_writes_more_than_fits_is_stopped(tmp_path: Path, command: str) -> None:
    storage = ShardStorage(cache=CacheConfig(folder=str(tmp_path / "cache"), size=3_000_000))
    with pytest.raises(InputError, match=rf"{command}: more than 3MB, which does not fit in the cache of 3MB"):
        storage.read(f"pipe:cd {tmp_path}; echo $$ > pid; {command}", [(0, 1)])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGCONT)
    assert not (tmp_path / "went_on").exists()
    assert [path for path in (tmp_path / "cache").iterdir() if path.stat().st_size] == []
