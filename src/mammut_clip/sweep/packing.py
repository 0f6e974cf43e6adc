"""Tasks -> jobs: tasks of one size share the nodes of a job, side by side and one after the other."""

import heapq
from collections.abc import Iterable, Sequence

from mammut_clip.slurm.task import JobRequest, Shape, Task


def pack(tasks: Iterable[Task], shape: Shape, *, seconds: float, per_job: int | None = None) -> list[JobRequest]:
    """Jobs of one shape that hold all the tasks, the longest first.

    A job has room for `shape.at_once` tasks at a time. To each place go further tasks as long as all of its own are
    predicted to end within `seconds`; a task that is longer has its place for itself. `per_job` tasks go into each job
    instead where it is given.
    """
    ordered = sorted(tasks, key=lambda task: (-task.seconds, task.id))
    if per_job is not None:
        groups: list[Sequence[Task]] = [ordered[at : at + per_job] for at in range(0, len(ordered), per_job)]
    else:
        groups = _fill(ordered, shape.at_once, seconds)
    return [JobRequest(shape, tuple(group)) for group in groups]


def _fill(tasks: list[Task], at_once: int, seconds: float) -> list[Sequence[Task]]:
    """Each task goes to the place with the least to do; where it does not fit there, it fits nowhere."""
    jobs: list[list[Task]] = []
    places: list[tuple[float, int]] = []
    """(predicted seconds, job) of each place; a heap."""
    for task in tasks:
        if not places or (places[0][0] > 0 and places[0][0] + task.seconds > seconds):
            for _ in range(at_once):
                heapq.heappush(places, (0.0, len(jobs)))
            jobs.append([])
        load, job = heapq.heappop(places)
        # Never 0 again: a task without a prediction takes its place like any other.
        heapq.heappush(places, (load + max(task.seconds, 1e-6), job))
        jobs[job].append(task)
    return list(jobs)


def arrays(jobs: Sequence[JobRequest], *, size: int, at_most: int | None) -> list[list[JobRequest]]:
    """What goes into one sbatch each: at most `size` jobs of one shape, at most `at_most` jobs in all, those with the
    longest tasks first."""
    ordered = sorted(jobs, key=lambda job: -max(task.seconds for task in job.tasks))[:at_most]
    by_shape: dict[Shape, list[JobRequest]] = {}
    for job in ordered:
        by_shape.setdefault(job.shape, []).append(job)
    return [group[at : at + size] for group in by_shape.values() for at in range(0, len(group), size)]
