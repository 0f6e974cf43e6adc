"""`mammut-clip eval`: a suite over runs and sweeps, in this process or under torchrun."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mammut_clip.config.errors import InputError
from mammut_clip.distributed import start_process, stop_process
from mammut_clip.evals.run import evaluate_run
from mammut_clip.evals.suite import load_suite, open_suite
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.runs.records import EvalRecord


def evaluate_targets(
    targets: Sequence[Path],
    suite: str,
    data_root: Path | None = None,
    only: Sequence[str] = (),
    *,
    all_checkpoints: bool = False,
    device: str | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> list[EvalRecord]:
    """The results of every target. Raises InputError before any model is built where something is not there."""
    tasks = open_suite(load_suite(suite), data_root, only)
    runs = [run for target in targets for run in _runs(target)]
    process = start_process(device)
    try:
        return [
            record
            for run in runs
            for record in evaluate_run(run, tasks, process, all_checkpoints=all_checkpoints, report=report)
        ]
    finally:
        stop_process()


def _runs(target: Path) -> list[RunDir]:
    """The run directory `target`, or those in the sweep's folder `target`."""
    found = [RunDir(target)] if (target / "config.yaml").is_file() else list(SweepDir(target).runs())
    if not found:
        raise InputError(
            f"{target}: neither a run directory nor a folder of them (no config.yaml here or one level below)"
        )
    without = [run for run in found if not run.checkpoints]
    if without and len(found) == 1:
        raise InputError(f"{target}: this run has no complete checkpoint yet")
    return [run for run in found if run.checkpoints]
