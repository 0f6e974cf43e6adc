"""The HTML page of a sweep, gathered from its run directories: losses, results, laws, and what its models write."""

from pathlib import Path

import numpy as np
import pandas as pd

from mammut_clip.fit.run import FitReport
from mammut_clip.report import LossCurve, Picture, ReportData, write_report
from mammut_clip.runs.layout import RunDir, SweepDir

EXAMPLES = 12


def write_sweep_report(
    sweep: SweepDir, results: pd.DataFrame, fits: tuple[FitReport, ...], pictures_from: Path | None = None
) -> Path:
    """Write report.html into the sweep's folder and return its path.

    `pictures_from`: a retrieval set in CLIP_benchmark's layout; its first pictures are shown with their captions
    and with those that the largest finished run of a model that writes captions gives them.
    """
    runs = list(sweep.runs())
    curves = tuple(curve for run in runs if (curve := _curve(run)) is not None)
    pictures = _pictures(runs, pictures_from) if pictures_from is not None else ()
    path = sweep.path / "report.html"
    write_report(path, ReportData(sweep.name, results, fits, curves, pictures))
    return path


def _curve(run: RunDir) -> LossCurve | None:
    rows = [row for row in run.metrics if row.get("loss") is not None]
    if not rows:
        return None
    samples = np.array([row["samples_seen"] for row in rows], dtype=np.float64)
    loss = np.array([row["loss"] for row in rows], dtype=np.float64)
    model = run.config.model
    return LossCurve(run.name, model.architecture.family, model.name, samples, loss)


def _pictures(runs: list[RunDir], folder: Path) -> tuple[Picture, ...]:
    from mammut_clip.captions import open_writer  # torch, only where there is something to show
    from mammut_clip.data.evalsets import TarEvalSet

    dataset = TarEvalSet.open(folder)
    samples = [dataset[index] for index in range(min(EXAMPLES, len(dataset)))]
    shown = [f"caption: {sample.target[0]}" for sample in samples if isinstance(sample.target, list)]
    writers = [run for run in runs if run.config.model.architecture.writes_captions and run.checkpoints]
    if writers:
        best = max(writers, key=_compute)
        named = [(f"{folder}, picture {number}", sample.image) for number, sample in enumerate(samples)]
        written = open_writer(best.path).write(named, len(named))
        shown = [f"{true}\n{best.name}: {text}" for true, text in zip(shown, written, strict=True)]
    return tuple(Picture(sample.image, text) for sample, text in zip(samples, shown, strict=True))


def _compute(run: RunDir) -> float:
    manifest = run.manifest
    return run.status.samples_seen * (manifest.gflops_per_sample_paper if manifest else 0.0)
