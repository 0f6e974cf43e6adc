"""From a cluster's profile to a running job: submission by submitit, the queue, the work inside."""

from mammut_clip.slurm.jobs import Job, submit
from mammut_clip.slurm.queue import QueuedJob, read_queue

__all__ = ["Job", "QueuedJob", "read_queue", "submit"]
