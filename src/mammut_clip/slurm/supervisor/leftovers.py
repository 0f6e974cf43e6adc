"""Tasks that an earlier restart of this job began, and could not note the end of: it was killed, or its node died."""

from collections.abc import Sequence

from mammut_clip.runs.ends import EndKind
from mammut_clip.slurm.supervisor.attempt import made_end
from mammut_clip.slurm.supervisor.notes import Notes
from mammut_clip.slurm.supervisor.say import say
from mammut_clip.slurm.supervisor.this_job import ThisJob
from mammut_clip.slurm.task import Task


def note_leftovers(tasks: Sequence[Task], job: ThisJob, notes: Notes) -> None:
    """Note their ends. To be called before the record speaks of this restart."""
    by_id = {task.id: task for task in tasks}
    left = [noted for noted in notes.record.tasks if not noted.ended and noted.task in by_id]
    if not left:
        return
    kind, nodes = _what_happened(job, notes)
    for noted in left:
        task = by_id[noted.task]
        done = task.kind == "train" and task.run_dir.status.state == "finished"
        say(f"{task.id}: begun before the job was queued again, ended by {'done' if done else kind}")
        end = made_end(task, noted, job, "done" if done else kind, nodes=None if done else nodes)
        notes.end(noted, task.run_dir.ends_file, end)


def _what_happened(job: ThisJob, notes: Notes) -> tuple[EndKind, str | None]:
    """Why the job was queued again, and the nodes to blame, if any are."""
    before = notes.record
    if before.told_to_stop is not None and before.told_to_stop != "SIGTERM":
        return "time_limit", None
    down = ThisJob(job.id, job.index, job.restart, before.nodes, before.host).down_nodes()
    if down:
        return "node_failure", down
    if before.told_to_stop is None:
        # Slurm tells every job that it queues again, but for those whose first node is gone.
        return "node_failure", before.host or None
    return "requeued", None
