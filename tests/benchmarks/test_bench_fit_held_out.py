"""Held-out extrapolation: what a fit may see, what is asked of it, and how it is scored."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks.held_out_cases import Case, held_out_cases
from benchmarks.held_out_procedures import FOUR, THREE, Procedure, form_names, predictions, procedures
from benchmarks.published_fit import GRID
from benchmarks.result import Settings

from benchmarks import fit_held_out


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Sixty runs about the published law of figure 1, a third of them far worse than the others."""
    rng = np.random.default_rng(2)
    x = np.geomspace(1e7, 8e11, 60)
    y = 57.9 * (x + 9.7e7) ** -0.2266 + 0.111 + rng.normal(0, 0.005, 60) + np.where(rng.uniform(size=60) < 0.3, 0.1, 0)
    samples = np.arange(1, 61)
    return pd.DataFrame(
        {"family": "clip", "model": "m", "samples_seen": samples, "gflops_paper": x, "value": np.minimum(y, 0.99)}
    )


def few() -> dict[str, Procedure]:
    """Two of ours and the published ones, with a few of the 3,200 starts."""
    four = partial(procedures()[FOUR], starts=GRID[::64])
    return {FOUR: four, **{name: procedures()[name] for name in (THREE, "bounded", "saturation_no_floor")}}


@pytest.fixture(scope="module")
def case(rows: pd.DataFrame) -> Case:
    return Case("ImageNet", "clip", 3e10, rows)


def test_runs_beyond_the_cut_are_asked_where_none_with_less_compute_is_better(case: Case) -> None:
    beaten = [((case.x < x) & (case.y <= y)).any() for x, y in zip(case.x, case.y, strict=True)]
    np.testing.assert_array_equal(case.asked, (case.x > 3e10) & ~np.array(beaten))
    assert 0 < case.asked.sum() < (case.x > 3e10).sum()
    assert len(case.seen) == (case.x <= 3e10).sum() and case.seen["gflops_paper"].max() <= 3e10
    assert (case.asked_as_published <= (case.published & (case.x > 3e10))).all() and case.asked_as_published.any()


def test_our_prediction_depends_on_nothing_beyond_the_cut(case: Case, rows: pd.DataFrame) -> None:
    beyond = rows["gflops_paper"] > case.cut
    other = replace(case, rows=rows.assign(value=rows["value"].where(~beyond, rows["value"] / 3)))
    at = np.geomspace(1e11, 1e12, 4)
    for form in ("saturation", "average"):
        law, same = procedures()[form](case), procedures()[form](other)
        np.testing.assert_array_equal(law.predict(at), same.predict(at))
        np.testing.assert_array_equal(law.predict_interval(at), same.predict_interval(at))


def test_every_form_and_both_published_ones_answer_every_point(case: Case) -> None:
    assert set(procedures()) == {FOUR, THREE, *form_names()}
    assert {"saturation", "saturation_no_floor", "bounded", "auto", "average"} <= set(form_names())
    asked = np.flatnonzero(case.asked | case.asked_as_published)
    for name, procedure in few().items():
        points = predictions(name, procedure, case)
        assert [point.x for point in points] == case.x[asked].tolist()
        assert [point.measured for point in points] == case.y[asked].tolist()
        assert [point.non_dominated for point in points] == case.asked[asked].tolist()
        assert all(point.lower < point.predicted < point.upper for point in points)
        assert all(abs(point.predicted - point.measured) < 0.2 for point in points)


def test_scores_of_points_that_are_known() -> None:
    known = {"task": "ImageNet", "group": "g", "x": 1.0, "non_dominated": True, "published": True}
    points = pd.DataFrame(
        [
            {"procedure": "a", "cut": 1.0, "measured": 0.5, "predicted": 0.53, "lower": 0.4, "upper": 0.6, **known},
            {"procedure": "a", "cut": 2.0, "measured": 0.5, "predicted": 0.46, "lower": 0.4, "upper": 0.48, **known},
            {"procedure": "b", "cut": 1.0, "measured": 0.5, "predicted": 0.5, "lower": 0.5, "upper": 0.5, **known},
        ]
    )
    found = fit_held_out.scores(points)
    assert found.loc["a", "rmse"] == pytest.approx(np.sqrt((0.03**2 + 0.04**2) / 2))
    assert (found.loc["a", "coverage"], found.loc["a", "points"], found.loc["a", "cases"]) == (0.5, 2, 2)
    assert found.loc["a", "width"] == pytest.approx(0.14)
    assert (found.loc["b", "rmse"], found.loc["b", "coverage"]) == (0.0, 1.0)


def test_the_papers_cases(shared_dir: Path) -> None:
    cases = held_out_cases(shared_dir / "data/paper")
    assert len({case.name for case in cases}) == len(cases) == 33
    assert {case.task for case in cases} == {"ImageNet", "ADE20K"}
    assert sum(case.asked.sum() for case in cases) == 217
    for case in cases:
        assert case.x[case.asked].min() > case.cut and case.y.min() > 0 and case.y.max() < 1
    # All of ADE20K's runs are there, the best of each cell of ImageNet's.
    sizes = {(case.task, case.group): len(case.rows) for case in cases}
    assert sizes["ADE20K", "clip, datacomp_1b, cosine"] == 581
    assert sizes["ImageNet", "mammut, relaion2b-en, cosine"] == 65


def test_the_benchmark_has_rows_and_keeps_every_prediction(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fit_held_out, "procedures", few)
    monkeypatch.setattr(fit_held_out, "held_out_cases", lambda: [case])
    monkeypatch.setattr(fit_held_out, "PAPER", tmp_path)
    found = fit_held_out.measure(Settings(results=tmp_path))
    assert len(found.rows) == 2 * 3, "two forms, three quantities"
    assert {row.setting: row.peer for row in found.rows} == {"bounded": FOUR, "saturation_no_floor": THREE}
    points = pd.read_csv(tmp_path / fit_held_out.POINTS)
    assert set(points["procedure"]) == set(few())
    assert len(points) == 4 * (case.asked | case.asked_as_published).sum()
    lines = (tmp_path / fit_held_out.TABLE).read_text().splitlines()
    asked, published = case.asked.sum(), case.asked_as_published.sum()
    assert f"all, {asked} points | ImageNet, {asked} points | published frontier, {published} points" in lines[0]
    assert len(lines) == 2 + 4


def test_the_benchmark_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fit_held_out, "PAPER", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere.*needs the paper's measurements"):
        fit_held_out.measure(Settings(results=tmp_path))
