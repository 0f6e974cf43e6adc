"""Tasks -> jobs -> arrays."""

import pytest

from mammut_clip.slurm.task import JobRequest, Shape, Task
from mammut_clip.sweep.packing import arrays, pack

NODE = Shape(nodes=1, tasks_per_node=4, ranks_per_task=1)


def task(name: str, seconds: float, processes: int = 1) -> Task:
    return Task(name, "train", f"/r/{name}", (), processes, seconds)


def ids(jobs: list[JobRequest]) -> list[list[str]]:
    return [[one.id for one in job.tasks] for job in jobs]


def test_long_tasks_share_the_nodes_of_a_job_and_have_their_places_for_themselves() -> None:
    jobs = pack([task(f"r{n}", 5000) for n in range(6)], NODE, seconds=1800)
    assert ids(jobs) == [["r0", "r1", "r2", "r3"], ["r4", "r5"]]


def test_short_tasks_follow_each_other_until_the_time_is_used() -> None:
    jobs = pack([task(f"r{n:02}", 600) for n in range(30)], NODE, seconds=1800)
    assert [len(job.tasks) for job in jobs] == [12, 12, 6]
    jobs = pack([task("long", 1700), *(task(f"r{n}", 400) for n in range(13))], NODE, seconds=1800)
    assert [len(job.tasks) for job in jobs] == [1 + 3 * 4, 1]
    assert jobs[0].tasks[0].id == "long"


def test_a_task_without_a_prediction_does_not_fill_a_job_with_all_others() -> None:
    jobs = pack([task(f"r{n}", 0) for n in range(8)], NODE, seconds=0)
    assert [len(job.tasks) for job in jobs] == [4, 4]


@pytest.mark.parametrize(("per_job", "sizes"), [(1, [1] * 5), (3, [3, 2]), (9, [5])])
def test_the_sweep_may_say_how_many(per_job: int, sizes: list[int]) -> None:
    jobs = pack([task(f"r{n}", 10) for n in range(5)], NODE, seconds=1800, per_job=per_job)
    assert [len(job.tasks) for job in jobs] == sizes


def test_no_task_is_lost_or_doubled_whatever_their_lengths() -> None:
    tasks = [task(f"r{n}", (n * 7919) % 4000) for n in range(1000)]
    for seconds in (0, 100, 1800, 1e9):
        packed = [one for job in pack(tasks, NODE, seconds=seconds) for one in job.tasks]
        assert sorted(packed, key=lambda one: one.id) == sorted(tasks, key=lambda one: one.id)


def test_arrays_hold_jobs_of_one_shape_and_keep_to_the_limits() -> None:
    two = Shape(nodes=2, tasks_per_node=4, ranks_per_task=8)
    jobs = [*pack([task(f"s{n}", 100) for n in range(5)], NODE, seconds=0, per_job=1)]
    jobs += pack([task(f"b{n}", 900, 8) for n in range(2)], two, seconds=0)
    groups = arrays(jobs, size=3, at_most=None)
    assert [[one.tasks[0].id for one in group] for group in groups] == [["b0", "b1"], ["s0", "s1", "s2"], ["s3", "s4"]]
    assert all(len({one.shape for one in group}) == 1 for group in groups)
    assert [len(group) for group in arrays(jobs, size=3, at_most=3)] == [2, 1]
    assert arrays(jobs, size=3, at_most=0) == []
