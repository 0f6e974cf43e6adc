"""What Slurm is told: cancel, signal, release, keep away from nodes; and which nodes are down.

Each raises SlurmAwayError where the controller does not answer: then nobody knows whether it was done, and doing it
again does no harm. What Slurm has against it is returned in its own words, empty where there is nothing: of many jobs
some may have moved on by themselves, and the others are done all the same. An id that Slurm does not know is no reason
for it to complain of `cancel`, but of the others.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from mammut_clip.slurm.ask import Answer, ask, in_batches
from mammut_clip.slurm.errors import SlurmAwayError

_BASE_STATES_DOWN = ("down", "fail", "failing", "error", "unknown")
_NOT_RESPONDING = "*"


def cancel(ids: Iterable[str]) -> str:
    """End jobs for good, those that wait and those that run (SIGTERM, then SIGKILL after the site's KillWait)."""
    return _for_all(["scancel"], ids)


def send_signal(ids: Iterable[str], name: str, *, to: Literal["batch", "steps", "all"] = "batch") -> str:
    """Send running jobs a signal such as USR1: to the batch shell alone, to the tasks of the steps alone, or to all."""
    where = {"batch": ["--batch"], "steps": [], "all": ["--full"]}[to]
    return _for_all(["scancel", f"--signal={name}", *where], ids)


def release(ids: Iterable[str]) -> str:
    """Let held jobs go."""
    return _for_all(["scontrol", "release"], ids, separator=",")


def start_now(ids: Iterable[str]) -> str:
    """Take away the wait that Slurm puts before a job that was queued again (BeginTime; 2 minutes by default)."""
    return _for_all(["scontrol", "update", "StartTime=now"], ids, prefix="JobId=", separator=",")


def exclude_nodes(ids: Iterable[str], nodes: Sequence[str]) -> str:
    """Make these the nodes that waiting jobs do not get, in place of those it was told before."""
    return _for_all(["scontrol", "update", "ExcNodeList=" + ",".join(nodes)], ids, prefix="JobId=", separator=",")


def down_nodes(node_list: str) -> list[str]:
    """Nodes of a list such as n[1-2] which Slurm says are down, failed or not responding, in its order.

    Slurm needs SlurmdTimeout (300 s by default) to see that a node does not respond. Drained nodes are not among them:
    people drain what they want to look after.
    """
    if not node_list:
        return []
    answer = _answer(["sinfo", "--noheader", "--Node", f"--nodes={node_list}", "--Format=NodeList:|,StateLong:"])
    if not answer.ok:
        raise SlurmAwayError(f"sinfo did not say how {node_list} is: {answer.words}")
    states = dict(line.split("|", 1) for line in answer.text.splitlines() if "|" in line)
    return [node for node, state in states.items() if _is_down(state)]


def controller_answers() -> bool:
    """Whether any of the cluster's controllers is up."""
    answer = ask(["scontrol", "ping"])
    return answer.ok and " is UP" in answer.text


def _is_down(state: str) -> bool:
    """Words of sinfo's such as `down*`, `mixed`, `idle+drain`; the marks stand after them."""
    base = state.rstrip("*~#!%$@^-").split("+")[0]
    return base in _BASE_STATES_DOWN or _NOT_RESPONDING in state


def _for_all(command: list[str], ids: Iterable[str], prefix: str = "", separator: str = "") -> str:
    """Run a command for jobs, given as words of their own, or as one where there is a separator; what it said."""
    words = []
    for batch in in_batches(ids):
        answer = _answer([*command, *([prefix + separator.join(batch)] if separator else batch)])
        if not answer.ok:
            words.append(answer.words)
    return "\n".join(words)


def _answer(command: list[str]) -> Answer:
    """Raises SlurmAwayError where the command could not be run, or failed while no controller answers."""
    answer = ask(command)
    if not answer.answered or (answer.code != 0 and ("timed out" in answer.words or not controller_answers())):
        raise SlurmAwayError(f"Slurm does not answer {command[0]}: {answer.words or 'no words'}")
    return answer
