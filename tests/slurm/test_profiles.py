"""From a profile to the batch script and the step: what they ask for, and that nothing in them is read by a shell."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.cli import app
from mammut_clip.config.cluster import ClusterConfig, Limits, load_cluster
from mammut_clip.config.errors import InputError
from mammut_clip.config.files import shipped
from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.slurm.partition import parse_minutes
from mammut_clip.slurm.script import job_environment
from mammut_clip.slurm.steps import room, step_command
from mammut_clip.slurm.submit import render
from mammut_clip.slurm.task import JobRequest, Shape, Task

SITES = sorted(name for name in shipped("slurm") if load_cluster(name).kind == "slurm")
BASE = {"kind": "slurm", "time_limit_minutes": 60, "signal_seconds": 60, "peak_tflops": 1, "efficiency": 0.5}


def profile(**values: object) -> ClusterConfig:
    return ClusterConfig.model_validate(BASE | {"gpus_per_node": 4, "cores_per_node": 8, "cpus_per_task": 2} | values)


def script(cluster: ClusterConfig, shape: Shape, jobs: int = 1, folder: str = "/sweeps/s", **more: object) -> list[str]:
    requests = [JobRequest(shape, ())] * jobs
    text = render(cluster, requests, sweep_dir=Path(folder), number=7, policy=SweepPolicy(), **more)  # type: ignore[arg-type]
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    return text.splitlines()


def task(processes: int) -> Task:
    return Task("a", "train", "/sweeps/s/a", ("-m", "mammut_clip.train", "/sweeps/s/a"), processes, 1.0)


def step(cluster: ClusterConfig, processes: int, shape: Shape | None = None, log: str = "/l/a") -> list[str]:
    return step_command(cluster, shape or room(cluster, processes), task(processes), Path(log), {})


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("start", ["srun", "torchrun"])
def test_every_shipped_profile_makes_a_script(name: str, start: str) -> None:
    cluster = load_cluster(name, ["account=proj", f"start={start}"])
    for processes in (1, cluster.gpus_per_node, 4 * cluster.gpus_per_node):
        lines = script(cluster, room(cluster, processes), jobs=2)
        assert "#SBATCH --account=proj" in lines
        assert lines[-1].startswith("exec ")
        assert step(cluster, processes)[0] == "srun"


def test_the_script_says_what_the_profile_says() -> None:
    more = ["account=proj", "qos=low", "exclude_nodes=[jwb0026]", "modules=[Stages/2025, GCC]", "memory=480G"]
    cluster = load_cluster("juwels-booster", [*more, "setup=['source env/bin/activate']", "reservation=r"])
    lines = script(cluster, room(cluster, 8), jobs=3, exclude=["jwb[0098-0099]"])
    for expected in (
        "#SBATCH --account=proj",
        "#SBATCH --array=0-2%3",
        "#SBATCH --cpus-per-task=12",
        "#SBATCH --exclude='jwb0026,jwb[0098-0099]'",
        "#SBATCH --exclusive",
        "#SBATCH --gres=gpu:4",
        "#SBATCH --mem=480G",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --open-mode=append",
        "#SBATCH --output=/sweeps/s/launch/jobs/7/%a.log",
        "#SBATCH --partition=booster",
        "#SBATCH --qos=low",
        "#SBATCH --requeue",
        "#SBATCH --reservation=r",
        "#SBATCH --signal=B:USR1@300",
        "#SBATCH --threads-per-core=1",
        "#SBATCH --time=360",
        "module load Stages/2025 || exit 1",
        "source env/bin/activate",
        "export NCCL_SOCKET_IFNAME=ib0",
        "export MAMMUT_CLIP_HOST_SUFFIX=i",
        "export WANDB_MODE=offline",
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",
    ):
        assert expected in lines
    assert not [line for line in lines if "wckey" in line or line.startswith("srun")]


def test_options_stand_before_the_first_command() -> None:
    lines = script(profile(setup=["#SBATCH --account=evil"]), Shape(1, 4, 1))
    first = next(at for at, line in enumerate(lines) if line and not line.startswith("#"))
    assert lines.index("#SBATCH --account=evil") > first  # sbatch has stopped reading there
    assert max(at for at, line in enumerate(lines) if line.startswith("#SBATCH --time")) < first


def test_arrays_run_as_many_at_once_as_the_profile_allows() -> None:
    cluster = profile(limits={"running": 2, "array_size": 5})
    assert "#SBATCH --array=0-4%2" in script(cluster, Shape(1, 4, 1), jobs=5)
    assert "#SBATCH --output=/sweeps/s/launch/jobs/7/0.log" in script(cluster, Shape(1, 4, 1))
    with pytest.raises(InputError, match=r"limits\.array_size .* 5"):
        script(cluster, Shape(1, 4, 1), jobs=6)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\0", exclude_categories=("Cs",))))
def test_no_value_of_a_variable_is_read_by_the_shell(value: str) -> None:
    text = render(
        profile(environment={"VALUE": value}),
        [JobRequest(Shape(1, 4, 4), ())],
        sweep_dir=Path("/s"),
        number=1,
        policy=SweepPolicy(),
    )
    [line] = [line for line in text.split("\n") if line.startswith("export VALUE=")]
    assert shlex.split(line, comments=True) == ["export", f"VALUE={value}"]


@pytest.mark.parametrize("name", ["a b", "it's", 'a"b', "$(touch pwned)", "a;b", "`x`", "#x", "ü"])
def test_no_path_is_read_by_the_shell(name: str) -> None:
    lines = script(profile(), Shape(1, 4, 4), folder=f"/{name}")
    assert shlex.split(lines[-1])[-1] == f"/{name}/launch/jobs/7"
    [output] = [line for line in lines if line.startswith("#SBATCH --output=")]
    assert shlex.split(output.removeprefix("#SBATCH "))[0] == f"--output=/{name}/launch/jobs/7/0.log"


@pytest.mark.parametrize("name", ["a%j", "a\\b", "a\nb"])
def test_paths_that_slurm_cannot_write_to_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="Slurm cannot write logs"):
        script(profile(), Shape(1, 4, 4), folder=f"/{name}")


def test_setup_that_is_no_shell_text_is_refused() -> None:
    with pytest.raises(InputError, match=r"look at `setup`.*syntax error"):
        script(profile(setup=["if true; then"]), Shape(1, 4, 4))


def test_the_profile_wins_over_what_follows_from_it() -> None:
    cluster = profile(offline=True, hub_cache="/hub", scratch="/tmp", environment={"WANDB_MODE": "online"})
    found = job_environment(cluster)
    assert (found["WANDB_MODE"], found["HF_HUB_OFFLINE"], found["HF_HOME"], found["TMPDIR"]) == (
        "online",
        "1",
        "/hub",
        "/tmp",
    )
    assert found["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize(
    ("values", "processes", "shape", "at_once"),
    [
        ({}, 1, Shape(1, 4, 1), 4),
        ({}, 2, Shape(1, 4, 2), 2),
        ({}, 3, Shape(1, 4, 3), 1),
        ({}, 4, Shape(1, 4, 4), 1),
        ({}, 8, Shape(2, 4, 8), 1),
        ({"whole_nodes": False}, 1, Shape(1, 1, 1), 1),
        ({"whole_nodes": False}, 6, Shape(2, 3, 6), 1),
        ({"gpu_request": "none"}, 1, Shape(1, 1, 1), 1),  # nobody shares the GPUs out
        ({"gpus_per_node": 0}, 1, Shape(1, 4, 1), 4),
        ({"gpus_per_node": 0, "cores_per_node": None}, 2, Shape(2, 1, 2), 1),
    ],
)
def test_the_smallest_job_for_a_task(values: dict[str, object], processes: int, shape: Shape, at_once: int) -> None:
    assert room(profile(**values), processes) == shape
    assert shape.at_once == at_once


def test_a_job_that_takes_part_of_a_node_asks_for_its_share() -> None:
    cluster = profile(whole_nodes=False, memory="3G")
    lines = script(cluster, room(cluster, 1))
    assert {"#SBATCH --gres=gpu:1", "#SBATCH --ntasks-per-node=1", "#SBATCH --mem=768M"} <= set(lines)
    assert "#SBATCH --exclusive" not in lines
    assert "#SBATCH --mem=3G" in script(cluster, room(cluster, 4))


@pytest.mark.parametrize(("request_by", "option"), [("gres", "--gres=gpu:2"), ("gpus_per_node", "--gpus-per-node=2")])
def test_steps_that_share_a_job_name_all_they_take(request_by: str, option: str) -> None:
    command = step(profile(gpu_request=request_by), 2)
    assert {"--nodes=1", "--ntasks=2", "--cpus-per-task=2", "--exact", "--mem=0", option} <= set(command)
    assert "--exact" not in step(profile(gpu_request=request_by), 4)
    assert not [word for word in step(profile(gpu_request="none"), 2) if "gpu" in word]


def test_a_step_of_torchrun_has_one_task_on_each_node() -> None:
    cluster = profile(start="torchrun")
    command = step(cluster, 8)
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=8", "--gres=gpu:4"} <= set(command)
    assert command[-5:] == ["mammut_clip.distributed.torchrun", "4", "-m", "mammut_clip.train", "/sweeps/s/a"]
    assert {"#SBATCH --ntasks-per-node=1", "#SBATCH --cpus-per-task=8"} <= set(script(cluster, room(cluster, 8)))
    assert {"#SBATCH --ntasks-per-node=2", "#SBATCH --cpus-per-task=4"} <= set(script(cluster, room(cluster, 2)))
    assert "torchrun" not in " ".join(step(cluster, 1))
    with pytest.raises(InputError, match="7 ranks on 2 nodes"):
        step(cluster, 7)


def test_logs_variables_and_options_of_a_step_are_words_of_their_own() -> None:
    variables = {"A": "x, y=$(z)"}
    command = step_command(
        profile(srun_options=["--cpu-bind=none"]), Shape(1, 4, 4), task(4), Path("/a b/50%"), variables
    )
    assert "--output=/a b/50%%-rank-%t.log" in command
    assert command[command.index("--cpu-bind=none") + 1 :][:2] == ["env", "A=x, y=$(z)"]


@pytest.mark.parametrize(
    ("text", "minutes"), [("1-00:00:00", 1440), ("06:30:00", 390), ("30:00", 30), ("infinite", None), ("n/a", None)]
)
def test_time_limits_are_read_as_slurm_writes_them(text: str, minutes: float | None) -> None:
    assert parse_minutes(text) == minutes


def test_the_page_names_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
    keys = {*ClusterConfig.model_fields, *(f"limits.{key}" for key in Limits.model_fields)} - {"limits"}
    assert not [key for key in sorted(keys) if f"`{key}`" not in page]


def test_render_prints_what_would_be_submitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(
        [
            "slurm",
            "render",
            "toy",
            "--cluster",
            "generic",
            "--json",
            "--nodes=2",
            "cluster.account=x",
            f"--runs={tmp_path}",
        ],
        standalone_mode=False,
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["nodes"], told["tasks_per_node"], told["at_once"], told["notes"]) == (2, 4, 1, [])
    lines = told["script"].splitlines()
    assert {"#SBATCH --account=x", "#SBATCH --nodes=2"} <= set(lines)
    assert shlex.split(lines[-1])[-1] == str(tmp_path / "single" / "launch" / "jobs" / "1")
    assert told["step"][-2:] == ["mammut_clip.train", str(tmp_path / "single" / "toy")]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["toy"], "add --cluster NAME"),
        (["toy", "--cluster=local"], "kind local has no queue"),
        (["toy", "--cluster=generic", "--gpus=4", "--nodes=1"], "give one of them"),
        (["toy", "--cluster=generic", "--gpus=5"], "expected at most 4"),
        (["toy", "--cluster=generic", "cluster.acount=x"], "did you mean account"),
    ],
)
def test_what_cannot_be_rendered_is_said(arguments: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        app(["slurm", "render", *arguments], standalone_mode=False)
