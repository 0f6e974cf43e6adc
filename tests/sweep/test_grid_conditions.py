"""Conditions: values, lists, bounds, families, and what is said about one that cannot hold."""

from typing import Any

import pytest
from grids import sweep
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config import ConfigError
from mammut_clip.sweep.grid import cells, expand

BUDGETS = ["12.8K", "25.6K", "51.2K", "102.4K"]


def fitting(when: dict[str, Any], **values: Any) -> list[str]:
    """Names of the runs that a rule with this condition changes."""
    marked = sweep(**values, rules=[{"when": when, "set": {"parallel.hang_after": 77}}])
    return [run.name for run in expand(marked) if run.parallel.hang_after == 77]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"at_least": "51.2K"}, ["51.2K", "102.4K"]),
        ({"above": 51_200}, ["102.4K"]),
        ({"below": "25.6K"}, ["12.8K"]),
        ({"at_most": "25600"}, ["12.8K", "25.6K"]),
        ({"above": "12.8K", "below": "100K"}, ["25.6K", "51.2K"]),
    ],
)
def test_bounds_choose_by_amount(bounds: dict[str, Any], expected: list[str]) -> None:
    assert fitting({"samples_seen": bounds}, axes={"samples_seen": BUDGETS}) == expected


def test_bounds_hold_for_numbers_and_not_for_null() -> None:
    axes = {"optimizer.clip_grad_norm": [None, 0.5, 2.0], "optimizer.lr": [1e-3]}
    assert fitting({"optimizer.clip_grad_norm": {"below": 1}}, axes=axes) == ["clip_grad_norm0.5-lr0.001"]
    assert fitting({"optimizer.clip_grad_norm": None}, axes=axes) == ["clip_grad_normnone-lr0.001"]
    assert fitting({"optimizer.weight_decay": {"at_least": 0.2}}, axes={"seed": [3]}) == ["seed3"]  # by default 0.2


@given(low=st.integers(1, 400), high=st.integers(1, 400))
def test_two_bounds_are_their_intersection(low: int, high: int) -> None:
    axes = {"samples_seen": [1280 * n for n in (1, 50, 100, 200, 399)]}
    when = {"at_least": 1280 * low, "at_most": 1280 * high}
    if low > high:
        with pytest.raises(ConfigError, match="nothing lies between"):
            fitting({"samples_seen": when}, axes=axes)
        return
    assert len(fitting({"samples_seen": when}, axes=axes)) == sum(low <= n <= high for n in (1, 50, 100, 200, 399))


def test_values_are_compared_as_the_run_config_reads_them() -> None:
    axes = {"optimizer.lr": ["5e-4", 0.001], "samples_seen": ["12.8K", 25_600]}
    assert fitting({"optimizer.lr": 5e-4, "samples_seen": "12800"}, axes=axes) == ["12.8K-lr5e-4"]
    assert fitting({"optimizer.lr": ["0.001"], "samples_seen": "0.0256M"}, axes=axes) == ["25.6K-lr0.001"]
    assert fitting({"data.train": "data/toy", "seed": 0}) == ["s"]
    assert fitting({"data.train": ["data/toy"]}) == ["s"]
    assert fitting({"data.train": ["data/other", "data/toy"]}) == ["s"]
    assert fitting({"optimizer.betas": [0.9, 0.95]}) == ["s"]
    assert fitting({"optimizer.betas": [[0.9, 0.98], [0.9, 0.95]]}) == ["s"]
    assert fitting({"optimizer.betas": [0.9, 0.98]}) == []


def test_families_and_alternatives_are_seen() -> None:
    axes = {"model": ["toy-S", "mammut_toy-S"], "r": {"a": {}, "b": {"seed": 1}}}
    assert fitting({"family": "mammut", "r": "b"}, axes=axes) == ["mammut_toy-S-b"]
    assert fitting({"family": ["clip", "coca"], "r": ["a", "b"]}, axes=axes) == ["toy-S-a", "toy-S-b"]
    assert fitting({"seed": 1, "model": "toy-S"}, axes=axes) == ["toy-S-b"]


IMPOSSIBLE = [
    ({"samples_seen": {"at_last": "1M"}}, ["when.samples_seen.at_last", "did you mean at_least"]),
    ({"samples_seen": {"below": "1Q"}}, ["when.samples_seen.below = '1Q'", "whole number"]),
    ({"samples_seen": {}}, ["when.samples_seen", "at_least, above, at_most, below"]),
    ({"samples_seen": {"above": 5, "below": 5}}, ["nothing lies between"]),
    ({"samples_seen": []}, ["when.samples_seen = []", "no run would fit"]),
    ({"schedule.kind": "cosin"}, ["when.schedule.kind = 'cosin'", "'cosine'"]),
    ({"schedule.kind": {"at_least": 1}}, ["when.schedule.kind", "'cosine'"]),
    ({"optimizer": {"lr": 1}}, ["when.optimizer", "section: name one of its keys"]),
    ({"seed": "x"}, ["when.seed = 'x'", "valid integer"]),
    ({"r": "c"}, ["when.r = 'c'", "known: a, b"]),
    ({"family": ["clip", "mamut"]}, ["when.family = 'mamut'", "did you mean mammut"]),
    ({"famly": "clip"}, ["when.famly", "did you mean family"]),
    ({"model": "toy-Q"}, ["when.model = 'toy-Q'", "did you mean"]),
]


@pytest.mark.parametrize(
    ("when", "said"), IMPOSSIBLE, ids=[next(iter(when)) + str(n) for n, (when, _) in enumerate(IMPOSSIBLE)]
)
@pytest.mark.parametrize("place", ["rules", "cells", "exclude"])
def test_a_condition_that_cannot_hold_is_refused_wherever_it_stands(
    when: dict[str, Any], said: list[str], place: str
) -> None:
    axes = {"r": {"a": {}, "b": {}}}
    entry = {"rules": {"when": when, "set": {"seed": 1}}, "cells": {"when": when, "axes": {"seed": [1]}}}.get(
        place, when
    )
    with pytest.raises(ConfigError) as caught:
        cells(sweep(axes=axes, **{place: [entry]}), "sweeps/s.yaml")
    for part in said:
        assert (part.removeprefix("when.") if place == "exclude" else part) in str(caught.value)
    assert f"{place}.0" in str(caught.value)
