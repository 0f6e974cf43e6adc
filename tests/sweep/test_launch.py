"""Launching on this machine, with submitit's real local jobs and a trainer that only keeps the records."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mammut_clip.config import ConfigError, InputError
from mammut_clip.config.cluster import load_cluster
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.runs import RunDir, SweepDir
from mammut_clip.runs.adjustments import Adjustments
from mammut_clip.runs.ends import End, append_end, read_ends
from mammut_clip.runs.lease import hold_lease
from mammut_clip.slurm.local import LocalJob, submit_local
from mammut_clip.slurm.task import Task
from mammut_clip.sweep import LaunchResult, Plan, evaluations, launch, make_plan, sweep_status
from mammut_clip.sweep.local_jobs import command_for, pack
from mammut_clip.sweep.progress import RunningRun, Snapshot
from mammut_clip.sweep.show import launch_progress
from mammut_clip.sweep.stored import Launched, is_paused
from mammut_clip.sweep.turn import collecting
from mammut_clip.sweep.verbs import cancel, pause, resume, retry
from mammut_clip.sweep.watch import watch_local

STANDIN = [sys.executable, str(Path(__file__).with_name("standin_trainer.py"))]
BASE: dict[str, Any] = {
    "model": "toy-XS",
    "samples_seen": 1280,
    "global_batch_size": 128,
    "data": {"train": "data/toy"},
    "optimizer": {"lr": 1e-3},
}


def plan_of(*seeds: int, jobs: int = 2, **more: Any) -> Plan:
    values = {"name": "s", "base": BASE, "axes": {"seed": list(seeds)}, "policy": {"backoff_seconds": 0, "crashes": 2}}
    values |= more
    return make_plan(validate(SweepConfig, values, "s.yaml"), load_cluster("local", [f"parallel_jobs={jobs}"]))


def start(plan: Plan, root: Path, **more: Any) -> LaunchResult:
    return launch(plan, root, trainer_command=STANDIN, poll_seconds=0.1, grace_seconds=60, **more)


def behave(root: Path, plan: Plan, **behaviour: str) -> None:
    for planned in plan.runs:
        run = RunDir.create(root, planned.config)
        if planned.id in behaviour:
            (run.path / "behaviour").write_text(behaviour[planned.id])


def starts(root: Path) -> dict[str, int]:
    return {file.parent.name: len(file.read_text().splitlines()) for file in root.glob("s/*/starts")}


def pids(root: Path) -> list[int]:
    return [int(line.split()[0]) for file in root.glob("s/*/starts") for line in file.read_text().splitlines()]


def wait_until(condition: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def task(name: str, seconds: float, kind: str = "train", processes: int = 1) -> Task:
    return Task(name, kind, f"/r/{name}", ("-m", "it", f"/r/{name}"), processes, seconds)  # type: ignore[arg-type]


def test_packing_balances_the_predicted_time_and_loses_no_run() -> None:
    tasks = [task(str(number), 10) for number in range(7)]
    bins = pack(tasks, 3)
    assert sorted(found.id for found_bin in bins for found in found_bin) == sorted(found.id for found in tasks)
    assert sorted(map(len, bins)) == [2, 2, 3]
    assert [len(found) for found in pack(tasks[:2], 8)] == [1, 1]
    assert pack(tasks, 0) == []


def test_long_runs_go_to_whoever_is_free_next_and_evaluations_first() -> None:
    long = [task(f"long{number}", 1000) for number in range(3)]
    assert [[found.id for found in tasks] for tasks in pack(long, 2)] == [["long0"], ["long1"]]
    mixed = [*long, task("two", 10, processes=2), task("short", 10), task("a.eval", 1, "evaluate")]
    assert [[found.id for found in tasks] for tasks in pack(mixed, 2)] == [["a.eval"], ["long0"]]
    assert [[found.id for found in tasks] for tasks in pack(mixed[3:], 9)] == [["a.eval"], ["short"], ["two"]]


def test_runs_of_several_processes_start_under_torchrun() -> None:
    command = command_for([task("a", 1, processes=2), task("b", 1, processes=2)])
    assert command[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert command[5:] == ["-m", "it", "/r/a", "/r/b"]


def test_a_sweep_runs_to_its_end_and_a_second_launch_repeats_nothing(tmp_path: Path) -> None:
    plan = plan_of(*range(6))
    seen: list[Snapshot] = []
    result = start(plan, tmp_path, progress=seen.append)
    assert sorted(result.finished) == sorted(run.id for run in plan.runs)
    assert not result.failed and not result.interrupted
    assert starts(tmp_path) == {run.id: 1 for run in plan.runs}
    assert len(set(pids(tmp_path))) == 2  # one process per job trained three runs
    assert seen[-1].finished == 6 and seen[-1].samples_seen == seen[-1].total_samples == 6 * 1280
    assert (tmp_path / "s" / "results.parquet").is_file()
    assert sweep_status(tmp_path / "s").counts == {"finished": 6}
    assert json.loads(json.dumps(result.to_json_dict()))["finished"] == result.finished

    assert len(start(plan, tmp_path).finished) == 6
    grown = start(plan_of(*range(7)), tmp_path)
    assert len(grown.finished) == 7
    assert set(starts(tmp_path).values()) == {1}


def ends(root: Path, run_id: str) -> list[str]:
    return [end.kind for end in read_ends(root / "s" / run_id / "ends.jsonl")]


def test_failures_and_deaths_are_tried_again_by_policy_and_then_left_alone_until_the_user_asks(tmp_path: Path) -> None:
    plan = plan_of(*range(6))
    behave(tmp_path, plan, seed0="fail", seed1="fail-once", seed2="die", seed3="die-once")
    result = start(plan, tmp_path)
    assert sorted(result.finished) == ["seed1", "seed3", "seed4", "seed5"]
    assert starts(tmp_path) == {"seed0": 2, "seed1": 2, "seed2": 2, "seed3": 2, "seed4": 1, "seed5": 1}
    failed = {run.id: run for run in result.failed}
    assert "ValueError: told to" in failed["seed0"].error
    assert "killed" in failed["seed2"].error and "exit code 137" in failed["seed2"].error
    assert all("seed" in Path(run.log).read_text() for run in result.failed)
    assert ends(tmp_path, "seed0") == ends(tmp_path, "seed2") == ["crash"] * 2
    assert ends(tmp_path, "seed3") == ["crash", "done"]
    assert [end.attempt for end in read_ends(tmp_path / "s" / "seed0" / "ends.jsonl")] == [1, 2]

    for run_id in ("seed0", "seed2"):
        (tmp_path / "s" / run_id / "behaviour").unlink()
    assert len(start(plan, tmp_path).failed) == 2  # nobody asked for another try
    retry(Launched.at(tmp_path / "s"), [])
    assert len(start(plan, tmp_path).finished) == 6
    assert starts(tmp_path) == {"seed0": 3, "seed1": 2, "seed2": 3, "seed3": 2, "seed4": 1, "seed5": 1}


def test_a_trainer_that_cannot_even_start_does_not_loop(tmp_path: Path) -> None:
    broken = [sys.executable, "-c", "raise SystemExit(2)"]
    result = launch(plan_of(1, 2), tmp_path, trainer_command=broken, poll_seconds=0.1)
    assert [run.id for run in result.failed] == ["seed1", "seed2"]
    assert all("exit code 2" in run.error for run in result.failed)
    assert ends(tmp_path, "seed1") == ["never_began"] * 2


@pytest.mark.slow
def test_one_bad_run_does_not_spoil_those_that_share_its_process(tmp_path: Path) -> None:
    plan = plan_of(1, 2, 3, jobs=1)
    picky = tmp_path / "picky.py"
    picky.write_text(
        "import sys\n"
        "if any('seed2' in argument for argument in sys.argv): sys.exit('seed2 is bad')\n"
        f"import runpy; sys.argv[0] = {STANDIN[1]!r}; runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    result = launch(plan, tmp_path, trainer_command=[sys.executable, str(picky)], poll_seconds=0.1)
    assert sorted(result.finished) == ["seed1", "seed3"]
    assert [run.id for run in result.failed] == ["seed2"]
    assert ends(tmp_path, "seed1") == ["done"]


def test_out_of_memory_halves_the_micro_batch_more_often_than_a_crash_is_tried_again_and_not_for_ever(
    tmp_path: Path,
) -> None:
    plan = plan_of(1, 2)
    behave(tmp_path, plan, seed1="memory 16", seed2="memory 0")
    result = start(plan, tmp_path)
    assert result.finished == ["seed1"]
    assert ends(tmp_path, "seed1") == ["out_of_memory"] * 3 + ["done"]  # policy.crashes is 2
    adjustments = Adjustments.of(RunDir(tmp_path / "s" / "seed1"))
    assert adjustments is not None and adjustments.micro_batch_size == 128 // 8
    assert ends(tmp_path, "seed2") == ["out_of_memory"] * 8  # 128 pairs at a time, 64, ..., 1
    assert [(run.id, "no fewer can be" in run.error) for run in result.failed] == [("seed2", True)]


def test_a_sweep_that_the_user_pauses_stops_in_good_order_and_a_cancelled_run_is_left_alone(tmp_path: Path) -> None:
    plan = plan_of(1, 2, 3)
    behave(tmp_path, plan, seed1="sleep 60", seed2="sleep 60", seed3="sleep 60")
    folder = tmp_path / "s"

    def pause_when_two_run(snapshot: Snapshot) -> None:
        if len(snapshot.running) == 2:
            pause(Launched.at(folder))

    result = start(plan, tmp_path, progress=pause_when_two_run)
    assert "paused" in result.note and not result.finished and not result.failed
    assert not any(is_alive(pid) for pid in pids(tmp_path))
    found = sweep_status(folder)
    assert found.paused and found.counts == {"interrupted": 2, "pending": 1}
    assert "no launcher works" in pause(Launched.at(folder)).note
    with pytest.raises(InputError, match="`sweep launch` continues it"):
        watch_local(folder, report=lambda _: None, poll_seconds=0.1)
    with pytest.raises(InputError, match="is paused"):
        start(plan, tmp_path)

    assert "`mammut-clip sweep launch` starts what is due: sweep s" in resume(Launched.at(folder)).note
    assert cancel(Launched.at(folder), ["seed2"]).runs == ["seed2"]
    for run_id in ("seed1", "seed2", "seed3"):
        (folder / run_id / "behaviour").unlink()
    result = start(plan, tmp_path)
    assert sorted(result.finished) == ["seed1", "seed3"] and result.cancelled == ["seed2"]
    assert sweep_status(folder).counts == {"cancelled": 1, "finished": 2}
    assert watch_local(folder, report=lambda _: None, poll_seconds=0.1).cancelled == ["seed2"]  # nothing is left to do
    assert cancel(Launched.at(folder), ["seed1"]).note == "nothing, as what was named is finished"
    retry(Launched.at(folder), ["seed2"])
    assert retry(Launched.at(folder), []).note == "nothing, as none is given up or cancelled"


def test_a_sweep_that_is_resumed_before_its_launcher_has_stopped_leaves_no_job_behind(tmp_path: Path) -> None:
    plan, folder = plan_of(1), tmp_path / "s"
    behave(tmp_path, plan, seed1="sleep 60")

    def pause_and_resume(snapshot: Snapshot) -> None:
        if is_paused(Launched.at(folder).folder):  # which the launcher has just read
            resume(Launched.at(folder))
        elif snapshot.running:
            pause(Launched.at(folder))

    result = start(plan, tmp_path, progress=pause_and_resume)
    assert "paused" in result.note and not result.finished
    assert not any(is_alive(pid) for pid in pids(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_job_that_was_being_started_when_the_launcher_was_stopped_is_stopped_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    plan = plan_of(1)
    behave(tmp_path, plan, seed1="sleep 60")
    jobs: list[LocalJob] = []

    def submit(*given: Any, **more: Any) -> LocalJob:
        jobs.append(submit_local(*given, **more))
        signal.raise_signal(number)
        return jobs[-1]

    monkeypatch.setattr("mammut_clip.sweep.local_jobs.submit_local", submit)
    assert start(plan, tmp_path).interrupted
    assert not jobs[0].is_running


def test_a_terminal_that_is_closed_says_so_twice_and_jobs_end_in_good_order_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(1)
    behave(tmp_path, plan, seed1="sleep 60")
    cancel_job = LocalJob.cancel

    def cancel_and_hang_up(job: LocalJob) -> None:
        cancel_job(job)
        signal.raise_signal(signal.SIGHUP)

    def hang_up(snapshot: Snapshot) -> None:
        if snapshot.running:
            signal.raise_signal(signal.SIGHUP)

    monkeypatch.setattr(LocalJob, "cancel", cancel_and_hang_up)
    assert start(plan, tmp_path, progress=hang_up).interrupted
    assert RunDir(tmp_path / "s" / "seed1").status.state == "interrupted"


def test_a_launcher_that_is_stopped_while_it_notes_ends_has_none_noted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(1)
    behave(tmp_path, plan, seed1="fail-once")

    def append(path: Path, end: End) -> None:
        append_end(path, end)
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr("mammut_clip.sweep.local_ends.append_end", append)
        assert start(plan, tmp_path).interrupted
    assert start(plan, tmp_path).finished == ["seed1"]
    assert ends(tmp_path, "seed1") == ["crash", "done"]


def test_results_are_made_by_one_at_a_time(tmp_path: Path) -> None:
    def refresh(folder: Path) -> None:
        with pytest.raises(InputError, match="works on this sweep now"), collecting(SweepDir(folder), 0):
            pass

    assert start(plan_of(1), tmp_path, refresh=refresh).finished == ["seed1"]


@pytest.mark.slow
def test_what_nobody_saw_end_is_noted_by_the_next_launcher(tmp_path: Path) -> None:
    plan = plan_of(1, jobs=1)
    behave(tmp_path, plan, seed1="sleep-once 60")
    process = launcher(tmp_path, "1")
    wait_until(lambda: starts(tmp_path))
    process.kill()
    process.wait()
    job = json.loads(next(tmp_path.glob("s/launch/jobs/0001-slot0/0001-slot0.json")).read_text())
    for pid in (job["pid"], *pids(tmp_path)):
        os.kill(pid, signal.SIGKILL)
    assert start(plan, tmp_path).finished == ["seed1"]
    assert ends(tmp_path, "seed1") == ["lost", "done"]


def test_a_run_that_another_process_trains_is_waited_for(tmp_path: Path) -> None:
    plan = plan_of(1, 2)
    behave(tmp_path, plan)
    (tmp_path / "s" / "seed1" / "behaviour").write_text("sleep 2")
    holder = subprocess.Popen([*STANDIN, str(tmp_path / "s" / "seed1")], env={**os.environ, "PYTHONPATH": ""})
    wait_until(lambda: starts(tmp_path))
    result = start(plan, tmp_path)
    holder.wait()
    assert sorted(result.finished) == ["seed1", "seed2"]
    assert starts(tmp_path) == {"seed1": 1, "seed2": 1}


LAUNCHER = """
import sys; sys.path.insert(0, {folder!r})
from pathlib import Path
import test_launch as t
look = Path({root!r}, "looked").touch
print(t.start(t.plan_of({seeds}), Path({root!r}), progress=lambda _: look()), flush=True)
"""


def launcher(root: Path, seeds: str = "1, 2, 3, 4") -> subprocess.Popen[str]:
    script = LAUNCHER.format(folder=str(Path(__file__).parent), root=str(root), seeds=seeds)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("group", [False, True], ids=["the launcher alone", "its whole group, as a terminal does"])
def test_ctrl_c_ends_every_trainer_in_good_order_and_the_next_launch_continues(tmp_path: Path, group: bool) -> None:
    plan = plan_of(1, 2, 3, 4)
    behave(tmp_path, plan, seed1="sleep 60", seed2="sleep 60")
    process = launcher(tmp_path)
    wait_until(lambda: len(starts(tmp_path)) >= 2)
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=120)[0]
    assert not any(is_alive(pid) for pid in pids(tmp_path))
    assert sweep_status(tmp_path / "s").counts["interrupted"] == 2
    for run_id in ("seed1", "seed2"):
        (tmp_path / "s" / run_id / "behaviour").unlink()
    assert len(start(plan, tmp_path).finished) == 4
    assert starts(tmp_path) == {"seed1": 2, "seed2": 2, "seed3": 1, "seed4": 1}


def test_a_killed_launcher_leaves_jobs_that_the_next_one_takes_over(tmp_path: Path) -> None:
    plan, go = plan_of(1, 2, 3, 4), tmp_path / "go"
    behave(tmp_path, plan, **{f"seed{n}": f"until {go}" for n in (1, 2, 3, 4)})
    process = launcher(tmp_path)
    wait_until(lambda: len(starts(tmp_path)) >= 2)
    process.kill()
    process.wait()  # its jobs hold the pipe open
    assert any(is_alive(pid) for pid in pids(tmp_path))
    result = start(plan, tmp_path, progress=lambda _: go.touch())
    assert len(result.finished) == 4
    assert set(starts(tmp_path).values()) == {1}
    # the jobs that were left trained the second run of their lists too: no job was added beside them
    assert len(list((tmp_path / "s" / "launch" / "jobs").iterdir())) == 2


@pytest.mark.slow
def test_ctrl_c_also_ends_jobs_that_were_taken_over(tmp_path: Path) -> None:
    behave(tmp_path, plan_of(1, 2, 3, 4), seed1="sleep 60", seed2="sleep 60")
    first = launcher(tmp_path)
    wait_until(lambda: len(starts(tmp_path)) >= 2)
    first.kill()
    first.wait()
    (tmp_path / "looked").unlink()
    second = launcher(tmp_path)
    wait_until((tmp_path / "looked").exists)
    second.send_signal(signal.SIGINT)
    assert second.wait(timeout=120) == 0
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_a_second_launcher_is_refused(tmp_path: Path) -> None:
    plan = plan_of(1)
    with (
        hold_lease(tmp_path / "s" / "launch" / "lock"),
        pytest.raises(InputError, match=rf"process {os.getpid()} on .* works on this sweep now"),
    ):
        start(plan, tmp_path)
    assert not (tmp_path / "s" / "seed1").exists()


def test_a_run_never_changes_under_its_name(tmp_path: Path) -> None:
    start(plan_of(1), tmp_path)
    changed = {"name": "s", "base": {**BASE, "samples_seen": 2560}, "axes": {"seed": [0, 1]}}
    plan = make_plan(validate(SweepConfig, changed, "s.yaml"), load_cluster("local"))
    with pytest.raises(InputError, match=r"seed1/config.yaml[\s\S]*samples_seen"):
        start(plan, tmp_path)
    assert not (tmp_path / "s" / "seed0").exists()  # all are checked before the first is made


def test_config_errors_come_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        start(plan_of(-1), tmp_path)
    assert not list(tmp_path.iterdir())


def test_progress_without_a_terminal_is_a_few_lines_and_one_at_the_end() -> None:
    text = StringIO()
    with launch_progress(plan_of(1), Console(file=text, width=40)) as progress:
        for seconds, finished in ((0.0, 0), (0.5, 0), (1.0, 1), (1.5, 1)):
            running = [] if finished else [RunningRun("seed1", 640, 1280, 1.5)]
            progress(Snapshot(1, finished, 0, running, 640 + 640 * finished, 1280, seconds, 90.0))
    lines = text.getvalue().splitlines()
    assert lines == [
        "s: 0 of 1 runs finished, 50.0% of samples, 0 s elapsed, about 1.5 min left",
        "s: 1 of 1 runs finished, 100.0% of samples, 1 s elapsed",
    ]
    text = StringIO()
    with launch_progress(plan_of(1), Console(file=text, width=80, force_terminal=True, color_system=None)) as progress:
        progress(Snapshot(2, 1, 0, [RunningRun("seed1", 640, 1280, 1.5)], 640, 1280, 3.0, 90.0))
    assert "loss 1.5000" in text.getvalue() and "50%" in text.getvalue()


EVALUATOR = """
import json, sys
from pathlib import Path
from mammut_clip.runs import RunDir, SweepDir
for target in (argument for argument in sys.argv[1:] if '@' in argument):
    path, _, samples = target.partition('@')
    if (Path(path) / 'no-data').exists():
        sys.exit('no data')
    for task in ('toy_pairs', 'toy_retrieval'):
        file = RunDir(Path(path)).eval_file(int(samples), task)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{}')
"""


def test_evaluations_follow_the_trainings_and_are_given_up_like_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = tmp_path / "evaluator.py"
    evaluator.write_text(EVALUATOR)
    real = evaluations._task
    monkeypatch.setattr(
        evaluations,
        "_task",
        lambda *given: replace(task := real(*given), arguments=(str(evaluator), *task.arguments[3:])),
    )
    plan = plan_of(1, 2, evaluation={"suite": "toy", "where": "jobs"})
    behave(tmp_path, plan, seed1="checkpoint", seed2="checkpoint")
    (tmp_path / "s" / "seed2" / "no-data").touch()
    result = start(plan, tmp_path)
    assert sorted(result.finished) == ["seed1", "seed2"]
    assert [run.id for run in result.failed] == ["seed2.eval"]
    assert sweep_status(tmp_path / "s").evaluations == {"done": 1, "missing": 1, "failed": 1}
    found = read_ends(tmp_path / "s" / "seed1" / "ends.jsonl", "evaluate")
    assert [(end.kind, end.results, end.exit_code) for end in found] == [("done", 2, 0)]
    assert ends(tmp_path, "seed2") == ["done", "crash", "crash"]
    assert all("no data" in Path(run.log).read_text() for run in result.failed)
