"""Cases of held-out extrapolation on the paper's measurements: one group of runs, cut at one compute.

A law is fitted to what lies at or below the cut and is asked for points above it. A law of the frontier speaks of
frontier runs, so these are asked: those of the whole group that no run with less compute beats, and, apart, those on
the frontier as published.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.machine import ROOT
from mammut_clip.fit import frontier

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PAPER = ROOT.parent / "shared" / "data" / "paper"
CUTS = (1e10, 3e10, 1e11, 2.5e11)
"""GFLOPs, paper convention."""
_LEAST_POINTS = 5
"""Points the published four-parameter form needs for its interval."""


@dataclass(frozen=True, eq=False)
class Case:
    """One group cut at one compute."""

    task: str
    """ImageNet or ADE20K."""
    group: str
    """Such as `clip, datacomp_1b, cosine`."""
    cut: float
    rows: pd.DataFrame
    """Every row of the group: family, model, samples_seen, gflops_paper and value, which is the error."""

    @property
    def name(self) -> str:
        """One line that tells it from the others."""
        return f"{self.task}, {self.group}, up to {self.cut:.3g}"

    @property
    def x(self) -> Array:
        """[rows] GFLOPs."""
        return self.rows["gflops_paper"].to_numpy(dtype=np.float64)

    @property
    def y(self) -> Array:
        """[rows] errors."""
        return self.rows["value"].to_numpy(dtype=np.float64)

    @property
    def seen(self) -> pd.DataFrame:
        """The rows that a fit may look at."""
        return self.rows[self.x <= self.cut]

    @cached_property
    def asked(self) -> Mask:
        """[rows]: non-dominated rows above the cut."""
        return frontier(self.rows, "gflops_paper", "value", "non_dominated") & (self.x > self.cut)

    @cached_property
    def published(self) -> Mask:
        """[rows]: the published frontier of the whole group, as the published scripts find it before they cut it."""
        return frontier(self.rows, "gflops_paper", "value", "paper")

    @property
    def asked_as_published(self) -> Mask:
        """[rows]: the published frontier above the cut."""
        return self.published & (self.x > self.cut)


def held_out_cases(folder: Path = PAPER) -> list[Case]:
    """Every group and cut with something above the cut and enough below it."""
    cases = [Case(task, group, cut, rows) for task, group, rows in _groups(folder) for cut in CUTS]
    return [c for c in cases if (c.x > c.cut).any() and (c.published & (c.x <= c.cut)).sum() >= _LEAST_POINTS]


def _groups(folder: Path) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Task, name and rows of each group: the best run of each cell on ImageNet, every run on ADE20K."""
    best = pd.read_csv(folder / "imagenet1k_best.csv").assign(error=lambda t: 1.0 - t["value"])
    runs = pd.read_parquet(folder / "runs_datacomp_cosine.parquet").assign(error=lambda t: 1.0 - t["ade20k_miou"])
    for task, table in (("ImageNet", best), ("ADE20K", runs)):
        for keys, rows in table.groupby(["family", "pretrain_dataset", "lr_scheduler"]):
            kept = rows[["family", "model", "samples_seen"]].assign(
                gflops_paper=rows["gflops_total"], value=rows["error"]
            )
            yield task, ", ".join(map(str, keys)), kept.reset_index(drop=True)
