"""The index is made by rank 0 while the others wait, however long that takes."""

import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from gloo_processes import forking
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train import open_data
from ports import reserved_port

MakeRun = Callable[..., RunDir]
SHARDS = 5


@pytest.fixture
def unindexed(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    write_toy_train(folder, SHARDS * 16, samples_per_shard=16)
    for index in set(folder.rglob("*")) - set(folder.glob("*.tar")):
        if index.is_file():
            index.unlink()
    return folder


def _rank(rank: int, port: int, run: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    heard: list[bool] = []
    is_done = open_data._is_done

    def listen(done: bool, process: Process) -> bool:
        heard.append(is_done(done, process))
        return heard[-1]

    open_data._is_done = listen
    if rank > 0:
        open_data.open_index = None  # the file system is asked by rank 0 alone
    open_data._SIGN_EVERY = 0.0
    stream = open_data.open_data(RunDir(Path(run)).config, Process(rank, 2, rank, torch.device("cpu")))
    with closing(stream.batches(0, 32)) as batches:
        positions = list(next(batches).positions)
    (Path(run) / f"{rank}.json").write_text(json.dumps({"heard": heard, "positions": positions}))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.distributed
def test_others_get_signs_of_life_until_the_index_is_there(make_run: MakeRun, unindexed: Path) -> None:
    run = make_run(data={"train": str(unindexed), "workers": 0})
    forking()
    with reserved_port() as port:
        mp.start_processes(_rank, (port, str(run.path)), nprocs=2, start_method="forkserver")
    found = [json.loads((run.path / f"{rank}.json").read_text()) for rank in range(2)]
    assert found[0]["heard"] == found[1]["heard"] == [False] * SHARDS + [True]
    assert found[0]["positions"] == list(range(0, 32, 2))
    assert found[1]["positions"] == list(range(1, 32, 2))


def test_progress_is_told_and_many_shards_get_advice(
    make_run: MakeRun, unindexed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_run(data={"train": str(unindexed), "workers": 0}).config
    one = Process(0, 1, 0, torch.device("cpu"))
    monkeypatch.setattr(open_data, "_TELL_EVERY", 0.0)
    monkeypatch.setattr(open_data, "_MANY", SHARDS - 1)
    open_data.open_data(config, one)
    advice, *lines = capsys.readouterr().err.splitlines()
    assert f"mammut-clip data index {unindexed}" in advice and "--counts-only" in advice
    assert lines == [f"indexed {done} of {SHARDS} shards" for done in range(1, SHARDS + 1)]
    open_data.open_data(config, one)
    assert capsys.readouterr().err == "", "what is indexed is not told of again"
