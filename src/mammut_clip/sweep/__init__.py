"""Grid -> plan -> launch -> watch: a sweep file becomes run directories, jobs and a results table, without torch.

plan = load_plan("quickstart")
result = launch(plan, Path("runs"))
"""

from mammut_clip.config.cluster import load_cluster
from mammut_clip.config.sweep import load_sweep
from mammut_clip.sweep.grid import expand
from mammut_clip.sweep.launch import LaunchResult, launch
from mammut_clip.sweep.plan import Plan, PlannedRun, load_plan, make_plan
from mammut_clip.sweep.progress import Snapshot
from mammut_clip.sweep.standing import FailedRun
from mammut_clip.sweep.status import sweep_status
from mammut_clip.sweep.status_rows import StatusRow, SweepStatus

__all__ = [
    "FailedRun",
    "LaunchResult",
    "Plan",
    "PlannedRun",
    "Snapshot",
    "StatusRow",
    "SweepStatus",
    "expand",
    "launch",
    "load_cluster",
    "load_plan",
    "load_sweep",
    "make_plan",
    "sweep_status",
]
