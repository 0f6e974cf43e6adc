"""Where the processes of a job meet: MASTER_ADDR and MASTER_PORT, for a Slurm step from its own variables."""

import re
import socket
import subprocess
from collections.abc import Mapping

from mammut_clip.config.errors import InputError
from mammut_clip.distributed.ranks import integer

HOST_SUFFIX = "MAMMUT_CLIP_HOST_SUFFIX"
"""Variable: appended to the first node's name to reach it over the fast network (`host_suffix` of a cluster's file)."""

_FIRST_PORT, _PORTS = 12_000, 20_000  # below 32768, where Linux begins to give ports to whoever asks for any
_STEPS = 101
"""Ports between two consecutive jobs, for the steps of the first."""
_SCONTROL_SECONDS = 60


def meeting_point(environment: Mapping[str, str]) -> dict[str, str]:
    """MASTER_ADDR and MASTER_PORT, as far as the environment does not set them already.

    Within one node the address is the loopback, which always resolves; else it is the first node's, where rank 0 runs.
    The port comes from the job's id and the step's, as a fixed one collides where two of them share a node.
    Raises InputError outside a Slurm step, and where the first node's address cannot be found.
    """
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if missing and "SLURM_STEP_NODELIST" not in environment:
        raise InputError(
            f"RANK and WORLD_SIZE are set, {' and '.join(missing)} not: start with torchrun or srun, or set them all"
        )
    find = {"MASTER_ADDR": first_address, "MASTER_PORT": port}
    return {name: find[name](environment) for name in missing}


def port(environment: Mapping[str, str]) -> str:
    """The port of a Slurm step, made of its id and its job's."""
    job, step = integer(environment, "SLURM_JOB_ID"), integer(environment, "SLURM_STEP_ID")
    return str(_FIRST_PORT + (job * _STEPS + step) % _PORTS)


def first_address(environment: Mapping[str, str]) -> str:
    """The address of a Slurm step's first node. Raises InputError where it has none that resolves."""
    return _address("the first node", first_host(environment["SLURM_STEP_NODELIST"]), environment)


def own_address(environment: Mapping[str, str]) -> str:
    """The address of the node that a task of a Slurm step runs on."""
    return _address("this node", environment["SLURMD_NODENAME"], environment)


def _address(which: str, node: str, environment: Mapping[str, str]) -> str:
    if integer(environment, "SLURM_STEP_NUM_NODES") == 1:
        return "127.0.0.1"
    suffix = environment.get(HOST_SUFFIX, "")
    if _resolves(node + suffix):
        return node + suffix
    if suffix:
        raise InputError(
            f"{HOST_SUFFIX} = {suffix!r}: the name {node + suffix} does not resolve; "
            "expected what makes a node's name its name in the fast network (host_suffix of the cluster's file)"
        )
    return _address_in_slurm(which, node)


def first_host(node_list: str) -> str:
    """The first name of Slurm's `jwb[0021-0022,0030],login1`: jwb0021."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", node_list)
    assert first is not None  # it matches the empty string too
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0])


def _resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, None))
    except (OSError, UnicodeError):
        return False


def _address_in_slurm(which: str, node: str) -> str:
    """The address by which Slurm itself reaches the node."""
    command = ["scontrol", "--oneliner", "show", "node", node]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SCONTROL_SECONDS)
    except subprocess.CalledProcessError as error:
        raise _unknown(which, node, error.stderr.strip() or error.stdout.strip()) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unknown(which, node, str(error)) from error
    found = re.search(r"\bNodeAddr=(\S+)", done.stdout)
    if found is None or not _resolves(found[1]):
        raise _unknown(which, node, f"it names no address that resolves: {found[0] if found else 'no NodeAddr'}")
    return found[1]


def _unknown(which: str, node: str, why: str) -> InputError:
    return InputError(
        f"{which}, {node}, does not resolve, and `scontrol show node {node}` does not help ({why}); "
        "set MASTER_ADDR to an address of that node"
    )
