"""`mammut-clip data index`, `check` and `tokenizer` as a user meets them: what they print, and with which exit code."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from mammut_clip import cli
from mammut_clip.data.shards.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.toy_world import TRAIN, ToyWorld, encode_jpeg


class Output(NamedTuple):
    stdout: str
    stderr: str


Run = Callable[..., Output]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The program's entry point, in this process: each start of another would cost a second."""

    def run_verb(*arguments: str | Path, code: int = 0) -> Output:
        monkeypatch.setattr(sys, "argv", ["mammut-clip", "data", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = Output(*capsys.readouterr())
        assert ended.value.code == code, output.stderr
        return output

    return run_verb


def write_shards(folder: Path) -> None:
    with ShardSetWriter(folder, 4, train_shard_name) as writer:
        for number, sample in enumerate(ToyWorld(0, 32).samples(TRAIN, 0, 12)):
            caption = b" " if number == 5 else sample.caption.encode()
            writer.add(f"{number:02d}", {"jpg": encode_jpeg(sample.image), "txt": caption})


def test_index_check_and_tokenizer(tmp_path: Path, run: Run) -> None:
    data = tmp_path / "data"
    write_shards(data)
    size = sum(path.stat().st_size for path in data.iterdir())
    found = run("index", data, "--workers", "2", "--json")
    assert json.loads(found.stdout) == {"shards": 3, "samples": 12, "bytes": size}
    assert f"index: {data / 'shards.index'}" in found.stderr
    assert b'"sha256":"' in (data / "shards.index").read_bytes()
    assert run("check", data).stdout == f"shards 3, samples 12, bytes {size:,}\n"
    decoded = run("check", data, "--decode", "--json", code=3)
    assert json.loads(decoded.stdout)["bad_samples"] == {"empty_caption": 1}
    learnt = run("tokenizer", data, "--out", tmp_path / "t.json", "--vocab-size", "64", "--json")
    printed = json.loads(learnt.stdout)
    assert (printed["captions"], printed["skipped"]) == (11, 1)
    assert len(json.loads((tmp_path / "t.json").read_text())["model"]["vocab"]) > 20


def test_damaged_shards_are_listed_with_exit_code_3(tmp_path: Path, run: Run) -> None:
    write_shards(tmp_path)
    os.truncate(tmp_path / "00001.tar", 5000)
    problem = f"{tmp_path / '00001.tar'}: truncated tar: the file ends at byte 5000"
    printed = run("index", tmp_path, "--no-checksum", code=3).stdout
    assert problem in printed
    assert "problems" not in printed.splitlines()[0]
    listed = json.loads(run("index", tmp_path, "--no-checksum", "--json", code=3).stdout)["problems"]
    assert [entry["shard"] for entry in listed] == [str(tmp_path / "00001.tar")]
    assert b"sha256" not in (tmp_path / "shards.index").read_bytes()
    assert problem in run("check", tmp_path, code=3).stdout


def test_counting_only_and_naming_the_folder(tmp_path: Path, run: Run) -> None:
    data, indices = tmp_path / "data", tmp_path / "indices"
    write_shards(data)
    assert "00000.tar (and 2 more of 3): nobody noted" in run("index", data, "--counts-only", code=2).stderr
    (data / "sizes.json").write_text(json.dumps({train_shard_name(n): 5 for n in range(3)}))
    counted = run("index", data, "--counts-only", "--folder", indices, "--json")
    assert json.loads(counted.stdout)["samples"] == 15
    assert not (data / "shards.index").exists()
    assert len(list(indices.iterdir())) == 1
    assert "4 samples, noted were 5" in run("check", data, "--folder", indices, code=3).stdout
    assert "expected one of them" in run("index", data, "--counts-only", "--no-checksum", code=2).stderr
