"""What a launcher finds due, without a queue: from status, ends and leases of the runs alone."""

import time
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config.cluster import ClusterConfig, Limits
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.runs.ends import End, EndKind, append_end
from mammut_clip.runs.holder import this_process
from mammut_clip.runs.lease import hold_lease
from mammut_clip.runs.records import Status
from mammut_clip.slurm.errors import SlurmAwayError
from mammut_clip.slurm.queue import QueuedJob
from mammut_clip.sweep import make_plan
from mammut_clip.sweep.holding import exclude_from_waiting, failed_nodes
from mammut_clip.sweep.journal import Journal
from mammut_clip.sweep.prepare import prepare
from mammut_clip.sweep.standing import Standing, look
from mammut_clip.sweep.stored import Launched
from mammut_clip.sweep.submitting import ready_at
from mammut_clip.sweep.turn import serve, tickets, turn, turn_or_served

BASE: dict[str, Any] = {"model": "toy-XS", "samples_seen": 1280, "global_batch_size": 128, "data": {"train": "d"}}


@pytest.fixture
def sweep(tmp_path: Path) -> Launched:
    cluster = ClusterConfig(kind="slurm", gpus_per_node=4, time_limit_minutes=60, peak_tflops=1, efficiency=0.5)
    values = {"name": "s", "base": {**BASE, "optimizer": {"lr": 1e-3}}, "axes": {"seed": [1, 2]}}
    values["policy"] = {"crashes": 2, "backoff_seconds": 60}
    return prepare(make_plan(validate(SweepConfig, values, "s.yaml"), cluster), tmp_path)


def end(sweep: Launched, kind: EndKind, run: str = "seed1", **more: Any) -> None:
    append_end(sweep.run(run).ends_file, End(kind=kind, **more))


def due(standing: Standing) -> list[str]:
    return [task.id for task in standing.due]


def test_what_is_neither_finished_nor_in_a_job_nor_dropped_is_due(sweep: Launched) -> None:
    assert due(look(sweep, set())) == ["seed1", "seed2"]
    assert due(look(sweep, {"seed2"})) == ["seed1"]
    Status(state="finished", samples_seen=1280).write(sweep.run("seed1").status_file)
    standing = look(sweep, set())
    assert (due(standing), standing.finished, standing.samples) == (["seed2"], ["seed1"], {"seed1": 1280, "seed2": 0})


def test_predicted_time_is_that_of_the_samples_that_are_left(sweep: Launched) -> None:
    whole, _ = look(sweep, set()).due
    Status(state="interrupted", samples_seen=960).write(sweep.run("seed1").status_file)
    assert look(sweep, set()).due[0].seconds == pytest.approx(whole.seconds / 4)


def test_an_error_is_waited_after_by_who_comes_back_and_given_up_after_the_last_try(sweep: Launched) -> None:
    end(sweep, "crash", error="it broke")
    assert list(look(sweep, set()).waiting) == ["seed1"]
    assert due(look(sweep, set(), patient=False)) == ["seed1", "seed2"]
    end(sweep, "crash", error="it broke", log="/the/log")
    [failed] = look(sweep, set(), patient=False).failed
    assert failed.id == "seed1" and "it broke" in failed.error and failed.log == "/the/log"
    end(sweep, "retry")
    assert due(look(sweep, set())) == ["seed1", "seed2"]


def test_a_cancelled_run_is_left_alone_and_an_evaluation_that_was_cancelled_does_not_cancel_it(sweep: Launched) -> None:
    end(sweep, "cancelled")
    end(sweep, "cancelled", "seed2", work="evaluate")
    standing = look(sweep, set(), patient=False)
    assert standing.cancelled == ["seed1"] and due(standing) == ["seed2"]


def test_a_run_whose_status_was_removed_is_trained_again_though_it_was_done(sweep: Launched) -> None:
    end(sweep, "done")
    assert "seed1" in due(look(sweep, set()))


def test_a_lease_of_our_dead_job_is_no_obstacle_and_one_of_a_living_process_is(sweep: Launched) -> None:
    lock = sweep.run("seed1").lock_file
    with hold_lease(lock):
        assert look(sweep, set()).elsewhere == ["seed1"]
        end(sweep, "time_limit", samples_after=128)  # of an earlier job of ours
        assert look(sweep, set()).elsewhere == ["seed1"]
    lock.with_name("lock.9").write_bytes(
        this_process(60).model_copy(update={"machine": "elsewhere", "slurm_job": "7"}).encode()
    )
    assert look(sweep, set()).elsewhere == ["seed1"]
    time.sleep(0.05)
    end(sweep, "node_failure", samples_before=128, samples_after=256, nodes="n1")
    assert "seed1" in due(look(sweep, set()))


def test_a_node_is_excluded_after_it_failed_under_two_jobs(sweep: Launched) -> None:
    once = End(kind="node_failure", job="7", nodes="n1")
    assert failed_nodes(sweep, [once, once.model_copy()]) == set()  # two runs of one job
    assert failed_nodes(sweep, [once, once.model_copy(update={"restart": 1})]) == {"n1"}


def test_a_waiting_job_that_slurm_could_not_be_told_to_keep_from_a_node_is_told_again(
    sweep: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, waiting = Journal.open(sweep.folder), {"7": QueuedJob("7", "s.tag.1", "PENDING", "Priority")}
    monkeypatch.setenv("PATH", "/nowhere")  # no controller answers
    for _ in range(2):
        with pytest.raises(SlurmAwayError):
            exclude_from_waiting(sweep, journal, waiting, frozenset({"n1"}))
        assert Journal.open(sweep.folder).excluded == {}


def test_submissions_keep_to_so_many_a_minute(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    assert ready_at(journal, Limits(submissions_per_minute=2)) == 0
    for number in (1, 2, 3):
        journal.begin(number, f"s.{number}", [["a"]])
        journal.submissions[number].at = 100.0 * number
    assert ready_at(journal, Limits(submissions_per_minute=2)) == 200 + 60
    assert ready_at(journal, Limits(submissions_per_minute=0.5)) == 300 + 120
    assert ready_at(journal, Limits(submissions_per_minute=30)) == 0


def test_of_jobs_that_end_together_one_serves_those_that_wait(sweep: Launched) -> None:
    folder = sweep.folder
    with turn_or_served(folder, 5) as lease:
        assert lease is not None
        served = tickets(folder)
        waiting = folder.launch_folder / "wanted" / "another"
        waiting.touch()
        serve(served)
        assert tickets(folder) == [waiting]  # came after the cycle began: needs one of its own
    with turn(folder, 5):
        serve(tickets(folder))
    assert not tickets(folder)
