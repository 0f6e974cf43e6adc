"""How jobs ended, and why they do not start: from what a real Slurm (22.05) showed, and from every state there is."""

from itertools import product
from typing import get_args

import pytest

from mammut_clip.runs.ends import EndKind
from mammut_clip.slurm.accounting import AccountedJob, parse_accounting
from mammut_clip.slurm.ends import how_job_ended
from mammut_clip.slurm.queue import QueuedJob, parse_queue
from mammut_clip.slurm.record import JobRecord
from mammut_clip.slurm.states import FINAL, LIVE
from mammut_clip.slurm.waits import why_it_cannot_start

# The states of `man squeue`.
STATES = [
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "CONFIGURING", "COMPLETING", "DEADLINE", "FAILED", "NODE_FAIL",
    "OUT_OF_MEMORY", "PENDING", "PREEMPTED", "RUNNING", "RESV_DEL_HOLD", "REQUEUE_FED", "REQUEUE_HOLD", "REQUEUED",
    "RESIZING", "REVOKED", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED", "TIMEOUT",
]  # fmt: skip

# As squeue and sacct printed them.
SQUEUE = """\
11|CANCELLED|0|15|n2|None|canc
24|CANCELLED|0|0||JobHeldUser|cancelled while it waited
1_7|COMPLETED|0|0|n1|None|arr
9|COMPLETED|1|0|n1|None|req
5|FAILED|0|768|n1|NonZeroExitCode|fail
7|FAILED|0|139|n2|JobLaunchFailure|segmentation fault
14|FAILED|0|4021|n1|JobLaunchFailure|log cannot be written
32|TIMEOUT|0|15|n1|TimeLimit|to
23|NODE_FAIL|0|0|n4|NodeDown|nr
20|PENDING|1|0||BeginTime|preempted
22|PENDING|1|0||job requeued in held state|rh
26|RUNNING|0|0|n3|None|pe
"""
SACCT = """\
9|31|REQUEUED|0:0|2026-11-21T23:57:06|2026-11-21T23:57:08|n2
11|33|CANCELLED by 1000|0:0|2026-11-21T23:57:06|2026-11-21T23:57:08|n2
14|36|FAILED|0:53|2026-11-21T23:57:07|2026-11-21T23:57:07|n1
9|37|COMPLETED|0:0|2026-11-21T23:57:14|2026-11-21T23:58:54|n1
20|45|PREEMPTED|0:0|2026-11-21T23:59:03|2026-11-21T23:59:04|n[1-3]
20|52|PENDING|0:0|Unknown|Unknown|None assigned
24|49|CANCELLED by 0|0:0|2026-11-21T23:59:04|2026-11-21T23:59:04|None assigned
25_[0-1,3]|50|PENDING|0:0|Unknown|Unknown|None assigned
32|60|TIMEOUT|0:0|2026-11-22T00:06:16|2026-11-22T00:07:28|n1
"""
QUEUE, ACCOUNTS = parse_queue(SQUEUE), parse_accounting(SACCT)


def record(told: str | None = None, *, ended: bool = False, restart: int = 0) -> JobRecord:
    return JobRecord(job="1", began=1.0, told_to_stop=told, ended=ended, restart=restart)


@pytest.mark.parametrize(
    ("job", "noted", "kind"),
    [
        ("11", record("SIGTERM"), "cancelled"),
        ("24", None, "cancelled"),
        ("1_7", record(ended=True), "done"),
        ("1_7", record(), "lost"),  # its supervisor ended, and did not say that it had
        ("1_7", None, "never_began"),
        ("5", record(), "crash"),
        ("5", None, "never_began"),  # a line of `setup` that failed
        ("7", record(), "crash"),
        ("14", None, "never_began"),
        ("32", record("SIGUSR1"), "time_limit"),
        ("32", record(), "time_limit"),
        ("23", record(), "node_failure"),
        ("23", None, "node_failure"),
    ],
)
def test_ends_that_the_queue_still_shows(job: str, noted: JobRecord | None, kind: EndKind) -> None:
    assert how_job_ended(noted, QUEUE[job], None) == kind


@pytest.mark.parametrize(
    ("job", "noted", "kind"),
    [
        ("11", record("SIGTERM"), "cancelled"),
        ("24", None, "cancelled"),
        ("9", record(ended=True, restart=1), "done"),
        ("14", None, "never_began"),
        ("32", record(), "time_limit"),
    ],
)
def test_ends_that_only_the_accounting_knows(job: str, noted: JobRecord | None, kind: EndKind) -> None:
    assert how_job_ended(noted, None, ACCOUNTS[job]) == kind


@pytest.mark.parametrize(
    ("noted", "accounted", "kind"),
    [
        (record("SIGTERM"), ACCOUNTS["20"], "preempted"),
        (record("SIGUSR1"), ACCOUNTS["20"], "preempted"),  # preempt_send_user_signal
        (record("SIGTERM"), ACCOUNTS["9"], "requeued"),
        (record("SIGUSR1"), ACCOUNTS["9"], "time_limit"),
        (record("SIGTERM"), None, "requeued"),
        (record("SIGUSR1"), None, "time_limit"),
        (record(), None, "node_failure"),
        (record(), AccountedJob("20", "NODE_FAIL"), "node_failure"),  # the record of the next restart is not there yet
        (record("SIGTERM", restart=1), AccountedJob("20", "RUNNING", history=("PREEMPTED", "REQUEUED")), "requeued"),
    ],
)
def test_what_had_a_job_queued_again(noted: JobRecord, accounted: AccountedJob | None, kind: EndKind) -> None:
    assert how_job_ended(noted, QUEUE["20"], accounted) == kind


def test_a_job_that_is_gone_without_a_trace() -> None:
    assert how_job_ended(record(), None, None) == "lost"
    assert how_job_ended(record("SIGTERM"), None, None) == "cancelled"
    assert how_job_ended(record("SIGUSR1"), None, None) == "time_limit"
    assert how_job_ended(None, None, None) == "never_began"


def test_only_a_waiting_element_that_is_cancelled_leaves_no_log_and_no_trace() -> None:
    assert how_job_ended(None, None, None, log_exists=False) == "cancelled"
    assert how_job_ended(None, None, None, log_exists=True) == "never_began"
    assert how_job_ended(None, QUEUE["14"], None, log_exists=False) == "never_began"
    assert how_job_ended(None, None, ACCOUNTS["14"], log_exists=False) == "never_began"


def test_every_state_of_slurm_is_known() -> None:
    assert set(STATES) == FINAL | LIVE
    assert not FINAL & LIVE


KINDS = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
    "OUT_OF_MEMORY": "out_of_memory",
    "COMPLETED": "lost",
    "FAILED": "crash",
}


@pytest.mark.parametrize("state", [*STATES, "A_STATE_OF_TOMORROW"])
def test_every_state_means_something(state: str) -> None:
    queued, accounted = QueuedJob("1", "n", state, "None"), AccountedJob("1", state)
    assert queued.is_over == accounted.is_over == (state in KINDS)
    if queued.is_over:
        assert how_job_ended(record(), queued, None) == how_job_ended(record(), None, accounted) == KINDS[state]
    else:  # accounting that is late, of a job that left the queue
        assert how_job_ended(record(), None, accounted) == "lost"
        assert how_job_ended(record(), queued, None) == "node_failure"


def test_no_combination_is_without_an_answer_and_no_cancelled_job_is_anything_else() -> None:
    states = [None, *STATES, "A_STATE_OF_TOMORROW"]
    records = [None, *(record(told) for told in (None, "SIGTERM", "SIGUSR1", "SIGINT"))]
    for noted, queued, accounted in product(records, states, states):
        kind = how_job_ended(
            noted,
            None if queued is None else QueuedJob("1", "n", queued, "None"),
            None if accounted is None else AccountedJob("1", accounted),
        )
        assert kind in get_args(EndKind)
        if queued == "CANCELLED" or (accounted == "CANCELLED" and queued is None):
            assert kind == "cancelled"


@pytest.mark.parametrize(
    "reason",
    [
        "None",
        "Resources",
        "Priority",
        "BeginTime",
        "Dependency",
        "JobArrayTaskLimit",
        "Licenses",
        "Reservation",
        "PartitionDown",
        "PartitionInactive",
        "QOSMaxJobsPerUserLimit",
        "QOSMaxCpuPerUserLimit",
        "QOSGrpCpuLimit",
        "AssocGrpNodeLimit",
        "AssocMaxJobsLimit",
        "AssocGrpCPURunMinutesLimit",
        "QOSGrpGRESRunMinutes",
        "Cleaning",
        "Prolog",
        "MaxJobsPerAccount",
        "ReqNodeNotAvail, UnavailableNodes:n2",
        "Nodes required for job are DOWN, DRAINED or reserved",
    ],
)
def test_what_just_waits(reason: str) -> None:
    assert why_it_cannot_start(QueuedJob("1", "n", "PENDING", reason)) is None


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("JobHeldUser", "release"),
        ("JobHeldAdmin", "administrator"),
        ("job requeued in held state", "release"),
        ("launch failed requeued held", "node"),
        ("PartitionConfig", "nodes"),
        ("PartitionNodeLimit", "fewer nodes"),
        ("PartitionTimeLimit", "time_limit_minutes"),
        ("BadConstraints", "constraint"),
        ("DependencyNeverSatisfied", "cancel"),
        ("InvalidAccount", "account"),
        ("InvalidQOS", "qos"),
        ("QOSMaxWallDurationPerJobLimit", "time_limit_minutes"),
        ("QOSMaxNodePerJobLimit", "nodes"),
        ("AssocMaxGRESPerJob", "nodes"),
        ("QOSMinGRES", "qos"),
        ("AssocGrpCPUMinutesLimit", "used up"),
        ("AssocGrpBillingMinutes", "used up"),
    ],
)
def test_what_never_starts_by_itself_says_what_to_do(reason: str, word: str) -> None:
    said = why_it_cannot_start(QueuedJob("1", "n", "PENDING", reason))
    assert said is not None
    assert word in said
    assert reason in said
    assert why_it_cannot_start(QueuedJob("1", "n", "RUNNING", reason)) is None


def test_reasons_hold_commas_and_names_hold_bars() -> None:
    text = "12_3|PENDING|2|0||ReqNodeNotAvail, UnavailableNodes:n2|a|b\n13|FAILED|0|768|n[1-2]|None|c\nan error\n"
    assert parse_queue(text) == {
        "12_3": QueuedJob("12_3", "a|b", "PENDING", "ReqNodeNotAvail, UnavailableNodes:n2", "", 2, None),
        "13": QueuedJob("13", "c", "FAILED", "None", "n[1-2]", 0, 3),
    }
    assert [QUEUE[job].exit_code for job in ("5", "7", "32", "26")] == [3, 139, 143, None]
