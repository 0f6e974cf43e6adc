"""Wall and CPU time of looking at a sweep of thousands of runs, and of making its results table."""

import sys
import tempfile
from pathlib import Path

from benchmarks.many_runs import make_runs
from benchmarks.processes import Cost, run_child
from benchmarks.result import Measurement, Row, Settings
from mammut_clip.runs.layout import SweepDir

QUESTION = "How long do `sweep status` and `sweep collect` take for 5,000 runs, from a cold process?"
RUNS = 5000
CEILING = 2.0
_CHANGED = 50
"""Results written between two collections."""


def measure(settings: Settings) -> Measurement:
    """Rows in seconds; a first call that fills the file cache is not counted. The sweep is made by many_runs."""
    with tempfile.TemporaryDirectory() as scratch:
        sweep = make_runs(Path(scratch) / "big", RUNS)
        log = Path(scratch) / "log"

        def cost(*arguments: str | Path) -> Cost:
            _renew_leases(sweep)
            return run_child([sys.executable, "-m", "mammut_clip.cli", "sweep", *arguments], log)

        looks: dict[str, list[str | Path]] = {
            "sweep status": ["status", sweep.path],
            "sweep status --json": ["status", sweep.path, "--json"],
        }
        rows = []
        for label, arguments in looks.items():
            costs = [cost(*arguments) for _ in range(settings.repeats + 1)][1:]
            rows.append(Row(f"{label}, wall", "s", "lower", [one.seconds for one in costs], target=CEILING))
            rows.append(Row(f"{label}, CPU", "s", "lower", [one.cpu_seconds for one in costs]))
        first = cost("collect", sweep.path)
        rows.append(Row("sweep collect, the first, CPU", "s", "lower", [first.cpu_seconds]))
        later = []
        for _ in range(settings.repeats):
            _change(sweep)
            later.append(cost("collect", sweep.path).cpu_seconds)
        rows.append(Row(f"sweep collect after {_CHANGED} runs have changed, CPU", "s", "lower", later))
    notes = [f"{RUNS} run directories: 80% finished with 3 results each, 3% running. Local disk, warm file cache."]
    return Measurement(rows, [*notes, "There is no peer. CPU time is what other work on the machine disturbs least."])


def _renew_leases(sweep: SweepDir) -> None:
    """Signs of life of those that run."""
    for lease in sweep.path.glob("*/lock.1"):
        lease.touch()


def _change(sweep: SweepDir) -> None:
    for result in sorted(sweep.path.glob("*/evals/*/flickr30k.json"))[:_CHANGED]:
        result.write_text(result.read_text() + " ")
