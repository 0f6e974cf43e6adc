"""What a sweep says about evaluation and laws, in its runs' configs and before they start."""

from pathlib import Path
from typing import Any

import pytest
from grids import BASE, sweep

from mammut_clip.config import ConfigError
from mammut_clip.config.run import EvaluationConfig
from mammut_clip.sweep.grid import expand

OF_THE_RECIPE = {"suite": "quick", "every": "6.4K", "data_root": "evals-data"}


def evaluations(said: dict[str, Any] | None, **values: Any) -> list[EvaluationConfig]:
    base = {**BASE, "evaluation": OF_THE_RECIPE}
    return [run.evaluation for run in expand(sweep(base=base, evaluation=said, **values))]


def test_the_recipes_own_stays_where_the_sweep_says_nothing() -> None:
    assert evaluations(None) == [EvaluationConfig.model_validate(OF_THE_RECIPE)]
    assert evaluations(None, axes={"evaluation.every": ["12.8K", None]})[1].every is None


def test_training_evaluates_as_the_sweep_says_and_not_as_the_recipe() -> None:
    assert evaluations({"suite": "toy", "every": "1.28K"}) == [EvaluationConfig(suite="toy", every=1280)]
    assert evaluations({"suite": "toy", "data_root": "d"}) == [EvaluationConfig(suite="toy", data_root="d")]


def test_training_evaluates_nothing_where_jobs_do() -> None:
    assert evaluations({"suite": "toy", "where": "jobs", "points": "all"}) == [EvaluationConfig()]


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"axes": {"evaluation.suite": ["toy", "quick"]}}, "axes.evaluation.suite"),
        ({"axes": {"r": {"a": {"evaluation": {"every": "1K"}}}}}, "axes.r.evaluation.every"),
        ({"overrides": {"evaluation.suite": "quick"}}, "overrides.evaluation.suite"),
        ({"rules": [{"when": {"seed": 0}, "set": {"evaluation.data_root": "x"}}]}, "rules.0.set.evaluation.data_root"),
        ({"cells": [{"when": {"seed": 0}, "axes": {"evaluation.every": ["1K"]}}]}, "cells.0.axes.evaluation.every"),
    ],
)
def test_evaluation_is_said_in_one_place(values: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        evaluations({"suite": "toy"}, **values)
    assert [problem.key for problem in caught.value.problems] == [place]


def test_a_suite_is_read_whole_before_anything_starts(tmp_path: Path) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text("name: mine\ntasks:\n  - {name: a, kind: classification, batch_sise: 3}\n  - {kind: retrieval}\n")
    with pytest.raises(ConfigError, match=r"evaluation.suite: in \S*mine.yaml: tasks.1.name: this key is required"):
        evaluations({"suite": str(suite)})


def test_law_specs_are_read_before_anything_starts(tmp_path: Path) -> None:
    assert expand(sweep(laws=["toy"]))
    spec = tmp_path / "mine.yaml"
    spec.write_text("unit: accuracy\nformm: power\n")
    with pytest.raises(ConfigError, match=r"laws\.1: in \S*mine.yaml: formm: unknown key; did you mean form"):
        expand(sweep(laws=["toy", str(spec)]))
