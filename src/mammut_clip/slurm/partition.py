"""The time limit of a partition: Slurm takes a job that asks for more, and never starts it."""

import re

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.slurm.ask import ask


def time_limit_refusal(cluster: ClusterConfig) -> str | None:
    """Why a job of the cluster's time limit would wait for ever in its partition; None where it would not, where nobody
    knows, and where a quality of service is named, which may allow more than its partition."""
    longest = None if cluster.qos is not None else _longest_minutes(cluster.partition)
    if longest is None or cluster.time_limit_minutes is None or cluster.time_limit_minutes <= longest:
        return None
    where = "the default partition" if cluster.partition is None else f"partition {cluster.partition}"
    return (
        f"time_limit_minutes {cluster.time_limit_minutes}: {where} allows {longest:g} at most, and a job that asks for "
        "more would wait for ever"
    )


def _longest_minutes(partition: str | None) -> float | None:
    """MaxTime of a partition, or of the default one; None for no limit or no answer."""
    command = ["sinfo", "--noheader", "--format=%P|%l", *([f"--partition={partition}"] if partition else [])]
    rows = [line.strip().partition("|") for line in ask(command).text.splitlines()]
    limits = [parse_minutes(limit) for name, _, limit in rows if partition or name.endswith("*")]
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None


def parse_minutes(text: str) -> float | None:
    """Slurm's `1-00:00:00`, `06:00:00` or `30:00` in minutes; None for infinite and what is no time."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return days * 24 * 60 + hours * 60 + minutes + seconds / 60
