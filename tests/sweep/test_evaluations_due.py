"""Which checkpoints are due to be evaluated: from what stands in the run directories."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config.cluster import load_cluster
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.runs.ends import End, append_end
from mammut_clip.sweep import make_plan, sweep_status
from mammut_clip.sweep.evaluations import FIRST_GUESS_SECONDS, due_evaluations
from mammut_clip.sweep.prepare import prepare
from mammut_clip.sweep.stored import Launched

BASE: dict[str, Any] = {
    "model": "toy-XS",
    "samples_seen": 1280,
    "global_batch_size": 128,
    "data": {"train": "data/toy"},
    "optimizer": {"lr": 1e-3},
    "checkpoint": {"every": 128, "permanent": [256]},
}
TASKS = ("toy_pairs", "toy_retrieval")


def launched(root: Path, **evaluation: Any) -> Launched:
    settings = {"suite": "toy", "where": "jobs"} | evaluation
    values = {"name": "s", "base": BASE, "axes": {"seed": [1, 2]}, "evaluation": settings}
    values["policy"] = {"backoff_seconds": 0}
    return prepare(make_plan(validate(SweepConfig, values, "s.yaml"), load_cluster("local")), root)


def checkpoint(sweep: Launched, *points: int, run: str = "seed1", at: float | None = None) -> None:
    for point in points:
        folder = sweep.run(run).checkpoint(point).path
        folder.mkdir(parents=True)
        (folder / "complete").write_text("{}")
        if at is not None:
            os.utime(folder / "complete", (at, at))


def result(sweep: Launched, *points: int, tasks: tuple[str, ...] = TASKS, run: str = "seed1") -> None:
    for point in points:
        for task in tasks:
            file = sweep.run(run).eval_file(point, task)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}")


def ended(sweep: Launched, kind: Any, work: str = "evaluate", **more: Any) -> None:
    append_end(sweep.run("seed1").ends_file, End(kind=kind, work=work, **more))


def due(sweep: Launched, busy: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    return {task.id: task.arguments for task in due_evaluations(sweep, busy)}


def test_the_last_checkpoint_is_due_once_it_is_complete_until_it_has_every_result(tmp_path: Path) -> None:
    sweep = launched(tmp_path, data_root="sets")
    checkpoint(sweep, 640)
    assert due(sweep) == {}
    cut_off = sweep.run("seed1").checkpoint(1280).path
    cut_off.mkdir()
    assert due(sweep) == {}
    (cut_off / "complete").write_text("{}")
    [task] = due_evaluations(sweep, ())
    run = str(sweep.run("seed1").path)
    assert (task.id, task.kind, task.run, task.processes) == ("seed1.eval", "evaluate", run, 1)
    assert task.seconds == FIRST_GUESS_SECONDS
    assert task.arguments[:4] == ("-m", "mammut_clip.cli", "eval", f"{run}@1280")
    assert task.arguments[4:] == ("--suite", "toy", "--data-root", str(Path.cwd() / "sets"))
    assert due(sweep, busy=("seed1.eval",)) == {}
    result(sweep, 1280, tasks=TASKS[:1])
    assert list(due(sweep)) == ["seed1.eval"]
    result(sweep, 1280)
    assert due(sweep) == {}
    assert sweep_status(sweep.folder).evaluations == {"done": 1, "missing": 0, "failed": 0}


def test_permanent_ones_are_due_while_the_run_trains_and_those_that_will_be_removed_are_not(tmp_path: Path) -> None:
    sweep = launched(tmp_path, points="permanent")
    checkpoint(sweep, 256, 384, 512)
    run = sweep.run("seed1").path
    assert due(sweep)["seed1.eval"][3:5] == (f"{run}@256", "--suite")
    result(sweep, 256)
    assert due(sweep) == {}
    checkpoint(sweep, 1280)
    assert due(sweep)["seed1.eval"][3:5] == (f"{run}@1280", "--suite")


def test_all_takes_whatever_is_there_when_it_begins(tmp_path: Path) -> None:
    sweep = launched(tmp_path, points="all")
    checkpoint(sweep, 256, 384)
    result(sweep, 256)
    run = str(sweep.run("seed1").path)
    assert due(sweep)["seed1.eval"][3] == run and "--all-checkpoints" in due(sweep)["seed1.eval"]
    shutil.rmtree(sweep.run("seed1").checkpoint(384).path)  # keep_last was faster
    assert due(sweep) == {}
    assert sweep_status(sweep.folder).rows[0].evaluations_done == 1


def test_where_training_evaluates_nothing_is_due(tmp_path: Path) -> None:
    sweep = launched(tmp_path, where="training")
    checkpoint(sweep, 1280)
    assert due(sweep) == {}
    assert sweep_status(sweep.folder).rows[0].evaluations_missing == 1


def test_failures_count_up_to_a_cap_and_the_users_words_hold(tmp_path: Path) -> None:
    sweep = launched(tmp_path)
    checkpoint(sweep, 1280)
    ended(sweep, "crash", work="train")  # of no concern here
    for _ in range(2):
        ended(sweep, "crash", error="no such dataset")
        assert list(due(sweep)) == ["seed1.eval"]
        assert sweep_status(sweep.folder).rows[0].evaluation_why == "no such dataset"
    ended(sweep, "crash", error="no such dataset")
    assert due(sweep) == {}
    assert "no such dataset" in (sweep_status(sweep.folder).rows[0].evaluation_why or "")
    assert sweep_status(sweep.folder).evaluations["failed"] == 1
    ended(sweep, "retry", work="train")
    assert list(due(sweep)) == ["seed1.eval"]
    ended(sweep, "cancelled", work="train")
    assert due(sweep) == {}


def test_an_evaluation_that_is_done_says_nothing_of_later_checkpoints(tmp_path: Path) -> None:
    sweep, now = launched(tmp_path, points="all"), time.time()
    checkpoint(sweep, 256, at=now - 100)
    ended(sweep, "crash", began=now - 90, ended=now - 80)
    ended(sweep, "crash", began=now - 70, ended=now - 60)
    result(sweep, 256)
    ended(sweep, "done", began=now - 50, ended=now - 40)
    assert due(sweep) == {}
    checkpoint(sweep, 384, at=now - 30)
    for _ in range(2):
        ended(sweep, "crash", began=now - 20, ended=now - 10)
    assert list(due(sweep)) == ["seed1.eval"], "failures at an earlier checkpoint do not count"


def test_one_that_ends_well_and_leaves_no_result_is_not_repeated_for_ever(tmp_path: Path) -> None:
    sweep, now = launched(tmp_path), time.time()
    checkpoint(sweep, 1280, at=now - 100)
    for _ in range(2):
        ended(sweep, "done", began=now - 90, ended=now - 80)
    assert list(due(sweep)) == ["seed1.eval"]
    ended(sweep, "done", began=now - 90, ended=now - 80)
    assert due(sweep) == {}
    assert "without results" in (sweep_status(sweep.folder).rows[0].evaluation_why or "")


def test_the_wait_after_a_crash_and_what_others_took(tmp_path: Path) -> None:
    sweep, now = launched(tmp_path), time.time()
    checkpoint(sweep, 1280)
    checkpoint(sweep, 1280, run="seed2")
    ended(sweep, "done", began=now - 150, ended=now - 50)
    result(sweep, 1280)
    [task] = due_evaluations(sweep, ())
    assert task.id == "seed2.eval" and task.seconds == pytest.approx(100, abs=1)
    waiting = sweep.stored.policy.model_copy(update={"backoff_seconds": 100.0})
    patient = Launched(sweep.folder, sweep.stored.model_copy(update={"policy": waiting}))
    append_end(sweep.run("seed2").ends_file, End(kind="crash", work="evaluate"))
    assert due(patient) == {} and list(due(sweep)) == ["seed2.eval"]


def test_runs_that_the_grid_has_no_more_are_left_alone(tmp_path: Path) -> None:
    sweep = launched(tmp_path)
    checkpoint(sweep, 1280)
    dropped = [run.model_copy(update={"dropped": run.id == "seed1"}) for run in sweep.stored.runs]
    assert due(Launched(sweep.folder, sweep.stored.model_copy(update={"runs": dropped}))) == {}
