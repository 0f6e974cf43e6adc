"""Kinds of ends, from what is known of an attempt; and of the job's own."""

from dataclasses import replace

import pytest

from mammut_clip.runs.ends import EndKind
from mammut_clip.runs.failures import LastWords
from mammut_clip.runs.records import Status
from mammut_clip.slurm.supervisor.judge import Evidence, judge
from mammut_clip.slurm.supervisor.this_job import why

NOTHING = Evidence(exit_code=1, done=False, status=None, words=(), told=None)
FAILED = Status(state="failed", last_error="ValueError: x", error_kind="crash")
FULL = FAILED.model_copy(update={"error_kind": "disk_full"})
PEER = LastWords(kind="crash", error="PeerFailedError: rank 1")
NO_MEMORY = LastWords(kind="out_of_memory", error="OutOfMemoryError: x")
BAD = LastWords(kind="bad_input", error="InputError: x")
LOCKED = LastWords(kind="locked", error="RunIsLockedError: x")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"done": True, "exit_code": 0}, "done"),
        ({"done": True, "exit_code": 143, "told": "cancelled"}, "done"),
        ({}, "crash"),
        ({"exit_code": 137}, "crash"),
        ({"exit_code": 0}, "crash"),
        ({"exit_code": 2}, "bad_input"),
        ({"exit_code": 2, "disk_is_full": True}, "disk_full"),
        ({"exit_code": 2, "status": FULL}, "disk_full"),
        ({"status": FAILED}, "crash"),
        ({"exit_code": 2, "words": (BAD, BAD)}, "bad_input"),
        ({"exit_code": 137, "words": (PEER, NO_MEMORY)}, "out_of_memory"),
        ({"exit_code": 2, "words": (PEER, BAD)}, "crash"),
        ({"exit_code": 2, "words": (LOCKED, BAD)}, None),
        ({"exit_code": 137, "status": Status(state="running")}, "crash"),
        ({"exit_code": 1, "status": Status(state="failed", error_kind="hung")}, "hung"),
        ({"exit_code": 137, "silent_minutes": 30}, "hung"),
        ({"exit_code": 138, "told": "time_limit", "status": Status(state="interrupted")}, "time_limit"),
        ({"exit_code": 138, "status": Status(state="interrupted")}, "requeued"),
        ({"exit_code": 137, "told": "preempted", "status": FAILED}, "preempted"),
        ({"exit_code": 2, "told": "time_limit", "status": FULL}, "disk_full"),
        ({"exit_code": 1, "began": False}, "crash"),
    ],
)
def test_an_end_is_of_the_kind_that_its_evidence_says(changes: dict, kind: EndKind | None) -> None:
    found = judge(replace(NOTHING, **changes))
    assert found.kind == kind
    assert found.error or kind in ("done", "time_limit", "preempted") or "told" in changes or kind == "hung"


def test_errors_are_one_line_and_say_the_signal() -> None:
    status = FAILED.model_copy(update={"last_error": "a\n  b"})
    assert judge(replace(NOTHING, status=status)).error == "a b"
    assert "SIGKILL" in str(judge(replace(NOTHING, exit_code=137)).error)
    assert "signal 100" in str(judge(replace(NOTHING, exit_code=228)).error)


@pytest.mark.parametrize(
    ("line", "restart", "kind"),
    [
        ("0|N/A|CG|None", 0, "cancelled"),
        ("1|N/A|CG|None", 1, "cancelled"),
        ("1|N/A|CG|None", 0, "requeued"),
        ("1|N/A|CG|job requeued in held state", 0, "requeued"),
        ("2|2026-11-21T23:54:48|CG|None", 1, "preempted"),
        ("0|N/A|CG|TimeLimit", 0, "time_limit"),
        ("0|N/A|R|None", 0, None),
        ("", 0, None),
        ("slurm_load_jobs error: Invalid job id specified", 0, None),
    ],
)
def test_squeue_tells_why_a_job_is_ended(line: str, restart: int, kind: EndKind | None) -> None:
    assert why(f"{line}\n", restart) == kind
