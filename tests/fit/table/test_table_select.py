"""The rows of a spec: conditions against pandas' own, order and counts of the steps, rows that cannot be used."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_rows import Filter, RowSpec
from mammut_clip.fit.table import FilterCount, select
from mammut_clip.fit.table.conditions import meets, meets_all


def spec(**changes: Any) -> RowSpec:
    return RowSpec.model_validate({"unit": "error"} | changes)


def table(rows: int = 6, **columns: Any) -> pd.DataFrame:
    base = {
        "family": ["clip"] * rows,
        "model": [f"m{i}" for i in range(rows)],
        "samples_seen": [1000 * 2**i for i in range(rows)],
        "gflops_paper": [1e6 * 4.0**i for i in range(rows)],
        "value": [0.9 * 0.8**i for i in range(rows)],
    }
    return pd.DataFrame(base | columns)


limits = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 2.5]))


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.5, 4.0, np.nan]), min_size=1), limits, limits, limits, limits)
def test_numeric_conditions_by_definition(
    values: list[float], at_least: float | None, at_most: float | None, above: float | None, below: float | None
) -> None:
    wanted = Filter(column="lr", at_least=at_least, at_most=at_most, above=above, below=below, none_of=(4.0,))
    mask, _ = meets(pd.DataFrame({"lr": values}), wanted, "t")
    for value, kept in zip(values, mask, strict=True):
        conditions = (
            not np.isnan(value),
            value != 4.0,
            at_least is None or value >= at_least,
            at_most is None or value <= at_most,
            above is None or value > above,
            below is None or value < below,
        )
        assert kept == all(conditions)


def test_words_and_text_conditions() -> None:
    frame = pd.DataFrame({"model": ["S", "M", None, "L"], "lr": ["0.1", "x", "0.3", "0.4"]})
    mask, said = meets(frame, Filter(column="model", none_of=("S", "H")), "t")
    assert said == "model not in S, H" and mask.tolist() == [False, True, False, True]
    mask, said = meets_all(frame, (Filter(column="lr", above=0.1), Filter(column="model", one_of=("L",))), "t")
    assert said == "lr > 0.1 and model in L" and mask.tolist() == [False, False, False, True]
    with pytest.raises(InputError, match=r"filters: model holds text \('S'\), no numbers to compare"):
        meets(frame, Filter(column="model", below=3), "t")
    for wrong in ({"equals": "1.28M"}, {"one_of": (1.0, "1.28M")}, {"none_of": ("1.28M",)}):
        with pytest.raises(InputError, match=r"filters: samples_seen holds numbers, and '1.28M' is text"):
            meets(
                pd.DataFrame({"samples_seen": [1, 2]}), Filter.model_validate({"column": "samples_seen"} | wrong), "t"
            )
    assert meets(pd.DataFrame({"main": [True, False]}), Filter(column="main", equals=True), "t")[0].tolist() == [
        True,
        False,
    ]


def test_the_papers_rule_on_two_columns() -> None:
    """Errors of 0.7 and more go, but only above 1e8."""
    frame = table(value=[0.9, 0.8, 0.75, 0.5, 0.7, 0.6999])
    rule = [[{"column": "error", "at_least": 0.7}, {"column": "gflops_paper", "above": 1e8}]]
    kept = select(frame, spec(drop_where=rule), "t")
    assert kept.points["error"].tolist() == [0.9, 0.8, 0.75, 0.5, 0.6999]
    assert kept.counts[-1] == FilterCount("not (error >= 0.7 and gflops_paper > 1e+08)", 1, 5)
    other_unit = select(frame.assign(value=100 * (1 - frame["value"])), spec(unit="percent", drop_where=rule), "t")
    assert other_unit.points["error"].tolist() == pytest.approx(kept.points["error"].tolist())


def test_lists_of_drop_where_are_alternatives() -> None:
    rules = [[{"column": "model", "equals": "m0"}], [{"column": "x", "above": 1e8}, {"column": "error", "below": 0.4}]]
    kept = select(table(), spec(drop_where=rules), "t")
    assert kept.points["model"].tolist() == ["m1", "m2", "m3"]
    assert [c.removed for c in kept.counts] == [0, 1, 2]


BAD = table(
    gflops_paper=[1e6, np.nan, -1.0, 0.0, 2.5e8, 1e9],
    value=[0.9, 0.8, 0.7, 0.6, np.inf, 0.4],
)


def test_bad_rows_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"t: gflops_paper is not a finite number: row 1 \(nan\)"):
        select(BAD, spec(), "t")
    with pytest.raises(InputError, match=r"gflops_paper must be positive: row 2 \(-1.0\), row 3 \(0.0\)"):
        select(BAD.fillna({"gflops_paper": 1.0}), spec(), "t")
    with pytest.raises(InputError, match=r"value is not a finite number: row 4 \(inf\)"):
        select(BAD.assign(gflops_paper=1.0), spec(), "t")


def test_bad_rows_are_dropped_and_named() -> None:
    twice = pd.concat([BAD, BAD.iloc[:1]], ignore_index=True)
    kept = select(twice, spec(bad_rows="drop"), "t")
    assert kept.points["model"].tolist() == ["m0", "m5"]
    assert [(c.step.removeprefix("bad rows: "), c.rows) for c in kept.counts[1:]] == [
        ("gflops_paper is not a finite number", ("row 1",)),
        ("gflops_paper must be positive", ("row 2", "row 3")),
        ("value is not a finite number", ("row 4",)),
        ("the same row stands twice", ("row 6",)),
    ]
    assert str(kept.counts[2]) == "bad rows: gflops_paper must be positive: row 2, row 3"
    assert sum(c.removed for c in kept.counts) == len(twice) - len(kept.points)
    with pytest.raises(InputError, match="no row is left after 'bad rows: value is not a finite number'"):
        select(BAD.assign(value=np.nan), spec(bad_rows="drop"), "t")


def test_values_outside_the_unit_are_never_dropped() -> None:
    with pytest.raises(InputError, match=r"between 0 and 1; is it percent\?, found row 1 \(37.5\)"):
        select(table(value=[0.1, 37.5, 0.2, 0.3, 0.4, 0.5]), spec(unit="accuracy", bad_rows="drop"), "t")
    with pytest.raises(InputError, match=r"no value is above 1 \(0.5 is the largest\); is it accuracy\?"):
        select(table(value=[0.1, 0.375, 0.2, 0.3, 0.4, 0.5]), spec(unit="percent", bad_rows="drop"), "t")


def test_what_counts_as_one_row_twice() -> None:
    frame = table()
    same = pd.concat([frame, frame.iloc[[2]]], ignore_index=True)
    with pytest.raises(InputError, match=r"the same row stands twice: row 2 \(0.576.*\), row 6 \(0.576"):
        select(same, spec(), "t")
    # Two runs may well measure the same; that they are two, their names say.
    named = same.assign(run=[f"r{i}" for i in range(7)])
    assert len(select(named, spec(), "t").points) == 7
    with pytest.raises(InputError, match=r"the same run stands twice: row 0 \(r\), row 1 \(r\)"):
        select(named.assign(run=["r", "r", *"abcde"]), spec(), "t")
    # One run may serve two curves.
    curves = pd.concat([named.assign(family="one"), named.assign(family="two")], ignore_index=True)
    assert len(select(curves, spec(), "t").points) == 14


def test_checkpoints_by_schedule() -> None:
    rows = [
        (run, kind, done)
        for run, kind in (("a", "const"), ("b", "cosine"), ("c", "const_cooldown"))
        for done in (250, 500, 1000)
    ]
    frame = pd.DataFrame(rows, columns=["run", "schedule", "checkpoint_samples"]).assign(
        samples_seen=1000, family="clip", value=0.5
    )
    frame["gflops_paper"] = frame["checkpoint_samples"] * 2.0
    kept = select(frame, spec(checkpoints="by_schedule"), "t")
    points = kept.points
    assert points.groupby("run").size().to_dict() == {"a": 3, "b": 1, "c": 1}
    assert (points["samples_seen"] == points["checkpoint_samples"]).all()
    assert kept.counts[-1] == FilterCount("every checkpoint where schedule = const, else the final one", 4, 5)
    warm = select(frame.assign(warmup=500), spec(checkpoints="by_schedule"), "t")
    assert warm.points.groupby("run").size().to_dict() == {"a": 1, "b": 1, "c": 1}
    assert warm.counts[1] == FilterCount("checkpoints after warm-up", 6, 3)
    assert len(select(frame.assign(warmup=250), spec(checkpoints="all"), "t").points) == 6
    assert len(select(frame.assign(warmup=2000), spec(), "t").points) == 3  # a final one always counts
    broken = frame.assign(checkpoint_samples=frame["checkpoint_samples"].astype(float).where(frame.index != 4))
    with pytest.raises(InputError, match=r"checkpoint_samples is not a finite number: row 4 \(nan\)"):
        select(broken, spec(checkpoints="by_schedule"), "t")
    assert len(select(broken, spec(checkpoints="all", bad_rows="drop"), "t").points) == 8
    with pytest.raises(InputError, match="no column 'schedule'"):
        select(frame.drop(columns="schedule"), spec(checkpoints="by_schedule"), "t")
