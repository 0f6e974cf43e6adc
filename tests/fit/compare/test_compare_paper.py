"""Comparisons on the paper's own measurements: what they support, and what their laws only seem to say."""

from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config.fit import LawSpec
from mammut_clip.fit import FitReport, run_spec

RUNS = "data/paper/runs_datacomp_cosine.parquet"
SPEC: dict[str, Any] = {
    "unit": "accuracy",
    "groups": ["clip", "mammut"],
    "form": "saturation",
    "frontier": {"method": "non_dominated"},
}


def report_on(table: Path, column: str, **changes: Any) -> FitReport:
    columns = {"gflops_paper": "gflops_total", "value": column}
    return run_spec(LawSpec.model_validate(SPEC | {"columns": columns} | changes), table)


@pytest.mark.parametrize(("form", "method"), [("saturation", "residual"), ("average", "cells")])
def test_mammut_overtakes_clip_on_imagenet_between_3e10_and_2e11(shared_dir: Path, form: str, method: str) -> None:
    report = report_on(
        shared_dir / RUNS, "imagenet1k_acc1", form=form, residuals="log", bootstrap={"method": method, "count": 500}
    )
    (pair,) = report.comparisons
    crossing = next(c for c in pair.inside if c.ahead_after == "mammut")
    assert 6e10 < crossing.x < 9e10
    assert 2.5e10 < crossing.lower < 5e10 and 1.2e11 < crossing.upper < 2.5e11
    assert pair.crossings.none_within < 0.05
    assert [s.ahead for s in pair.stretches if s.ahead] == ["clip", "mammut"]
    # What the lead is worth at the largest common compute, 5e11.
    (worth,) = pair.multipliers
    assert 1.2 < worth.ratio < 1.7 and worth.lower > 1.0
    assert f"their laws cross at {crossing.x:.2g} (95% interval" in report.sentences()[0]


def test_laws_of_ade20k_cross_back_beyond_the_data(shared_dir: Path) -> None:
    """The paper's frontier and form, nothing held out: MaMMUT's higher floor brings its law back above CLIP's near
    4e12, eight times beyond the largest compute with a measurement of both."""
    report = report_on(shared_dir / RUNS, "ade20k_miou", frontier={"method": "paper"}, comparison={"at": [1e10, 1e13]})
    (pair,) = report.comparisons
    overtakes = next(c for c in pair.inside if c.ahead_after == "mammut")
    assert 5e8 < overtakes.x < 2e9
    back = pair.crossings.found[-1]
    assert back.place == "beyond" and back.ahead_after == "clip"
    assert back.x == pytest.approx(4.04e12, rel=0.01)  # of the published coefficients
    assert back.upper == float("inf") and pair.end < 6e11
    said = next(line for line in report.sentences() if "cross back" in line)
    assert "cross back at 4e+12 GFLOPs (paper)" in said and "which lies outside the data" in said
    at_1e13 = pair.differences[-1]
    assert at_1e13.x == 1e13 and at_1e13.lower < 0 < at_1e13.upper and set(at_1e13.extrapolated) == {"clip", "mammut"}


def test_datasets_are_compared_like_procedures(shared_dir: Path) -> None:
    """CLIP on DataComp is ahead of CLIP on Re-LAION on ImageNet at every compute where the data separate them."""
    report = report_on(
        shared_dir / "data/paper/imagenet1k_best.csv",
        "value",
        group="pretrain_dataset",
        groups=["datacomp_1b", "relaion2b-en"],
        filters=[{"column": "family", "equals": "clip"}, {"column": "lr_scheduler", "equals": "cosine"}],
        residuals="log",
        bootstrap={"method": "cells", "count": 500},
    )
    (pair,) = report.comparisons
    assert {s.ahead for s in pair.stretches if s.ahead} == {"datacomp_1b"}
    assert pair.stretches[-1].ahead == "datacomp_1b"
