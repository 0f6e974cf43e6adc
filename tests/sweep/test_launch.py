"""Launching on this machine, with submitit's real local jobs and a trainer that only keeps the records."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mammut_clip.config import ConfigError, InputError
from mammut_clip.config.cluster import load_cluster
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.runs import RunDir
from mammut_clip.runs.lease import hold_lease
from mammut_clip.runs.lock import hold
from mammut_clip.sweep import LaunchResult, Plan, launch, make_plan, sweep_status
from mammut_clip.sweep.local_jobs import commands_for, pack
from mammut_clip.sweep.progress import RunningRun, Snapshot, last_row
from mammut_clip.sweep.show import launch_progress

STANDIN = [sys.executable, str(Path(__file__).with_name("standin_trainer.py"))]
BASE: dict[str, Any] = {
    "model": "toy-XS",
    "samples_seen": 1280,
    "global_batch_size": 128,
    "data": {"train": "data/toy"},
    "optimizer": {"lr": 1e-3},
}


def plan_of(*seeds: int, jobs: int = 2) -> Plan:
    config = validate(SweepConfig, {"name": "s", "base": BASE, "axes": {"seed": list(seeds)}}, "s.yaml")
    return make_plan(config, load_cluster("local", [f"parallel_jobs={jobs}"]))


def start(plan: Plan, root: Path, **more: Any) -> LaunchResult:
    return launch(plan, root, trainer_command=STANDIN, poll_seconds=0.1, grace_seconds=5, **more)


def behave(root: Path, plan: Plan, **behaviour: str) -> None:
    for planned in plan.runs:
        run = RunDir.create(root, planned.config)
        if planned.id in behaviour:
            (run.path / "behaviour").write_text(behaviour[planned.id])


def starts(root: Path) -> dict[str, int]:
    return {file.parent.name: len(file.read_text().splitlines()) for file in root.glob("s/*/starts")}


def pids(root: Path) -> list[int]:
    return [int(line.split()[0]) for file in root.glob("s/*/starts") for line in file.read_text().splitlines()]


def wait_until(condition: Callable[[], Any], seconds: float = 30) -> None:
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


def test_packing_balances_the_predicted_time_and_loses_no_run() -> None:
    plan = plan_of(*range(7))
    bins = pack(plan.runs, 3)
    assert sorted(run.id for runs in bins for run in runs) == sorted(run.id for run in plan.runs)
    assert sorted(map(len, bins)) == [2, 2, 3]
    assert [len(runs) for runs in pack(plan.runs[:2], 8)] == [1, 1]


def test_runs_of_several_processes_start_under_torchrun() -> None:
    config = validate(SweepConfig, {"name": "s", "base": BASE, "axes": {"seed": [1, 2]}, "gpus": 2}, "s.yaml")
    plan = make_plan(config, load_cluster("local", ["gpus_per_node=2"]))
    [command] = commands_for(plan.runs, Path("/r"), ["python", "-m", "mammut_clip.train"])
    assert command[1:6] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    assert command[6:] == ["mammut_clip.train", "/r/seed1", "/r/seed2"]


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


def test_failures_and_deaths_are_tried_again_a_little_and_reported(tmp_path: Path) -> None:
    plan = plan_of(*range(6))
    behave(tmp_path, plan, seed0="fail", seed1="fail-once", seed2="die", seed3="die-once")
    result = start(plan, tmp_path)
    assert sorted(result.finished) == ["seed1", "seed3", "seed4", "seed5"]
    assert starts(tmp_path) == {"seed0": 2, "seed1": 2, "seed2": 3, "seed3": 2, "seed4": 1, "seed5": 1}
    failed = {run.id: run for run in result.failed}
    assert failed["seed0"].error == "ValueError: told to"
    assert "exit code -9" in failed["seed2"].error
    assert all("seed" in Path(run.log).read_text() for run in result.failed)
    assert "seed0: ValueError: told to" in str(result)

    for run_id in ("seed0", "seed2"):
        (tmp_path / "s" / run_id / "behaviour").unlink()
    assert len(start(plan, tmp_path).finished) == 6
    assert starts(tmp_path) == {"seed0": 3, "seed1": 2, "seed2": 4, "seed3": 2, "seed4": 1, "seed5": 1}


def test_a_trainer_that_cannot_even_start_does_not_loop(tmp_path: Path) -> None:
    broken = [sys.executable, "-c", "raise SystemExit(2)"]
    result = launch(plan_of(1, 2), tmp_path, trainer_command=broken, poll_seconds=0.1)
    assert [run.id for run in result.failed] == ["seed1", "seed2"]
    assert all("exit code 2" in run.error for run in result.failed)
    assert len(list((tmp_path / "s" / "launch" / "jobs").iterdir())) == 6


def test_a_run_that_another_process_trains_is_waited_for(tmp_path: Path) -> None:
    plan = plan_of(1, 2)
    behave(tmp_path, plan)
    holder = subprocess.Popen([*STANDIN, str(tmp_path / "s" / "seed1")], env={**os.environ, "PYTHONPATH": ""})
    (tmp_path / "s" / "seed1" / "behaviour").write_text("sleep 2")
    wait_until(lambda: starts(tmp_path))
    result = start(plan, tmp_path)
    holder.wait()
    assert sorted(result.finished) == ["seed1", "seed2"]
    assert starts(tmp_path) == {"seed1": 1, "seed2": 1}


LAUNCHER = """
import sys; sys.path.insert(0, {folder!r})
from pathlib import Path
import test_launch as t
print(t.start(t.plan_of(1, 2, 3, 4), Path({root!r})), flush=True)
"""


def launcher(root: Path) -> subprocess.Popen[str]:
    script = LAUNCHER.format(folder=str(Path(__file__).parent), root=str(root))
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("group", [False, True], ids=["the launcher alone", "its whole group, as a terminal does"])
def test_ctrl_c_ends_every_trainer_in_good_order_and_the_next_launch_continues(tmp_path: Path, group: bool) -> None:
    plan = plan_of(1, 2, 3, 4)
    behave(tmp_path, plan, seed1="sleep 60", seed2="sleep 60")
    process = launcher(tmp_path)
    wait_until(lambda: len(starts(tmp_path)) >= 2)
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=20)[0]
    assert not any(is_alive(pid) for pid in pids(tmp_path))
    assert sweep_status(tmp_path / "s").counts["interrupted"] == 2
    for run_id in ("seed1", "seed2"):
        (tmp_path / "s" / run_id / "behaviour").unlink()
    assert len(start(plan, tmp_path).finished) == 4
    assert starts(tmp_path) == {"seed1": 2, "seed2": 2, "seed3": 1, "seed4": 1}


def test_a_killed_launcher_leaves_jobs_that_the_next_one_takes_over(tmp_path: Path) -> None:
    plan = plan_of(1, 2, 3, 4)
    behave(tmp_path, plan, **{f"seed{n}": "sleep 1.5" for n in (1, 2, 3, 4)})
    process = launcher(tmp_path)
    wait_until(lambda: len(starts(tmp_path)) >= 2)
    process.kill()
    process.wait()  # its jobs hold the pipe open
    assert any(is_alive(pid) for pid in pids(tmp_path))
    result = start(plan, tmp_path)
    assert len(result.finished) == 4
    assert set(starts(tmp_path).values()) == {1}
    # the jobs that were left trained the second run of their lists too: no job was added beside them
    assert len(list((tmp_path / "s" / "launch" / "jobs").iterdir())) == 2


def test_ctrl_c_also_ends_jobs_that_were_taken_over(tmp_path: Path) -> None:
    behave(tmp_path, plan_of(1, 2, 3, 4), seed1="sleep 60", seed2="sleep 60")
    first = launcher(tmp_path)
    wait_until(lambda: len(starts(tmp_path)) >= 2)
    first.kill()
    first.wait()
    second = launcher(tmp_path)
    lock = tmp_path / "s" / "launch" / "plan.json"
    written = lock.stat().st_mtime_ns
    wait_until(lambda: lock.stat().st_mtime_ns != written)
    time.sleep(0.3)
    second.send_signal(signal.SIGINT)
    assert second.wait(timeout=20) == 0
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_a_second_launcher_is_refused(tmp_path: Path) -> None:
    plan = plan_of(1)
    with (
        hold(tmp_path / "s" / "launch" / "lock"),
        pytest.raises(InputError, match="another launcher works on this sweep"),
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


def test_status_reads_a_sweep_at_any_moment(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sweep here"):
        sweep_status(tmp_path / "s")
    plan = plan_of(1, 2)
    behave(tmp_path, plan)
    metrics = tmp_path / "s" / "seed1" / "metrics.jsonl"
    metrics.write_text('{"samples_seen": 256, "loss": 2.5}\n{"samples_s')
    assert last_row(metrics)["loss"] == 2.5
    status = sweep_status(tmp_path / "s")
    assert status.counts == {"pending": 2}
    assert [(row.id, row.samples_seen, row.total_samples) for row in status.rows] == [
        ("seed1", 256, 1280),
        ("seed2", 0, 1280),
    ]
    assert status.to_json_dict()["runs"][0]["updated_at"] is None


def test_a_dead_trainer_is_shown_as_interrupted_and_not_as_running(tmp_path: Path) -> None:
    behave(tmp_path, plan_of(1))
    record = {"state": "running", "attempts": 1, "updated_at": time.time() - 3600}
    (tmp_path / "s" / "seed1" / "status.json").write_text(json.dumps(record))
    assert sweep_status(tmp_path / "s").rows[0].state == "interrupted"
    with hold_lease(tmp_path / "s" / "seed1" / "lock"):
        assert sweep_status(tmp_path / "s").rows[0].state == "running"


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
