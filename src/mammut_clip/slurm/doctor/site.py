"""What Slurm says when asked, before any job is submitted: programs, controller, partition, limits, accounting."""

import getpass
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.slurm.ask import ask
from mammut_clip.slurm.control import controller_answers
from mammut_clip.slurm.doctor.finding import Finding, note, ok, problem, warning
from mammut_clip.slurm.queue import read_queue

_NEEDED = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")


def check_programs() -> Finding:
    """Whether this machine has Slurm's commands."""
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        return problem(
            "programs", f"not on this machine's PATH: {', '.join(missing)}", "run this on a login node of the cluster"
        )
    return ok("programs", ask(["sbatch", "--version"]).text.strip())


def check_controller() -> Finding:
    """Whether it answers, and how fast."""
    began = time.perf_counter()
    queue = read_queue()
    seconds = time.perf_counter() - began
    if queue is None or not controller_answers():
        said = ask(["scontrol", "ping"]).text.strip()
        return problem("controller", f"does not answer ({said or 'no words'})", "wait, or ask the site")
    running = sum(not job.is_over for job in queue.values())
    found = f"answers in {1000 * seconds:.0f} ms; you have {running} jobs in the queue"
    if seconds > 5:
        return warning("controller", found, "it is slow; keep limits.submissions_per_minute low")
    return ok("controller", found)


@dataclass(frozen=True)
class Settings:
    """`scontrol show config`, as far as it answers."""

    values: Mapping[str, str]

    @classmethod
    def read(cls) -> "Settings":
        lines = ask(["scontrol", "show", "config"]).text.splitlines()
        pairs = (line.partition("=") for line in lines if "=" in line)
        return cls({name.strip(): value.strip() for name, _, value in pairs})

    def number(self, name: str) -> int | None:
        found = re.match(r"\d+", self.values.get(name, ""))
        return None if found is None else int(found[0])


def check_settings(cluster: ClusterConfig, settings: Settings) -> Iterator[Finding]:
    """The site's settings against what the cluster's file takes them for."""
    largest = settings.number("MaxArraySize")
    if largest is not None:
        mine, allowed = cluster.limits.array_size, largest - 1
        found = f"limits.array_size {mine}, the site allows {allowed}"
        if mine > allowed:
            yield problem("arrays", found, f"set limits.array_size: {allowed}")
        else:
            yield ok("arrays", found)
    age = settings.number("MinJobAge")
    has_accounting = ask(["sacct", "--noheader", "--allocations", "--jobs=1"]).ok
    if has_accounting:
        yield ok("accounting", "sacct answers: ends of jobs are known in detail")
    elif age is not None and 0 < age < 60:
        yield warning(
            "accounting",
            f"sacct does not answer, and the queue forgets jobs {age} s after their end",
            "keep a launcher running (sweep watch), or some ends will be classified as lost",
        )
    else:
        yield note("accounting", f"sacct does not answer; the queue shows how a job ended for {age or 'some'} s")
    wait = settings.number("KillWait")
    if wait is not None:
        yield ok("KillWait", f"{wait} s from SIGTERM to SIGKILL where a job is cancelled, preempted or requeued")


def check_limits_of_user(cluster: ClusterConfig) -> Iterator[Finding]:
    """What the accounting says this user may do; nothing where it says nothing."""
    fields = ("Account", "Partition", "QOS", "MaxSubmit")
    question = ["sacctmgr", "-nP", "show", "assoc", "where", f"user={getpass.getuser()}", f"format={','.join(fields)}"]
    answer = ask(question)
    rows = [line.split("|") for line in answer.text.splitlines() if line.count("|") == len(fields) - 1]
    if not answer.ok or not rows:
        return
    accounts = sorted({row[0] for row in rows})
    if cluster.account is not None and cluster.account not in accounts:
        yield problem("account", f"{cluster.account} is none of yours", f"set account to one of {', '.join(accounts)}")
        return
    yield ok("account", f"{cluster.account or '(your default)'}; yours are {', '.join(accounts)}")
    mine = [row for row in rows if cluster.account in (None, row[0]) and row[1] in ("", cluster.partition)]
    qos = sorted({name for row in mine for name in row[2].split(",") if name})
    if cluster.qos is not None and qos and cluster.qos not in qos:
        yield problem("qos", f"{cluster.qos} is none of yours", f"set qos to one of {', '.join(qos)}")
    submits = [int(row[3]) for row in mine if row[3].isdigit()]
    if submits and (cluster.limits.jobs is None or cluster.limits.jobs > min(submits)):
        yield warning(
            "job limit",
            f"you may have {min(submits)} jobs in the queue, limits.jobs is {cluster.limits.jobs or 'not set'}",
            f"set limits.jobs: {min(submits)}, or sbatch will refuse what is over it",
        )
