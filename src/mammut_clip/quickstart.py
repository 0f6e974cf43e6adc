"""`mammut-clip quickstart`: all five verbs in miniature on a CPU, each by the code that does it on a cluster.

Toy data -> a sweep of two families over model scales and budgets, each run evaluated zero-shot -> laws fitted
without the largest runs -> their prediction against what those runs measured -> one HTML page. Stopped at any
moment, the same command continues and repeats no finished run.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammut_clip.config.cluster import available_cores, load_cluster
from mammut_clip.config.errors import PartialFailureError
from mammut_clip.config.files import find_file
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.load import load_config
from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.sweep import load_sweep
from mammut_clip.fit.run import FitReport, run_spec
from mammut_clip.runs import table
from mammut_clip.runs.layout import SweepDir
from mammut_clip.sweep.launch import launch
from mammut_clip.sweep.plan import Plan, make_plan
from mammut_clip.sweep.show import launch_progress
from mammut_clip.sweep.standing import look
from mammut_clip.sweep.stored import Launched, stored_file
from mammut_clip.sweep.verbs import retry
from mammut_clip.tables import print_rows, progress_bar

TRAINING_SAMPLES = 64_000
SPECS = ("toy", "toy-retrieval")
STEPS = 5


@dataclass(frozen=True)
class Outcome:
    """What the quickstart found."""

    fits: tuple[FitReport, ...]
    report: Path
    seconds: float

    def to_json_dict(self) -> dict[str, Any]:
        """What `quickstart --json` prints."""
        return {
            "report": str(self.report),
            "seconds": round(self.seconds, 1),
            "fits": [f.to_json_dict() for f in self.fits],
        }


def run_quickstart(runs: Path, data: Path, sweep: str) -> Outcome:
    """Do it all, or what is left of it. Raises KeyboardInterrupt if stopped, PartialFailureError if runs failed."""
    started = time.monotonic()
    _step(1, f"toy world: {TRAINING_SAMPLES:,} pictures with captions, and three evaluation sets, in {data}")
    _write_data(data)
    plan = _plan(sweep, data)
    totals = plan.totals
    _step(2, f"training and zero-shot evaluation: {totals.runs} runs in {runs / plan.sweep}")
    _launch(plan, runs)
    folder = SweepDir(runs / plan.sweep)
    _step(3, "results table: " + str(folder.results_file))
    results = table.read(folder.results_file)  # written by the launch
    _step(4, "scaling laws, fitted without the runs of largest compute")
    specs = {name: load_config(LawSpec, find_file("fit", name)) for name in SPECS}
    fits = tuple(run_spec(spec, results, folder.path / "fit" / name) for name, spec in specs.items())
    _step(5, "report")
    from mammut_clip.sweep_report import write_sweep_report

    report = write_sweep_report(folder, results, fits, data / "evals" / "wds_toy_retrieval")
    return Outcome(fits, report, time.monotonic() - started)


def show(outcome: Outcome) -> None:
    """The closing tables, the comparisons in words, and where the report is."""
    for fit in outcome.fits:
        print_rows(
            [
                {
                    "family": record.group,
                    "held-out run": f"{record.model}, {format_quantity(record.samples_seen or 0)} samples",
                    "GFLOPs": record.x,
                    "error predicted": record.predicted,
                    f"{fit.spec.level:.0%} interval": f"{record.lower:.3f} to {record.upper:.3f}",
                    "measured": record.measured,
                    "within": "yes" if record.covered else "no",
                }
                for record in fit.held_out
            ],
            title=fit.spec.title,
        )
        for sentence in fit.sentences():
            print(sentence)
        print()
    print(f"Report: {outcome.report.resolve()}   ({outcome.seconds / 60:.1f} minutes)")


def _write_data(data: Path) -> None:
    from mammut_clip.toy import make_toy_data

    with progress_bar("writing pictures") as advance:
        make_toy_data(data, TRAINING_SAMPLES, processes=available_cores(), progress=advance)


def _plan(sweep: str, data: Path) -> Plan:

    config = load_sweep(sweep)
    places = {"data.train": [str(data / "train")], "evaluation.data_root": str(data / "evals")}
    config = config.model_copy(update={"overrides": config.overrides | places})
    return make_plan(config, load_cluster(config.cluster, source=sweep), str(find_file("sweeps", sweep)))


def _launch(plan: Plan, runs: Path) -> None:
    _try_again(SweepDir(runs / plan.sweep))
    with launch_progress(plan) as progress:
        result = launch(plan, runs, progress=progress)
    if result.interrupted:
        raise KeyboardInterrupt
    if result.failed:
        raise PartialFailureError(f"{result}\nThe same command tries the failed runs again.")


def _try_again(sweep: SweepDir) -> None:
    """Let runs that an earlier quickstart gave up have another try."""
    if stored_file(sweep).is_file():
        launched = Launched.at(sweep.path)
        failed = [run.id for run in look(launched, frozenset()).failed]
        if failed:
            retry(launched, failed)


def _step(number: int, what: str) -> None:
    print(f"[{number}/{STEPS}] {what}", file=sys.stderr, flush=True)
