"""Why a job in the queue will not start by itself, in words that say what to do about it."""

import re

from mammut_clip.slurm.queue import QueuedJob

_WAITING_STATES = frozenset({"PENDING", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"})

_BY_STATE = {
    "REQUEUE_HOLD": "held after it was queued again; `scontrol release` lets it go",
    "SPECIAL_EXIT": "held by the site, which marked how it ended (SPECIAL_EXIT); ask why, then `scontrol release`",
    "RESV_DEL_HOLD": "held, as its reservation was deleted; cancel it, and set no `reservation` in the cluster's file",
}

_BY_REASON = {
    "JobHeldUser": "held by its user; `scontrol release` lets it go",
    "JobHeldAdmin": "held by an administrator of the site, who alone can release it",
    "PartitionConfig": "the partition has no nodes for such a job, ever; look at nodes and GPUs of a node in the "
    "cluster's file",
    "PartitionNodeLimit": "more nodes than the partition gives to one job, or fewer, or nodes that are down; take "
    "another partition or fewer nodes",
    "PartitionTimeLimit": "a longer time limit than the partition allows; lower time_limit_minutes",
    "BadConstraints": "no node is as it asks for; look at constraint, memory and GPUs in the cluster's file",
    "DependencyNeverSatisfied": "it waits for a job that did not end as it had to; cancel it",
    "InvalidAccount": "Slurm does not know its account; set `account` in the cluster's file",
    "AccountNotAllowed": "its account may not use the partition; look at account and partition in the cluster's file",
    "InvalidQOS": "Slurm does not know its QOS; set `qos` in the cluster's file",
    "QOSNotAllowed": "its QOS may not be used in the partition; look at qos and partition in the cluster's file",
    "ReservationDeleted": "its reservation was deleted; take `reservation` out of the cluster's file",
    "MaxMemPerLimit": "more memory than the site gives to one job; look at `memory` in the cluster's file",
    "AssociationTimeLimit": "a longer time limit than its account may ask for; lower time_limit_minutes",
    "QOSTimeLimit": "a longer time limit than its QOS allows; lower time_limit_minutes",
    "DeadLine": "it cannot end before its deadline; look at sbatch_options in the cluster's file",
}
"""Slurm's reasons that do not pass by waiting."""

_BY_PATTERN = (
    (
        re.compile(r"(launch|env).* failed.* held", re.IGNORECASE),
        "Slurm could not start it on its node and holds it; ask the site about the node, then `scontrol release`",
    ),
    (re.compile(r"\bheld\b", re.IGNORECASE), "held; `scontrol release` lets it go"),
    (
        re.compile(r"(QOS|Assoc)Grp(?!.*RunMin).*Minutes"),
        "the hours of its account or QOS are used up; ask for more, or take another `account`",
    ),
    (
        re.compile(r"(QOS|Assoc)Max.*(PerJob|PerNode)(Limit)?"),
        "more than its account or QOS gives to one job; look at nodes and time_limit_minutes",
    ),
    (re.compile(r"QOSMin.*"), "less than the smallest job of its QOS; take more nodes or another `qos`"),
)
"""The same for families of reasons, the first that fits."""


def why_it_cannot_start(queued: QueuedJob) -> str | None:
    """What keeps a job from ever starting, and what to do; None where it just waits, runs or is over.

    A limit on what all jobs of a user have together (QOSMaxJobsPerUserLimit), nodes that are away (ReqNodeNotAvail) and
    a partition that is down pass, and are waiting.
    """
    if queued.state not in _WAITING_STATES:
        return None
    words = _BY_STATE.get(queued.state) or _BY_REASON.get(queued.reason)
    if words is None:
        words = next((words for pattern, words in _BY_PATTERN if pattern.search(queued.reason)), None)
    return None if words is None else f"{words} ({queued.reason})"
