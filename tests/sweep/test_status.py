"""`sweep status`: from run directories alone, at any moment of a sweep's life."""

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from benchmarks.many_runs import make_runs

from mammut_clip.config import InputError
from mammut_clip.config.cluster import load_cluster
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.runs import RunDir, SweepDir
from mammut_clip.runs.ends import End, append_end
from mammut_clip.runs.lease import hold_lease
from mammut_clip.runs.records import Status
from mammut_clip.sweep import make_plan, sweep_status
from mammut_clip.sweep.heartbeat import Heartbeat, heartbeat
from mammut_clip.sweep.prepare import prepare
from mammut_clip.sweep.queue_file import QueueFile, QueueLine
from mammut_clip.sweep.show_status import print_history, print_status
from mammut_clip.sweep.status import run_history
from mammut_clip.sweep.status_rows import SweepStatus
from mammut_clip.sweep.stored import Control, Launched, control_file, find_sweep

BASE: dict[str, Any] = {
    "model": "toy-XS",
    "samples_seen": 1280,
    "global_batch_size": 128,
    "data": {"train": "data/toy"},
    "optimizer": {"lr": 1e-3},
}


@pytest.fixture
def sweep(tmp_path: Path) -> Launched:
    values = {"name": "s", "base": BASE, "axes": {"seed": [1, 2, 3]}, "policy": {"backoff_seconds": 100}}
    return prepare(make_plan(validate(SweepConfig, values, "s.yaml"), load_cluster("local")), tmp_path)


def state_of(sweep: Launched, run: str = "seed1") -> str:
    return next(row.state for row in sweep_status(sweep.folder).rows if row.id == run)


def ended(sweep: Launched, *kinds: Any, **more: Any) -> None:
    for kind in kinds:
        append_end(sweep.run("seed1").ends_file, End(kind=kind, **more))


def text_of(status: SweepStatus) -> str:
    out = io.StringIO()
    print_status(status, file=out)
    return out.getvalue()


def test_a_sweep_is_found_by_name_also_where_a_folder_of_that_name_stands_here(
    sweep: Launched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    (here / "s").mkdir(parents=True)
    (tmp_path / ".slurm-doctor-1").mkdir()
    monkeypatch.chdir(here)
    assert find_sweep("s", tmp_path) == sweep.folder.path
    assert find_sweep(str(here / "s"), tmp_path) == here / "s"
    with pytest.raises(InputError, match=r"known: here, s$"):
        find_sweep("xyz", tmp_path)
    with pytest.raises(InputError, match="no run 'seed' here; did you mean seed"):
        run_history(sweep.folder, "seed")


def test_a_folder_without_a_sweep_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sweep here"):
        sweep_status(tmp_path / "s")


def test_a_launched_sweep_reads_no_config(sweep: Launched) -> None:
    for run in sweep.folder.runs():
        run.config_file.write_text("not: [yaml")
    found = sweep_status(sweep.folder)
    assert found.counts == {"pending": 3}
    assert [(row.id, row.samples_seen, row.total_samples) for row in found.rows] == [
        ("seed1", 0, 1280), ("seed2", 0, 1280), ("seed3", 0, 1280),
    ]  # fmt: skip
    assert not found.on_gpus and found.queue_age is None


def test_runs_made_by_hand_are_shown_too(sweep: Launched) -> None:
    RunDir.create(sweep.folder.path.parent, sweep.run("seed1").config.model_copy(update={"name": "mine"}))
    row = sweep_status(sweep.folder).rows[-1]
    assert (row.id, row.state, row.total_samples, row.updated_at) == ("mine", "pending", 1280, None)


def test_running_is_who_holds_a_living_lease(sweep: Launched) -> None:
    run = sweep.run("seed1")
    Status(state="running", attempts=1, updated_at=time.time() - 3600, train_seconds=10).write(run.status_file)
    assert state_of(sweep) == "interrupted"
    with hold_lease(run.lock_file):
        assert state_of(sweep) == "running"
        line = {"samples_seen": 640, "loss": 2.5, "samples_per_second": 64.0, "train_seconds": 36.0}
        run.metrics_file.write_text(json.dumps(line) + '\n{"samples_s')
        row = sweep_status(sweep.folder).rows[0]
        assert (row.samples_seen, row.loss, row.eta_seconds, row.hours) == (640, 2.5, 10.0, 0.01)
    assert state_of(sweep) == "interrupted"


def test_a_holder_out_of_sight_is_silent_until_somebody_saw_it_end(sweep: Launched) -> None:
    run = sweep.run("seed1")
    Status(state="running", attempts=1).write(run.status_file)
    with hold_lease(run.lock_file):
        there = next(run.path.glob("lock.1")).read_text()
    away = there.replace('"machine": "', '"machine": "x').replace('"free"', '"held"')
    run.path.joinpath("lock.1").write_text(away)
    assert state_of(sweep) == "running"
    long_ago = time.time() - 1000
    os.utime(run.path / "lock.1", (long_ago, long_ago))
    row = sweep_status(sweep.folder).rows[0]
    assert row.state == "silent" and "no sign of life for 10" in (row.why or "")
    ended(sweep, "node_failure")
    assert state_of(sweep) == "interrupted"


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["crash"], "failed"),
        (["crash"] * 3, "given_up"),
        (["crash"] * 3 + ["retry"], "failed"),
        (["bad_input"], "given_up"),
        (["time_limit"], "failed"),
        (["cancelled"], "cancelled"),
        (["cancelled", "preempted"], "cancelled"),
    ],
)
def test_what_policy_says_of_a_failed_run(sweep: Launched, kinds: list[str], expected: str) -> None:
    status = Status(state="failed", attempts=1, last_error="ValueError:\n  no", error_kind="crash")
    status.write(sweep.run("seed1").status_file)
    ended(sweep, *kinds, error="ValueError: no", exit_code=1)
    row = sweep_status(sweep.folder).rows[0]
    assert (row.state, row.last_error, row.ended) == (expected, "ValueError: no", kinds[-1])
    if kinds == ["crash"]:
        assert "next try in" in (row.why or "")
    if expected == "given_up":
        assert "ValueError: no" in text_of(sweep_status(sweep.folder))


def test_finished_is_finished_whatever_else_is_said(sweep: Launched) -> None:
    Status(state="finished", samples_seen=1280, attempts=4).write(sweep.run("seed1").status_file)
    ended(sweep, "crash", "crash", "crash", "cancelled")
    assert state_of(sweep) == "finished"


def test_the_queue_as_it_was_seen_last(sweep: Launched) -> None:
    held = QueueLine(job="7", state="PENDING", reason="JobHeldUser", problem="held by its user")
    jobs = {"seed1": held, "seed2": QueueLine(job="8_1", state="RUNNING")}
    QueueFile(at=time.time() - 600, answered=False, jobs=jobs).store(sweep.folder)
    Control(paused=True).write(control_file(sweep.folder))
    found = sweep_status(sweep.folder)
    assert found.counts == {"queued": 2, "pending": 1}
    assert [(row.job, row.has_problem) for row in found.rows] == [("7", True), ("8_1", False), (None, False)]
    text = text_of(found)
    for said in ("paused", "10 min ago; Slurm did not answer", "job 7; held by its user"):
        assert said in text
    ended(sweep, "crash", "crash", "crash")
    assert state_of(sweep) == "given_up"  # its job may still be shown by a launcher that looked before


def test_only_some_states(sweep: Launched) -> None:
    Status(state="failed", attempts=1).write(sweep.run("seed2").status_file)
    found = sweep_status(sweep.folder)
    assert [row.id for row in found.only(["failed"]).rows] == ["seed2"]
    assert found.only(["running"]).rows == []
    assert "none in these states" in text_of(found.only(["running"]))
    with pytest.raises(InputError, match="expected one of running"):
        found.only(["broken"])


def test_the_history_of_a_run(sweep: Launched) -> None:
    with pytest.raises(InputError, match="no run 'seed9' here; did you mean"):
        run_history(sweep.folder, "seed9")
    ended(sweep, "crash", job="7_2", nodes="n[1-2]", exit_code=139, error="segmentation\nfault", log="/x/attempt-1")
    ended(sweep, "time_limit", job="9", restart=2, samples_after=640)
    append_end(sweep.run("seed1").ends_file, End(kind="crash", work="evaluate", error="no data"))
    history = run_history(sweep.folder, "seed1")
    assert [end.kind for end in history.ends] == ["crash", "time_limit", "crash"]
    assert history.row.ended == "time_limit"  # of its training
    assert history.logs == ["/x/attempt-1"]
    out = io.StringIO()
    print_history(history, out)
    for said in ("n[1-2]", "139", "segmentation fault", "9 restart 2", "evaluate", "/x/attempt-1"):
        assert said in out.getvalue()
    assert json.loads(json.dumps(history.to_json_dict()))["ends"][1]["job"] == "9"


def test_many_runs_are_summed_up(tmp_path: Path) -> None:
    sweep = make_runs(tmp_path / "big", 200)
    found = sweep_status(SweepDir(sweep.path))
    assert found.counts == {"running": 6, "queued": 4, "given_up": 10, "pending": 20, "finished": 160}
    assert found.evaluations == {"done": 160, "missing": 0, "failed": 0}
    assert found.on_gpus and found.hours > 160 * 20
    text = text_of(found)
    assert len(text.splitlines()) < 20
    assert "10    given_up" in text and "illegal memory access" in text and "job 7" in text
    assert len(json.loads(json.dumps(found.to_json_dict()))["runs"]) == 200


def test_a_run_that_comes_to_its_end_while_one_looks_has_ended(
    sweep: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sweep.run("seed1")
    Status(state="running", attempts=1).write(run.status_file)

    def looked(*given: Any) -> Heartbeat | None:
        Status(state="finished", samples_seen=1280, attempts=1).write(run.status_file)
        return heartbeat(*given)

    monkeypatch.setattr("mammut_clip.sweep.status.heartbeat", looked)
    assert state_of(sweep) == "finished"


def test_last_words_which_their_reader_takes_away_are_no_log(sweep: Launched) -> None:
    logs = sweep.run("seed1").logs
    logs.mkdir()
    (logs / ".job-7-0-1.last-words.0.json").symlink_to("gone")  # it was there when the folder was listed
    (logs / "job-7-0-1-rank-0.log").touch()
    assert run_history(sweep.folder, "seed1").logs == [str(logs / "job-7-0-1-rank-0.log")]
