"""Law specs: what is refused, and in which words."""

from typing import Any, get_args

import pytest

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.fit import FrontierName, LawSpec, SingleFormName
from mammut_clip.config.load import parse_yaml, to_yaml, validate
from mammut_clip.fit.forms import FORMS
from mammut_clip.fit.frontier import METHODS


def test_names_are_those_of_the_code() -> None:
    assert set(get_args(SingleFormName)) == set(FORMS)
    assert set(get_args(FrontierName)) == set(METHODS)


def test_reads_back_as_it_was_written() -> None:
    spec = LawSpec(unit="percent", held_out={"fraction": 0.25}, filters=[{"column": "model", "equals": "S"}])
    assert validate(LawSpec, parse_yaml(to_yaml(spec), "text"), "text") == spec


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "unit: this key is required"),
        ({"unit": "acc"}, "unit = 'acc': expected 'accuracy', 'percent' or 'error'"),
        ({"unit": "error", "forms": "power"}, "forms: unknown key; did you mean form"),
        ({"unit": "error", "x": "flops"}, "x = 'flops': expected 'gflops_paper'"),
        ({"unit": "error", "held_out": {}}, "held_out: expected exactly one of above, fraction, largest"),
        ({"unit": "error", "held_out": {"above": 1e9, "largest": 2}}, "expected exactly one of"),
        ({"unit": "error", "held_out": {"largest": 0}}, "held_out.largest = 0"),
        ({"unit": "error", "held_out": {"fraction": 1.5}}, "held_out.fraction = 1.5"),
        ({"unit": "error", "filters": [{"column": "lr"}]}, "filters.0: expected at least one of equals"),
        (
            {"unit": "error", "frontier": {"method": "non_dominated", "bin_factor": 2}},
            "frontier: bin_factor belongs to method: bins or quantile, not to non_dominated",
        ),
        ({"unit": "error", "level": 95}, "level = 95"),
        ({"unit": "error", "thresholds": [1e9, float("inf")]}, "thresholds.1 = inf"),
        ({"unit": "error", "held_out": {"above": float("inf")}}, "held_out.above = inf"),
        ({"unit": "error", "filters": [{"column": "x", "at_most": float("nan")}]}, "filters.0.at_most = nan"),
        ({"unit": "error", "prior": {"factor": float("inf")}}, "prior.factor = inf"),
        ({"unit": "error", "frontier": {"method": "bins", "bin_edge": float("inf")}}, "frontier.bin_edge = inf"),
        ({"unit": "error", "choice": {"forms": ["power", "line", "power"]}}, "expected each of them once"),
        ({"unit": "error", "choice": {"cuts": [0.5, 0.5]}}, "choice.cuts = [0.5, 0.5]: expected each of them once"),
        ({"unit": "error", "bootstrap": {"count": 10}}, "bootstrap.count = 10"),
    ],
)
def test_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(LawSpec, values, "spec.yaml")
    assert said in str(caught.value) and "spec.yaml" in str(caught.value)
