"""Submitting on a real Slurm: arrays, from inside other jobs, what sbatch refuses, and a controller that is away."""

import json
import sys
from pathlib import Path

import pytest
from cluster import SlurmCluster

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import InputError
from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.slurm.errors import SlurmAwayError
from mammut_clip.slurm.record import JobRecord
from mammut_clip.slurm.steps import room
from mammut_clip.slurm.submit import jobs_folder, refusal, render, submit
from mammut_clip.slurm.task import JobRequest, Shape, Task

pytestmark = pytest.mark.slurm

ONE = Shape(1, 4, 1)
POLICY = SweepPolicy(crashes=1, backoff_seconds=0)
SEES = "import json, os, sys; json.dump(dict(os.environ) | {'cwd': os.getcwd()}, open(sys.argv[1], 'w'))"
"""A task that tells its environment; the supervisor calls it a crash, as it leaves no finished run."""
NESTED = """
import os, sys
from pathlib import Path
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.slurm.submit import submit
from mammut_clip.slurm.task import JobRequest, Shape, Task
task = Task("inner", "evaluate", sys.argv[1], ("-c", sys.argv[2], sys.argv[3]), 1, 1.0)
cluster = ClusterConfig.model_validate_json(sys.argv[4])
if os.environ["SLURM_ARRAY_TASK_ID"] == "1":
    submit(cluster, [JobRequest(Shape(1, 4, 1), (task,))], sweep_dir=Path(sys.argv[5]), number=2, policy=SweepPolicy())
"""


def profile(**values: object) -> ClusterConfig:
    base = {"kind": "slurm", "time_limit_minutes": 5, "signal_seconds": 60, "peak_tflops": 1, "efficiency": 0.5}
    return ClusterConfig.model_validate(base | {"gpus_per_node": 4, "cores_per_node": 4} | values)


def telling(folder: Path, name: str) -> Task:
    (folder / name).mkdir(parents=True, exist_ok=True)
    return Task(name, "evaluate", str(folder / name), ("-c", SEES, str(folder / name / "seen.json")), 1, 1.0)


def empty(slurm: SlurmCluster) -> None:
    slurm.wait_for("the queue to empty", lambda: not slurm.ask("squeue", "-h").strip())


def test_an_array_runs_each_job_with_its_own_tasks(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "it's a $(folder)"
    work.mkdir()
    monkeypatch.chdir(work)
    sweep = work / "s"
    cluster = profile(environment={"MINE": "a 'b' $(c)"}, setup=["export FROM_SETUP=1"], limits={"running": 1})
    requests = [JobRequest(ONE, (telling(sweep, f"t{number}"),)) for number in range(2)]
    tend = (sys.executable, "-c", f"open({str(sweep / 'tended')!r}, 'a').write('x')")
    jobs = submit(cluster, requests, sweep_dir=sweep, number=1, policy=POLICY, tend=tend)
    array, _, _ = jobs[0].id.partition("_")
    assert [job.id for job in jobs] == [f"{array}_0", f"{array}_1"]
    assert [job.task_ids for job in jobs] == [("t0",), ("t1",)]

    rendered = render(cluster, requests, sweep_dir=sweep, number=1, policy=POLICY)
    assert (jobs_folder(sweep, 1) / f"{array}_submission.sh").read_text() == rendered
    assert b"mammut_clip.slurm.supervisor" in (jobs_folder(sweep, 1) / f"{array}_0_submitted.pkl").read_bytes()
    empty(slurm)
    for job in jobs:
        record = JobRecord.read(Path(job.record))
        assert record is not None
        assert (record.job, record.ended, [task.task for task in record.tasks]) == (job.id, True, [*job.task_ids])
        assert Path(job.log).read_text()
        seen = json.loads((sweep / job.task_ids[0] / "seen.json").read_text())
        assert (seen["cwd"], seen["MINE"], seen["FROM_SETUP"]) == (str(work), "a 'b' $(c)", "1")
        assert seen["SLURM_JOB_NAME"] == job.name
    assert (sweep / "tended").read_text() == "xx"
    assert not (work / "folder").exists()


def test_a_job_submits_the_next(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Its place in an array, its size and its PYTHONPATH do not pass to the new one."""
    sweep, inner = tmp_path / "s", tmp_path / "s" / "inner"
    inner.mkdir(parents=True)
    cluster = profile()
    tend = [sys.executable, "-c", NESTED, str(inner), SEES, str(inner / "seen.json")]
    tend += [cluster.model_dump_json(), str(sweep)]
    outer = JobRequest(Shape(2, 1, 2), (Task("outer", "evaluate", str(inner), ("-c", "pass"), 2, 1.0),))
    submit(cluster, [outer, outer], sweep_dir=sweep, number=1, policy=POLICY, tend=tend)
    slurm.wait_for("the inner job", (inner / "seen.json").exists)
    seen = json.loads((inner / "seen.json").read_text())
    assert (seen["SLURM_JOB_NUM_NODES"], seen["CUDA_VISIBLE_DEVICES"]) == ("1", "0")
    assert "SLURM_ARRAY_TASK_ID" not in seen
    assert len(seen["PYTHONPATH"].split(":")) == len(set(seen["PYTHONPATH"].split(":")))
    assert [file.name for file in jobs_folder(sweep, 2).glob("*.json")] == ["0.json"]
    empty(slurm)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"partition": "nosuch"}, "invalid partition specified: nosuch"),
        ({"partition": "short"}, "partition short allows 1 at most"),
        ({"time_limit_minutes": 100}, "the default partition allows 60 at most"),
        ({"constraint": "nosuch"}, "Invalid feature"),
        ({"exclude_nodes": ["zz9"]}, "Invalid node name"),
        ({"gpus_per_node": 9, "cores_per_node": 9}, "node configuration is not available"),
        ({"needs_account": True}, "account is not set.* cluster.account=PROJECT"),
        ({"shared_paths": ["/p"]}, "not below any of the cluster's shared_paths"),
        ({"setup": ["if"]}, "no shell text"),
    ],
)
def test_what_slurm_would_refuse_or_never_start_is_said_before(
    slurm: SlurmCluster, tmp_path: Path, values: dict[str, object], said: str
) -> None:
    cluster = profile(**values)
    with pytest.raises(InputError, match=said):
        raise InputError(refusal(cluster, room(cluster, 1), sweep_dir=tmp_path / "s") or "nothing")
    assert not (tmp_path / "s").exists()
    assert not slurm.ask("squeue", "-h").strip()


def test_more_nodes_than_there_are_would_be_refused(slurm: SlurmCluster, tmp_path: Path) -> None:
    cluster = profile()
    assert refusal(cluster, room(cluster, 16), sweep_dir=tmp_path) is None
    assert "not available" in str(refusal(cluster, room(cluster, 20), sweep_dir=tmp_path))


def test_sbatch_is_told_in_its_own_words(
    slurm: SlurmCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = JobRequest(ONE, (telling(tmp_path, "a"),))
    with pytest.raises(InputError, match="Invalid partition name specified") as caught:
        submit(profile(partition="nosuch"), [request], sweep_dir=tmp_path, number=1, policy=POLICY)
    assert not isinstance(caught.value, SlurmAwayError)
    assert capsys.readouterr().err == ""


def test_a_controller_that_is_away_is_no_refusal(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "slurm.conf"
    lines = [line for line in slurm.conf.read_text().splitlines() if not line.startswith("SlurmctldPort")]
    conf.write_text("\n".join([*lines, f"SlurmctldPort={slurm.reserve_ports(1)[0]}", "MessageTimeout=2", ""]))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    with pytest.raises(SlurmAwayError, match="does not answer"):
        submit(
            profile(), [JobRequest(ONE, (telling(tmp_path, "a"),))], sweep_dir=tmp_path / "s", number=1, policy=POLICY
        )
    with pytest.raises(SlurmAwayError):
        refusal(profile(), ONE, sweep_dir=tmp_path)
