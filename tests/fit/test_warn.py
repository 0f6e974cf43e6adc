"""What a law hides is said: with the law of two columns, and below the tables of a spec."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mammut_clip.config.fit import LawSpec
from mammut_clip.fit import Procedure, fit_law_csv, run_spec
from mammut_clip.fit.warn import law_warnings

X = np.geomspace(1e7, 1e12, 12)
FALLING = 0.1 + 57.0 * (X + 1e8) ** -0.227


def said(x: np.ndarray, y: np.ndarray, form: str = "saturation") -> list[str]:
    return law_warnings(Procedure(form).fit(x, y), "C", "y")


def test_a_law_with_nothing_to_hide() -> None:
    assert said(X, FALLING) == []


def test_errors_that_rise_are_told_from_errors_that_stay() -> None:
    assert any("y rises with C" in words for words in said(X, 1 - FALLING))
    assert not any("rises" in words for words in said(X, np.full(12, 0.4)))
    assert not any("rises" in words for words in said(X, 1 - FALLING, "line"))


def test_a_law_through_every_point_is_no_evidence() -> None:
    (words,) = said(X[::3], FALLING[::3])
    assert words.startswith("4 points and 4 parameters: saturation passes through them whatever they are")
    (words,) = said(np.linspace(1e9, 1.5e9, 5), np.linspace(0.5, 0.4, 5), "power")
    assert words.endswith("for a record of extrapolation: the law is untested")


def test_specs_say_it_too() -> None:
    """And the thresholds that lie beyond everything that a group has."""
    table = pd.DataFrame({"family": ["up"] * 12 + ["down"] * 12, "gflops_exact": [*X, *X / 10]})
    table["value"] = [*(1 - FALLING), *FALLING]
    spec = LawSpec(unit="error", x="gflops_exact", frontier={"method": "all"}, form="power", thresholds=(5e10, 5e11))
    report = run_spec(spec, table)
    sentences = "\n".join(report.sentences())
    assert "up: the error rises with GFLOPs (exact), and laws fall" in sentences and "down: the error" not in sentences
    assert "down: no point lies beyond the threshold of 5e+11 GFLOPs (exact)" in sentences
    assert "up: no point" not in sentences and "5e+10" not in sentences.split("no point")[1]


def test_units_of_a_column(tmp_path: Path) -> None:
    """Accuracies and percents give the law of their errors, whose intervals end at 1."""
    path = tmp_path / "points.csv"
    noisy = np.minimum(FALLING * np.exp(np.random.default_rng(0).normal(0, 0.05, 12)), 0.999)
    pd.DataFrame({"C": X, "error": noisy, "acc": 1 - noisy, "percent": 100 * (1 - noisy)}).to_csv(path, index=False)
    found = [
        fit_law_csv(path, "C", column, Procedure("saturation", largest_error=top), at=[1e5], unit=unit)
        for column, unit, top in (("error", "error", np.inf), ("acc", "accuracy", 1.0), ("percent", "percent", 1.0))
    ]
    for one in found[1:]:
        assert one["params"] == pytest.approx(found[0]["params"], rel=1e-4) and one["warnings"] == []
        assert one["predictions"][0]["upper"] == 1.0 < found[0]["predictions"][0]["upper"]
