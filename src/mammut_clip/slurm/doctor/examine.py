"""The whole examination, finding by finding, as each is made."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import InputError
from mammut_clip.slurm.doctor.finding import Finding, note, ok, problem
from mammut_clip.slurm.doctor.job import ProbeJob, Say
from mammut_clip.slurm.doctor.judge import judge_failure, judge_ranks, judge_signals
from mammut_clip.slurm.doctor.partition import check_acceptance, check_nodes, check_partition, read_nodes
from mammut_clip.slurm.doctor.site import (
    Settings,
    check_controller,
    check_limits_of_user,
    check_programs,
    check_settings,
)
from mammut_clip.slurm.errors import SlurmAwayError
from mammut_clip.slurm.queue import QueuedJob
from mammut_clip.slurm.waits import why_it_cannot_start

_MEASURING_SECONDS = 240.0
"""Python and PyTorch may take a minute to load from a busy file system on many nodes."""
_SIGNAL_SECONDS = 30.0
_REQUEUE_SECONDS = 60.0


def examine(cluster: ClusterConfig, runs: Path, *, probe: bool, say: Say) -> Iterator[Finding]:
    """Ask Slurm about a cluster, then, if `probe`, run a job on two of its nodes whose files stand in `runs`.

    A problem that makes what follows useless ends it. `say` is told what is waited for. Whatever ends this, the probe's
    job is cancelled. Raises InputError where the cluster is not of kind slurm.
    """
    if cluster.kind != "slurm":
        raise InputError(f"a cluster of kind {cluster.kind} has no queue to look at: expected one of kind slurm")
    for check in (check_programs, check_controller):
        finding = check()
        yield finding
        if finding.verdict == "problem":
            return
    yield from check_settings(cluster, Settings.read())
    yield from check_limits_of_user(cluster)
    nodes = read_nodes(cluster.partition)
    finding = check_partition(cluster, nodes)
    yield finding
    if finding.verdict == "problem":
        return
    yield from check_nodes(cluster, nodes)
    count = min(2, sum(node.usable for node in nodes))
    finding = check_acceptance(cluster, runs, count)
    yield finding
    if probe and finding.verdict != "problem":
        yield from _examine_by_job(ProbeJob(cluster, runs, count), say)


def _examine_by_job(job: ProbeJob, say: Say) -> Iterator[Finding]:
    """Submit the probe and judge what it sees. Its files are kept where there was a problem."""
    problems = 0
    try:
        for finding in _job_findings(job, say):
            problems += finding.verdict == "problem"
            yield finding
        if problems:
            yield note("files", f"the probe's reports and logs are kept in {job.folder}")
    except SlurmAwayError as error:
        problems += 1
        yield problem("controller", str(error), f"look whether the job {job.id or '(id unknown)'} is still there")
    finally:
        _clean_up(job, keep_files=bool(problems))


def _clean_up(job: ProbeJob, *, keep_files: bool) -> None:
    try:
        job.end()
    except SlurmAwayError:
        return  # it ends by itself, 10 minutes after it began at the latest, and still needs its files
    if not keep_files:
        shutil.rmtree(job.folder, ignore_errors=True)


def _job_findings(job: ProbeJob, say: Say) -> Iterator[Finding]:
    try:
        job.submit()
    except SlurmAwayError:
        raise
    except InputError as error:
        yield problem("probe", str(error), "look at the keys of the cluster's file that it names")
        return
    began = time.monotonic()
    stuck = job.wait_to_begin(say)
    if stuck is not None:
        yield _never_began(stuck, job)
        say(job.log_tail())
        return
    batch = job.batch(0)
    assert batch is not None
    yield ok("probe", f"job {job.id} began after {time.monotonic() - began:.1f} s on {batch.nodes}")
    reports = job.wait_for_ranks(_MEASURING_SECONDS)
    if len(reports) < job.ranks or any(report.error or report.stage != "ready" for report in reports):
        yield judge_failure(reports, job.ranks)
        say(job.log_tail())
        return
    yield from judge_ranks(job.cluster, reports, job.ranks)
    sent = job.send_signal()
    _wait(lambda: all(report.signals for report in job.reports()), _SIGNAL_SECONDS)
    signals = judge_signals(job.reports(), job.ranks, sent)
    yield signals
    if signals.verdict != "problem":
        yield _requeued(job)


def _never_began(stuck: QueuedJob, job: ProbeJob) -> Finding:
    why = why_it_cannot_start(stuck)
    if why is not None:
        return problem("probe", f"job {job.id} will not start: {why}", "it is cancelled; mend that first")
    return problem(
        "probe",
        f"job {job.id} ended before its program began ({stuck.state}, exit code {stuck.exit_code})",
        f"look at setup and modules of the cluster's file; do all nodes see {job.folder.parent} and this Python?",
    )


def _requeued(job: ProbeJob) -> Finding:
    queued, again = job.wait_for_requeue(_REQUEUE_SECONDS)
    first = job.batch(0)
    if again is not None and again.job == job.id:
        return ok("requeue", f"job {job.id} queued itself again and began once more on {again.nodes} (restart 1)")
    if queued is not None and queued.restarts:
        return ok("requeue", f"job {job.id} queued itself again ({queued.reason}); its turn was not waited for")
    said = first.requeue if first is not None and first.requeue else "it is not in the queue again"
    return problem(
        "requeue",
        f"job {job.id} could not queue itself again: {said}",
        "runs longer than the time limit would not go on by themselves; ask the site why `scontrol requeue` fails",
    )


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
