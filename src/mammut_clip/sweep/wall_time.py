"""How long a sweep is predicted to take from its first start to its last end.

On this machine: runs in their order, as many at a time as there are slots. On Slurm: each run starts at once, or, where
the site limits how many jobs run (`limits.running`, `limits.jobs`), as many as that at a time, one run in each. Waiting
in the queue is not known, nor are several runs in one job.
"""

import heapq
from collections.abc import Sequence

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.cost.price import Price


def wall_seconds(runs: Sequence[Price], cluster: ClusterConfig) -> float:
    """Predicted seconds; 0 without runs."""
    places = _places(runs, cluster)
    ends = [0.0] * max(1, min(places, len(runs)))
    for run in runs:
        heapq.heapreplace(ends, ends[0] + run.seconds)
    return max(ends)


def _places(runs: Sequence[Price], cluster: ClusterConfig) -> int:
    """Runs at a time."""
    if cluster.kind == "local":
        widest = max((run.gpus for run in runs), default=1)
        return max(1, cluster.slots // max(1, widest))
    allowed = [limit for limit in (cluster.limits.running, cluster.limits.jobs) if limit is not None]
    return min(allowed, default=len(runs))
