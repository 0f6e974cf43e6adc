"""What can happen to a sweep: each function launches one, disturbs it once it is under way, and sees it through.

They return what happened, in words, for the table of docs/reliability.md.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cluster import NODES, SlurmCluster
from sweep_observer import Observer, training_processes
from toy_sweep import BATCH, VICTIM, ToySweep, wait_until

from mammut_clip.runs.layout import SweepDir
from mammut_clip.slurm.record import JobRecord
from mammut_clip.sweep.journal import Journal


@dataclass
class Scene:
    """A sweep on a cluster, watched from outside."""

    slurm: SlurmCluster
    sweep: ToySweep
    observer: Observer
    disturbed_at: float = field(default_factory=time.monotonic)
    """When the fault began."""

    def launch(self) -> None:
        self.sweep.launch()

    def victim_under_way(self, beyond: int = 15 * BATCH) -> JobRecord:
        """Wait until it is well past its first checkpoints; the job that it runs in."""
        wait_until("the victim to be under way", lambda: self.observer.reached(VICTIM) >= beyond)
        return self.job_of_victim()

    def job_of_victim(self) -> JobRecord:
        wait_until("a job to have the victim", lambda: self.sweep.job_of(VICTIM) is not None)
        job = self.sweep.job_of(VICTIM)
        assert job is not None
        return job

    def wait_for_ends(self, kind: str, count: int) -> None:
        """Until so many of the victim's attempts have ended like this."""
        wait_until(f"{kind} as an end", lambda: self.ends().count(kind) == count)

    def wait_for_restart(self, number: int) -> None:
        """Until the victim's job runs for the time after so many requeues."""
        wait_until("the job to run again", lambda: self.job_of_victim().restart == number)

    def began(self) -> None:
        """The fault begins now."""
        self.disturbed_at = time.monotonic()

    def state_of(self, job: str) -> str:
        """What the queue says."""
        return self.slurm.ask("squeue", "-h", "--states=all", "-j", job, "-o", "%T").strip()

    def ends(self) -> list[str]:
        """Kinds of the victim's ends so far."""
        return [end.kind for end in self.sweep.ends(VICTIM)]


def nothing(scene: Scene) -> str:
    scene.launch()
    scene.sweep.wait()
    assert scene.ends() == ["done"]
    return "12 runs trained, evaluated and fitted from `sweep launch` alone"


def time_limit_twice(scene: Scene) -> str:
    scene.launch()
    for time_up in (1, 2):
        job = scene.job_of_victim()
        scene.began()
        # Within half a minute Slurm sees that less is left than signal_seconds.
        scene.slurm.ask("scontrol", "update", f"JobId={job.job}", "TimeLimit=2")
        scene.wait_for_ends("time_limit", time_up)
        scene.slurm.ask("scontrol", "update", f"JobId={job.job}", "TimeLimit=10")
        scene.wait_for_restart(time_up)
    scene.sweep.wait()
    assert scene.ends() == ["time_limit", "time_limit", "done"]
    assert len({end.job for end in scene.sweep.ends(VICTIM)}) == 1, "the job kept its id"
    return "checkpoint at the signal, the job queues itself again, same id"


def requeue(scene: Scene) -> str:
    scene.launch()
    job = scene.victim_under_way()
    scene.began()
    scene.slurm.ask("scontrol", "requeue", job.job)
    scene.sweep.wait()
    assert scene.ends() == ["requeued", "done"]
    return "SIGTERM, then the same job again; goes on from its newest checkpoint"


def preemption(scene: Scene) -> str:
    scene.launch()
    job = scene.victim_under_way()
    node = scene.slurm.ask("scontrol", "show", "hostnames", job.nodes).split()[0]
    scene.began()
    job_in_high = ["--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 10"]
    scene.slurm.ask("sbatch", *job_in_high)
    scene.sweep.wait()
    assert scene.ends() in (["preempted", "done"], ["requeued", "done"]), "without sacct the two look the same"
    return "SIGTERM by a job of a higher partition; queued again, goes on when the nodes are free"


def power_cut_of_the_other_node(scene: Scene) -> str:
    return _power_cut(scene, -1, "the node without the supervisor")


def power_cut_of_the_first_node(scene: Scene) -> str:
    return _power_cut(scene, 0, "the node of the supervisor")


def _power_cut(scene: Scene, which: int, what: str) -> str:
    scene.launch()
    job = scene.victim_under_way()
    node = scene.slurm.ask("scontrol", "show", "hostnames", job.nodes).split()[which]
    scene.began()
    scene.slurm.power_cut(node)
    try:
        scene.sweep.wait()
    finally:
        scene.slurm.power_on(node)
        wait_until("the node to come back", lambda: node in scene.slurm.idle_nodes())
    assert scene.ends()[-1] == "done" and set(scene.ends()[:-1]) & {"node_failure", "requeued", "crash"}, scene.ends()
    return f"{what} is gone; Slurm notices after 20 to 30 s and queues the job again, on other nodes"


def controller_killed(scene: Scene) -> str:
    scene.launch()
    scene.victim_under_way()
    time.sleep(10)  # until what the controller knows is on disk
    scene.began()
    scene.slurm.kill_controller()
    try:
        time.sleep(30)
    finally:
        scene.slurm.start_controller()
    scene.sweep.wait()
    assert scene.ends() == ["done"]
    return "jobs go on; nothing is submitted twice; those that ended meanwhile are found when it is back"


def cancelled(scene: Scene) -> str:
    sweep = scene.sweep
    scene.launch()
    job = scene.victim_under_way()
    tasks = Journal.open(SweepDir(sweep.path)).jobs[job.job].task_ids
    taken = [name for name in sweep.run_names if name in tasks]
    scene.began()
    scene.slurm.ask("scancel", job.job)
    sweep.wait([name for name in sweep.run_names if name not in taken])
    assert scene.ends() == ["cancelled"]
    stopped_at = sweep.samples(VICTIM)
    scene.launch()
    time.sleep(10)
    assert scene.ends() == ["cancelled"] and sweep.samples(VICTIM) == stopped_at, "a cancelled run stays so"
    assert sweep.command("retry", *taken).returncode == 0
    sweep.wait()
    return "stays cancelled, also for the next `sweep launch`, until `sweep retry`; the others finish"


def crash_on_every_start(scene: Scene) -> str:
    sweep = scene.sweep
    scene.began()
    with _killing(sweep.path, VICTIM):
        scene.launch()
        sweep.wait([name for name in sweep.run_names if name != VICTIM])
        wait_until("the victim to be given up", lambda: sweep.state_of(VICTIM) == "given_up", every=1)
    assert scene.ends() == ["crash"] * 3
    assert sweep.command("retry", VICTIM).returncode == 0
    sweep.wait()
    assert scene.ends() == ["crash"] * 3 + ["retry", "done"]
    return "given up after 3 starts and reported; the others finish; `sweep retry` finishes it"


def unwritable_logs_of_a_run(scene: Scene) -> str:
    sweep = scene.sweep
    logs = sweep.run(VICTIM).logs
    logs.mkdir(parents=True)
    scene.began()
    with mounted(logs, "--bind", str(logs)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(logs)], check=True)
        scene.launch()
        sweep.wait([name for name in sweep.run_names if name != VICTIM])
        wait_until("the victim to be given up", lambda: sweep.state_of(VICTIM) == "given_up", every=1)
        kinds = scene.ends()
    assert 1 <= len(kinds) <= 3, kinds
    assert sweep.command("retry", VICTIM).returncode == 0
    sweep.wait()
    return f"ends as {', '.join(sorted(set(kinds)))}, and is given up after {len(kinds)}; the others finish"


def unwritable_logs_of_the_jobs(scene: Scene) -> str:
    """Slurm ends such jobs with 0:53 before anything of ours runs."""
    sweep, slurm = scene.sweep, scene.slurm
    everything = ["--partition=high", f"--nodes={len(NODES)}", "--exclusive", "--output=/dev/null"]
    blocker = slurm.ask("sbatch", "--parsable", *everything, "--wrap=sleep 600").strip()
    wait_until("all nodes to be taken", lambda: scene.state_of(blocker) == "RUNNING")
    scene.launch()
    folder = next((sweep.path / "launch" / "jobs").iterdir())
    scene.began()
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        slurm.ask("scancel", blocker)
        wait_until("the jobs to fail", lambda: not slurm.ask("squeue", "-h").strip())
    scene.launch()
    sweep.wait()
    assert scene.ends() == ["never_began", "done"]
    return "Slurm fails the jobs without a word (0:53); the next `sweep launch` notes it and submits them again"


def full_disk(scene: Scene) -> str:
    sweep = scene.sweep
    folder = sweep.run(VICTIM).checkpoints_folder
    folder.mkdir(parents=True)
    scene.began()
    with mounted(folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        scene.launch()
        wait_until("the disk to be full", lambda: "disk_full" in scene.ends())
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        sweep.wait()
        kept = subprocess.run(["cp", "-a", str(folder), f"{folder}.kept"])
    assert kept.returncode == 0
    folder.rmdir()
    Path(f"{folder}.kept").rename(folder)
    kinds = scene.ends()
    assert kinds[-1] == "done" and set(kinds[:-1]) == {"disk_full"}, kinds
    return "the run ends, its last checkpoint whole; it is tried again with back-off, and goes on when there is room"


def second_launcher(scene: Scene) -> str:
    sweep = scene.sweep
    others = [threading.Thread(target=sweep.launch) for _ in range(2)]
    scene.began()
    for thread in others:
        thread.start()
    scene.launch()
    for thread in others:
        thread.join()
    scene.victim_under_way()
    scene.launch()
    sweep.wait()
    begun = [task.task for record in sweep.records() for task in record.tasks]
    assert sorted(begun) == sorted(set(begun)), "each training and evaluation began once"
    assert scene.ends() == ["done"]
    return "three at once and a fourth later: each job is submitted once"


FAULTS: dict[str, Callable[[Scene], str]] = {
    "none": nothing,
    "time limit, twice": time_limit_twice,
    "scontrol requeue": requeue,
    "preemption": preemption,
    "power cut, first node of the job": power_cut_of_the_first_node,
    "power cut, another node": power_cut_of_the_other_node,
    "slurmctld killed for 30 s": controller_killed,
    "scancel by the user": cancelled,
    "crash on every start": crash_on_every_start,
    "log folder of a run unwritable": unwritable_logs_of_a_run,
    "log folder of the jobs unwritable": unwritable_logs_of_the_jobs,
    "full disk": full_disk,
    "further launchers": second_launcher,
}


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    """Something mounted on a folder (root)."""
    subprocess.run(["mount", *arguments, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _killing(sweep: Path, run: str) -> Iterator[None]:
    """Kill each process that trains the run as soon as it is seen."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.1):
            for pid, name in training_processes(sweep):
                if name == run:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
