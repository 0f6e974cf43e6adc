"""A spec over a table, from rows to files: selection, held-out record, comparison, formats, messages."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_sweep import LAWS, made_up_law, made_up_results

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import Choice, Filter
from mammut_clip.fit import Procedure, fit_law_csv, run_spec

LARGEST = {"largest": 2}


def results() -> pd.DataFrame:
    """Of two families and two metrics."""
    table = made_up_results(measured=(("toy_pairs", "acc1"), ("toy_pairs", "acc5")))
    return table.assign(value=table["value"].where(table["metric"] == "acc1", (1 + table["value"]) / 2))


def test_held_out_runs_are_not_seen_and_are_predicted() -> None:
    table = results()
    report = run_spec(made_up_law(held_out=LARGEST), table)
    assert [c.removed for c in report.counts] == [0, 0, 60, 30]
    for group in report.groups:
        largest = np.sort(group.points["x"])[-2:]
        assert group.law.fit.x.max() < largest[0] and group.law.n == 13
        assert [r.x for r in group.held_out] == pytest.approx(largest)
        for r in group.held_out:
            a, b, c = LAWS[group.name]
            assert r.predicted == pytest.approx(a * (r.x + b) ** c, rel=0.05)
            assert r.lower < r.predicted < r.upper
            assert r.covered == (r.lower <= r.measured <= r.upper)
            assert r.relative_error == pytest.approx(r.predicted / r.measured - 1)
    # What the held-out runs measured must not reach the law.
    spoiled = table.copy()
    spoiled.loc[spoiled["gflops_paper"] >= 1e6, "value"] = 0.01
    again = run_spec(made_up_law(held_out=LARGEST), spoiled)
    assert [g.law.params for g in again.groups] == [g.law.params for g in report.groups]


def test_comparison_finds_the_family_that_is_ahead() -> None:
    """mammut's law is the higher one below 9e3 GFLOPs and the lower one above."""
    report = run_spec(made_up_law(), results())
    (pair,) = report.comparisons
    (crossing,) = pair.inside
    gap = [a * (crossing.x + b) ** c for a, b, c in (LAWS["clip"], LAWS["mammut"])]
    assert gap[0] == pytest.approx(gap[1], rel=0.02)
    assert [s.ahead for s in pair.stretches] == ["clip", None, "mammut"]
    assert pair.stretches[1].start < crossing.x < pair.stretches[1].end
    (largest,) = pair.differences
    assert largest.x == pair.end == 1.8 * 1_024_000 and 0 < largest.lower < largest.difference < largest.upper
    assert "clip against mammut: clip has the lower error from" in report.sentences()[0]
    assert "; mammut has the lower error from" in report.sentences()[0]


@pytest.mark.parametrize(
    ("held_out", "count"),
    [({"above": 5e5}, 1), ({"fraction": 0.2}, 3), ({"largest": 1}, 1), ({"largest": 4}, 4)],
)
def test_ways_to_hold_out(held_out: dict[str, float], count: int) -> None:
    report = run_spec(made_up_law(held_out=held_out), results())
    assert [len(g.held_out) for g in report.groups] == [count, count]


def test_units_give_the_same_law() -> None:
    table = results()
    accuracy = run_spec(made_up_law(), table)
    percent = run_spec(made_up_law(unit="percent"), table.assign(value=table["value"] * 100))
    error = run_spec(made_up_law(unit="error"), table.assign(value=1 - table["value"]))
    for other in (percent, error):
        for one, two in zip(accuracy.groups, other.groups, strict=True):
            assert two.law.params == pytest.approx(one.law.params, rel=1e-6)
    with pytest.raises(InputError, match="is it percent"):
        run_spec(made_up_law(), table.assign(value=table["value"] * 100))


def test_compute_may_be_counted_in_flop() -> None:
    """All that a spec says and all that comes out is in GFLOP."""
    table = results()
    asked = {"ask": (1e6,), "held_out": {"above": 5e5}, "filters": ({"column": "gflops_paper", "below": 1e12},)}
    one = run_spec(made_up_law(**asked), table)
    two = run_spec(made_up_law(**asked, compute_unit="FLOP"), table.assign(gflops_paper=table["gflops_paper"] * 1e9))
    for mine, other in zip(one.groups, two.groups, strict=True):
        assert other.law.params == pytest.approx(mine.law.params, rel=1e-6)
        assert [r.x for r in other.held_out] == pytest.approx([r.x for r in mine.held_out])
    text = table.assign(gflops_paper=table["gflops_paper"].astype(object))
    text.loc[text.index[2], "gflops_paper"] = "many"
    with pytest.raises(InputError, match=r"gflops_paper is not a finite number: row 2 \(many\)"):
        run_spec(made_up_law(compute_unit="FLOP"), text)
    with pytest.raises(ValueError, match="belongs to an x of compute"):
        made_up_law(compute_unit="FLOP", x="samples_seen")


def test_all_checkpoints_count_compute_to_the_checkpoint() -> None:
    report = run_spec(made_up_law(checkpoints="all", frontier={"method": "all"}), results())
    assert [g.law.n for g in report.groups] == [30, 30]
    assert set(report.groups[0].points["samples_seen"]) == set(report.groups[0].points["checkpoint_samples"])
    by_samples = run_spec(made_up_law(x="samples_seen"), results())
    assert by_samples.x_label == "samples seen" and by_samples.groups[0].points["x"].max() == 1_024_000


def test_filters_report_what_they_removed() -> None:
    filters = (
        Filter(column="samples_seen", at_least=16_000),
        Filter(column="model", one_of=("clip_S", "clip_M", "mammut_M")),
    )
    report = run_spec(made_up_law(filters=filters), results())
    assert [(c.step, c.removed) for c in report.counts[3:5]] == [
        ("samples_seen >= 16000", 60 // 5),
        ("model in clip_S, clip_M, mammut_M", 48 // 2),
    ]


def _nan(t: pd.DataFrame) -> pd.DataFrame:
    t.loc[t.index[2], "value"] = np.nan
    return t


@pytest.mark.parametrize(
    ("change", "spoil", "said"),
    [
        ({"task": "toy_pair"}, None, "no row has task = 'toy_pair'; did you mean toy_pairs"),
        ({"metric": None}, None, "several metrics (acc1, acc5)"),
        ({"groups": ["clip", "siglip"]}, None, "groups: no row has family = siglip; did you mean clip?"),
        ({"group": "famly"}, None, "no column 'famly'; did you mean family"),
        ({"columns": {"value": "score"}}, None, "no column 'score'"),
        ({"filters": [{"column": "lr", "at_most": 1}]}, None, "no column 'lr'"),
        (
            {"filters": [{"column": "samples_seen", "at_least": 1e12}]},
            None,
            "no row is left after 'samples_seen >= 1e+12'",
        ),
        ({"held_out": {"above": 1e15}}, None, "no point of clip has a larger x"),
        ({"held_out": {"above": 1}}, None, "nothing is left to fit"),
        ({"held_out": {"largest": 15}}, None, "clip has only 15 cells"),
        ({"held_out": {"largest": 13}}, None, "needs at least 3 points at different x, got 2"),
        (
            {"held_out": {"largest": 13}, "comparison": {"reference": "clop"}},  # known before anything is fitted
            None,
            "comparison.reference = 'clop': no such group; did you mean clip?",
        ),
        ({}, _nan, "value is not a finite number: row 2 (nan)"),
        ({}, lambda t: t.assign(gflops_paper=0.0), "gflops_paper must be positive: row 2 (0.0)"),
        ({}, lambda t: pd.concat([t, t]), "stands twice"),
        ({}, lambda t: t.iloc[:0], "the table has no rows"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], spoil: Any, said: str) -> None:
    table = results() if spoil is None else spoil(results())
    with pytest.raises(InputError) as caught:
        run_spec(made_up_law(**({"held_out": LARGEST} | change)), table)
    assert said in str(caught.value)


def test_law_of_two_csv_columns(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    x = np.geomspace(1e3, 1e8, 8)
    pd.DataFrame({"compute": x, "err": 0.7 * (x / 1e5 + 1) ** -0.3 + 0.1}).to_csv(path, index=False)
    law = fit_law_csv(path, "compute", "err", Procedure("saturation"))
    assert law["form"] == "saturation" and law["n"] == 8 and law["rmse"] < 1e-9
    assert law["params"] == pytest.approx({"a": 0.7 * 1e5**0.3, "b": 1e5, "c": -0.3, "d": 0.1}, rel=1e-6)
    assert law["se"].keys() == law["params"].keys()
    json.dumps(law, allow_nan=False)
    with pytest.raises(InputError, match="no column 'eror'; did you mean err"):
        fit_law_csv(path, "compute", "eror", Procedure("saturation"))
    with pytest.raises(InputError, match="no such file"):
        fit_law_csv(tmp_path / "absent.csv", "a", "b", Procedure("saturation"))
    for row, said in (
        ("oops,0.5", "line 10 (oops)"),
        ("-3,0.5", "line 10 (-3)"),
        (f"{x[0]},0.5\n{x[0]},0.5", "line 11"),
    ):
        broken = tmp_path / "broken.csv"
        broken.write_text(path.read_text() + row + "\n")
        with pytest.raises(InputError) as caught:
            fit_law_csv(broken, "compute", "err", Procedure("saturation"))
        assert said in str(caught.value) and "broken.csv" in str(caught.value)


def test_a_law_of_columns_says_what_its_parameters_hide(tmp_path: Path) -> None:
    path, x = tmp_path / "points.csv", np.geomspace(1e3, 1e8, 8)
    error = 0.3 * (x / 1e5 + 1) ** -0.3 + 0.1 + np.linspace(0, 1e-3, 8)
    pd.DataFrame({"compute": x, "err": error, "acc": 100 * (1 - error)}).to_csv(path, index=False)
    fallen = fit_law_csv(path, "compute", "err", Procedure("average", error_at_zero=0.4), at=[1e10])
    assert fallen["procedure"] == "average" and fallen["form"] in {f["form"] for f in fallen["record"]["forms"]}
    shown = max(fallen["record"]["forms"], key=lambda one: one["weight"])
    assert (fallen["form"], fallen["params"]) == (shown["form"], shown["params"]) and fallen["warnings"] == []
    # What is printed is enough to follow the law by hand.
    p, e0 = fallen["params"], fallen["error_at_zero"]
    by_hand = p.get("d", 0) + (e0 - p.get("d", 0)) * (1 + x / p["b"]) ** p["c"]
    assert np.sqrt(np.mean((by_hand - error) ** 2)) == pytest.approx(fallen["rmse"], rel=1e-6) and e0 == 0.4
    risen = fit_law_csv(path, "compute", "acc", Procedure("power"))
    assert risen["warnings"][0] == "acc rises with compute, and laws fall: they are fitted to errors, not to accuracies"
    assert any("c of power at a bound" in said for said in risen["warnings"])
    assert fit_law_csv(path, "compute", "acc", Procedure("line"))["warnings"] == []
    path.write_text("\n".join(path.read_text().splitlines()[:5]) + "\n")
    with pytest.raises(InputError, match=r"points\.csv: an interval needs more points than parameters"):
        fit_law_csv(path, "compute", "err", Procedure("saturation"), at=[1e10])
    least = fit_law_csv(path, "compute", "err", Procedure("auto", choice=Choice(forms=("power", "broken_power"))))
    assert least["warnings"] == ["broken_power left out: 5 parameters, points at 4 different x"]


def test_groups_may_be_numbers() -> None:
    table = results().assign(width=lambda t: t["family"].map({"clip": 64, "mammut": 128}))
    report = run_spec(made_up_law(group="width", groups=("128",), bootstrap={"count": 400}), table)
    assert [g.name for g in report.groups] == ["128"] and set(report.groups[0].points["family"]) == {"mammut"}


def test_fit_starts_light() -> None:
    """Neither torch nor matplotlib nor scipy is loaded before something needs them."""
    loaded = "print([m for m in ('torch', 'matplotlib', 'scipy') if m in sys.modules])"
    code = f"import sys, mammut_clip.fit, mammut_clip.report; {loaded}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
