"""Jobs in the queue that will not start by themselves, and nodes that no job should get any more."""

from collections import Counter
from collections.abc import Mapping
from functools import cache

from mammut_clip.config.errors import InputError
from mammut_clip.runs.ends import End
from mammut_clip.slurm.ask import ask
from mammut_clip.slurm.control import down_nodes, exclude_nodes, release
from mammut_clip.slurm.queue import QueuedJob
from mammut_clip.sweep.journal import Journal
from mammut_clip.sweep.stored import Launched

LAUNCH_FAILED = "launch failed requeued held"
"""Slurm's reason for a job that it could not start on a node, through no fault of the job, and that it holds since."""


def release_held(journal: Journal, waiting: Mapping[str, QueuedJob]) -> list[str]:
    """Let jobs go that Slurm holds because a node could not start them, each once; their ids. Slurm has drained the
    node, so that they start on others.

    Those that the user or an administrator holds are left alone. Raises SlurmAwayError.
    """
    held = [job.id for job in waiting.values() if is_launch_failure(job) and job.id not in journal.released]
    if held:
        release(held)  # again, if this process ends before the next line, which does no harm
        journal.release(held)
    return held


def is_launch_failure(job: QueuedJob) -> bool:
    """Whether Slurm holds it because a node failed to start it."""
    return job.reason.replace("_", " ").casefold() == LAUNCH_FAILED


def failed_nodes(launched: Launched, failures: list[End]) -> frozenset[str]:
    """Nodes that failed under the sweep's jobs as often as policy allows. Where several nodes were in such a job, those
    that are down are meant; all, where none is. Raises SlurmAwayError."""
    limit = launched.stored.policy.node_failures
    # One failure of a node ends all tasks of its job.
    jobs = {(end.job, end.restart): end.nodes for end in failures if end.nodes}
    counted = Counter(node for nodes in jobs.values() for node in expand(nodes))
    found = {node for node, times in counted.items() if times >= limit}
    together = [found & set(expand(nodes)) for nodes in jobs.values()]
    for group in together:
        if len(group) > 1:
            down = set(down_nodes(",".join(sorted(group))))
            found -= group - down if down else set()
    return frozenset(found)


def exclude_from_waiting(
    launched: Launched, journal: Journal, waiting: Mapping[str, QueuedJob], nodes: frozenset[str]
) -> None:
    """Keep jobs that wait from these nodes. Raises SlurmAwayError."""
    known = journal.excluded
    ids = [job.id for job in waiting.values() if job.state == "PENDING" and not nodes <= known.get(job.id, frozenset())]
    by_nodes: dict[frozenset[str], list[str]] = {}
    for job_id in ids:
        by_nodes.setdefault(known.get(job_id, frozenset()) | nodes, []).append(job_id)
    for all_nodes, group in by_nodes.items():
        exclude_nodes(group, [*launched.stored.cluster.exclude_nodes, *sorted(all_nodes)])
        journal.exclude(group, all_nodes)  # not before it is done: it would not be tried again


@cache
def expand(nodes: str) -> tuple[str, ...]:
    """The nodes of Slurm's list, such as n[1-2]. No controller is asked. Raises InputError where it is no list."""
    if "[" not in nodes and "," not in nodes:
        return (nodes,)
    answer = ask(["scontrol", "show", "hostnames", nodes])
    if not answer.ok:
        raise InputError(f"{nodes}: not a list of nodes ({answer.words})")
    return tuple(answer.text.split())
