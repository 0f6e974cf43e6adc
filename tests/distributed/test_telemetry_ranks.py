"""Rows of metrics put together over real processes (gloo), and what a checkpoint of them holds for fewer or more."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gloo_processes import Results, run_processes
from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.step import LossTerms
from mammut_clip.train.telemetry import Telemetry, put_together

WORLD = 2


class Ranks:
    """A source: each rank counts its number, from 1, at every step."""

    def __init__(self, rank: int) -> None:
        self._rank, self._steps = rank, 0

    def step(self) -> None:
        self._steps += 1

    def numbers(self) -> list[float]:
        steps, self._steps = self._steps, 0
        return [float(steps * (self._rank + 1))]

    def row(self, sums: list[float], samples_seen: int, seconds: float) -> dict[str, Any]:
        return {"ranks": sums[0]}


def make_run(folder: Path) -> RunDir:
    values = {
        "name": "ranks",
        "model": "toy-S",
        "samples_seen": 512,
        "global_batch_size": 32,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
        "logging": {"every": 64},
    }
    return RunDir.create(folder, validate(RunConfig, values, "test"))


def rank_main(folder: Path, rank: int) -> Results:
    """One row, three steps more and what is pending then; the messages themselves; a loss that is lost on one rank."""
    process = Process(rank, WORLD, rank, torch.device("cpu"))
    source = Ranks(rank)
    telemetry = Telemetry(RunDir(folder), RunDir(folder).config, process, [source], 0, 1.0, {})
    losses = LossTerms(torch.tensor(rank + 1.0), torch.tensor(0.1 * rank), None, torch.tensor(float(rank % 2)))
    broken = LossTerms(torch.tensor(float("nan") if rank == 1 else 1.0), torch.tensor(2.0), None, torch.tensor(0.5))
    said: list[Any] = []
    for step in range(1, 6):
        source.step()
        telemetry.step()
        if step % 2 == 0:
            row = telemetry.log(32 * step, losses if step == 2 else broken, 0.1, torch.tensor(1.0), None)
            said.append({name: value for name, value in row.items() if name != "time"})
    said.append(telemetry.pending())
    return {
        "said": torch.tensor(list(json.dumps(said).encode()), dtype=torch.uint8),
        **{
            name: torch.tensor(part, dtype=torch.float64)
            for name, part in put_together(
                [torch.tensor(0.1 * rank), torch.tensor(rank + 0.25)], [0.1 * rank, 1.0], [float(rank), -0.5], process
            )
            ._asdict()
            .items()
        },
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, list[Results]]:
    folder = tmp_path_factory.mktemp("ranks")
    run = make_run(folder)
    return run, run_processes(partial(rank_main, run.path), WORLD, folder)


def said(results: Results) -> list[Any]:
    return json.loads(bytes(results["said"].tolist()))


@pytest.mark.distributed
def test_means_sums_and_maxima_come_in_one_message(found: tuple[RunDir, list[Results]]) -> None:
    for results in found[1]:
        torch.testing.assert_close(results["means"], torch.tensor([0.05, 0.75], dtype=torch.float64))
        torch.testing.assert_close(results["sums"], torch.tensor([0.1, 2.0], dtype=torch.float64))
        assert results["maxima"].tolist() == [1.0, -0.5]
        assert all(torch.equal(results[name], found[1][0][name]) for name in ("means", "sums", "maxima"))


@pytest.mark.distributed
def test_a_row_is_that_of_all_ranks_and_is_written_once(found: tuple[RunDir, list[Results]]) -> None:
    run, results = found
    rows = run.metrics
    assert [row["samples_seen"] for row in rows] == [64, 128]
    assert (rows[0]["loss"], rows[0]["contrastive_accuracy"], rows[0]["ranks"]) == (1.5, 0.5, 6.0)
    assert rows[0]["samples_per_second_per_gpu"] == pytest.approx(rows[0]["samples_per_second"] / WORLD, abs=0.01)
    assert (rows[1]["loss"], rows[1]["contrastive_loss"], rows[1]["ranks"]) == (None, 2.0, 6.0)
    for one in results:
        assert said(one)[:2] == [{name: value for name, value in row.items() if name != "time"} for row in rows]


@pytest.mark.distributed
def test_what_is_pending_is_counted_once_whoever_goes_on(found: tuple[RunDir, list[Results]]) -> None:
    run, results = found
    pending = said(results[0])[2]
    assert all(said(one)[2] == pending for one in results)
    assert (pending["samples"], pending["Ranks.0"]) == (32, 3.0)
    alone = Process(0, 1, 0, torch.device("cpu"))
    source = Ranks(0)
    telemetry = Telemetry(run, run.config, alone, [source], 160, 1.0, pending)
    source.step()
    telemetry.step()
    one = torch.tensor(1.0)
    assert telemetry.log(192, LossTerms(one, one, None, one), 0.1, one, None)["ranks"] == 4.0
    assert [row["samples_seen"] for row in run.metrics] == [64, 128, 192]
