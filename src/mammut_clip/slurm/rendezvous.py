"""Where the processes of a Slurm step meet: MASTER_ADDR and MASTER_PORT from the step's own variables."""

import subprocess
from collections.abc import Mapping

_FIRST_PORT, _PORTS = 20_000, 20_000


def meeting_point(environment: Mapping[str, str], host_suffix: str = "") -> dict[str, str]:
    """MASTER_ADDR and MASTER_PORT for a task of a step of several tasks; nothing for a single process.

    On one node that is the loopback, which always resolves; on several it is the first node with the site's suffix.
    The port comes from the job id: a fixed one collides where two jobs share a node. What the job's environment
    sets already stays.
    """
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) < 2:
        return {}
    chosen = {"MASTER_PORT": str(_FIRST_PORT + int(environment["SLURM_JOB_ID"]) % _PORTS)}
    if int(environment.get("SLURM_STEP_NUM_NODES", 1)) == 1:
        chosen["MASTER_ADDR"] = "127.0.0.1"
    else:
        chosen["MASTER_ADDR"] = _first_host(environment["SLURM_STEP_NODELIST"]) + host_suffix
    return {name: value for name, value in chosen.items() if name not in environment}


def _first_host(node_list: str) -> str:
    command = ["scontrol", "show", "hostnames", node_list]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
