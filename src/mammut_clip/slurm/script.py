"""The batch script of a job, complete: what it asks for, what it sets up, and the supervisor that it becomes.

submitit writes it from our parameters. Its last line is `exec python ...`, so that the supervisor takes the place of
the batch shell and gets the shell's signals. Every value is quoted; `setup` alone is shell text.
"""

import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mammut_clip
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import InputError
from mammut_clip.slurm.steps import gpu_options, ranks_per_node, spread
from mammut_clip.slurm.task import Shape

PYTHON = f"exec {shlex.quote(sys.executable)}"
"""What submitit starts in the batch shell."""
_UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}


def parameters(
    cluster: ClusterConfig, shape: Shape, jobs: int, name: str, folder: Path, exclude: Sequence[str] = ()
) -> dict[str, Any]:
    """submitit's parameters of so many jobs of this shape; `exclude`: nodes to avoid beside the cluster's own."""
    starts = spread(cluster, shape, shape.ranks_per_task)
    log = "%a.log" if jobs > 1 else "0.log"  # of a job alone Slurm makes %a 4294967294
    found: dict[str, Any] = {
        "job_name": name,
        "account": cluster.account,
        "partition": cluster.partition,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "exclude": ",".join([*cluster.exclude_nodes, *exclude]) or None,
        "time": cluster.time_limit_minutes,
        "nodes": shape.nodes,
        "ntasks_per_node": max(1, shape.tasks_per_node * starts.per_node // starts.ranks),
        "cpus_per_task": starts.cores,
        "mem": _memory(cluster, shape),
        "exclusive": True if cluster.whole_nodes else None,
        "stderr_to_stdout": True,
        "use_srun": False,
        "setup": _setup_lines(cluster),
        "array_parallelism": min(jobs, cluster.limits.running or jobs),
        "additional_parameters": _additional(cluster, shape, folder / log),
    }
    # submitit marks its jobs with a wckey where it is not told otherwise; sites that check those refuse it
    return {key: value for key, value in found.items() if value is not None} | {"wckey": None}


def _additional(cluster: ClusterConfig, shape: Shape, log: Path) -> dict[str, Any]:
    """Options of sbatch that submitit has no name for, or another idea of."""
    found: dict[str, Any] = {
        "output": str(log),
        # To the batch shell alone, which is the supervisor: the ranks hear from it.
        "signal": f"B:USR1@{cluster.signal_seconds}",
        "requeue": True,
    }
    if cluster.reservation is not None:
        found["reservation"] = cluster.reservation
    for option in [*gpu_options(cluster, shape.tasks_per_node), *cluster.sbatch_options]:
        name, equals, value = option.removeprefix("--").partition("=")
        found[name] = value if equals else True
    return found


def _memory(cluster: ClusterConfig, shape: Shape) -> str | None:
    """--mem, per node; a job that takes part of a node gets its share."""
    memory, full = cluster.memory, ranks_per_node(cluster)
    if memory is None or shape.tasks_per_node >= full:
        return memory
    amount, unit = (memory[:-1], memory[-1]) if memory[-1] in _UNITS else (memory, "M")
    return f"{max(1, int(int(amount) * _UNITS[unit] * shape.tasks_per_node / full))}M"


def job_environment(cluster: ClusterConfig) -> dict[str, str]:
    """The variables of a job: threads, network, hubs, scratch, and what the cluster's file says, which wins."""
    found = {"OMP_NUM_THREADS": str(cluster.cpus_per_task)}
    if cluster.network_interfaces:
        names = ",".join(cluster.network_interfaces)
        found |= {"NCCL_SOCKET_IFNAME": names, "GLOO_SOCKET_IFNAME": names}
    if cluster.host_suffix:
        found["MAMMUT_CLIP_HOST_SUFFIX"] = cluster.host_suffix  # read by mammut_clip.distributed.meeting
    if cluster.offline:
        found |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
    if cluster.hub_cache is not None:
        found["HF_HOME"] = cluster.hub_cache
    if cluster.scratch is not None:
        found["TMPDIR"] = cluster.scratch
    return found | cluster.environment


def _setup_lines(cluster: ClusterConfig) -> list[str]:
    lines = [
        "trap '' USR1  # a signal that comes before the supervisor listens must not end the job",
        f"cd -- {shlex.quote(str(Path.cwd()))} || exit 1  # or Slurm would go on in /tmp",
    ]
    if cluster.modules:
        lines.append("type module > /dev/null 2>&1 || source /etc/profile")
        lines += [f"module load {shlex.quote(module)} || exit 1" for module in cluster.modules]
    lines += cluster.setup
    lines += [f"export {name}={shlex.quote(value)}" for name, value in job_environment(cluster).items()]
    root = package_root()
    if root is not None:
        lines.append(f"export PYTHONPATH={shlex.quote(root)}${{PYTHONPATH:+:$PYTHONPATH}}")
    # Since Slurm 22.05 srun does not take --cpus-per-task over from the job.
    lines.append("export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK")
    return lines


def package_root() -> str | None:
    """The folder that holds mammut_clip, which what submitit pickled by reference needs on PYTHONPATH; None where
    Python finds it there anyway."""
    root = str(Path(mammut_clip.__file__).resolve().parents[1])
    return None if root in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")} else root


def script_text(values: dict[str, Any], folder: Path, jobs: int) -> str:
    """The script that submitit writes for these parameters. It has no public way to show one, and none at all where
    there is no Slurm."""
    from submitit.slurm.slurm import _make_sbatch_string

    command = f"{PYTHON} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    return _make_sbatch_string(command, folder, map_count=jobs if jobs > 1 else None, **values)


def check_script(text: str) -> None:
    """Raise InputError where it is not shell text, as it may be through the cluster's `setup`."""
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise InputError(f"the batch script is no shell text, look at `setup` of the cluster's file: {done.stderr}")
