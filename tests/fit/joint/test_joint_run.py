"""A spec of joint laws over a table: rows, held-out record, files, messages."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from known_surfaces import grid, noisy

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.files import find_file
from mammut_clip.config.fit_joint import JointSpec
from mammut_clip.config.load import load_config, validate
from mammut_clip.fit.joint.outputs import joint_outputs
from mammut_clip.fit.joint.run import JointReport, run_joint
from mammut_clip.fit.output import write_outputs
from mammut_clip.fit.tables import to_markdown


def table(noise: float = 0.01) -> pd.DataFrame:
    """Two runs per cell of a known bounded surface; the second is the worse one."""
    size, samples = grid()
    y = np.minimum(noisy(np.random.default_rng(0), "bounded", noise), 1.0)
    good = pd.DataFrame(
        {
            "run": [f"good-{i}" for i in range(len(y))],
            "family": "clip",
            "model": [f"clip-{s:g}" for s in size],
            "samples_seen": samples.astype(int),
            "gflops_paper": size * samples,
            "params": size * 1e6,
            "value": 1 - y,
        }
    )
    worse = good.assign(run=good["run"].str.replace("good", "worse"), value=1 - np.minimum(y * 1.2, 1.0))
    return pd.concat([worse, good], ignore_index=True)


def spec(**changes: Any) -> JointSpec:
    values: dict[str, Any] = {
        "kind": "joint",
        "unit": "accuracy",
        "surface": {"error_at_zero": 0.999},
        "held_out": {"above": 3e11},
        "bootstrap": {"count": 400},
    }
    return JointSpec.model_validate(values | changes)


def only_group(report: JointReport) -> Any:
    (group,) = report.groups
    return group


def test_best_runs_are_fitted_and_the_rest_predicted() -> None:
    group = only_group(run_joint(spec(), table()))
    assert len(group.grid) == 77 and group.law.n == int(group.fitted.sum())
    assert (group.law.fit.size * group.law.fit.samples).max() <= 3e11
    held = group.held_out
    assert len(held) == 77 - group.law.n and [r.compute for r in held] == sorted(r.compute for r in held)
    assert all(r.compute > 3e11 and r.lower < r.predicted < r.upper for r in held)
    assert all(r.covered == (r.lower <= r.measured <= r.upper) for r in held)
    assert all(r.predicted == pytest.approx(r.measured, rel=0.06) for r in held)
    every = only_group(run_joint(spec(points="all", held_out=None), table()))
    assert every.law.n == 154 and every.held_out == () and every.law.rmse > 2 * group.law.rmse
    # The bootstrap draws both runs of a cell together.
    assert len(np.unique(every.law.cell)) == 77


def test_held_out_runs_do_not_reach_the_law() -> None:
    plain, spoiled = table(), table()
    spoiled.loc[spoiled["gflops_paper"] > 3e11, "value"] = 0.5
    one, two = (only_group(run_joint(spec(), t)) for t in (plain, spoiled))
    assert one.law.params == two.law.params
    assert [r.predicted for r in one.held_out] == [r.predicted for r in two.held_out]


def test_size_in_parameters_is_the_same_law_in_other_units() -> None:
    by_flops = only_group(run_joint(spec(), table()))
    by_params = only_group(run_joint(spec(size="params"), table()))
    assert by_params.law.params["alpha"] == pytest.approx(by_flops.law.params["alpha"], rel=1e-5)
    ratio = by_params.law.params["A"] / by_flops.law.params["A"]
    assert ratio == pytest.approx(1e6 ** by_params.law.params["alpha"], rel=1e-4)


def test_samples_follow_from_compute_and_params() -> None:
    whole = table()
    flop = whole.drop(columns=["samples_seen", "model"]).assign(
        gflops_paper=whole["gflops_paper"] * 1e9, params=whole["params"] * 1e3 / 6
    )
    chosen = spec(size="params", compute_unit="FLOP", flop_per_size_sample=6, points="all", held_out=None)
    derived = only_group(run_joint(chosen, flop))
    np.testing.assert_allclose(derived.grid.samples, whole["samples_seen"])
    np.testing.assert_allclose(derived.grid.compute, whole["gflops_paper"])
    with pytest.raises(InputError, match="has samples_seen"):
        run_joint(chosen, whole)


def test_files_repeat_to_the_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_outputs(joint_outputs(run_joint(spec(title="a_b"), table())), tmp_path / name)
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    stems = ("exponents", "held_out", "laws")
    expected = [f"{stem}.{end}" for stem in stems for end in ("csv", "md", "tex")]
    assert names == sorted([*expected, "fit.json", "joint.pdf", "joint.png", "points.csv"])
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    read = json.loads((tmp_path / "one/fit.json").read_text())
    law = read["groups"]["clip"]["law"]
    assert law["intervals"]["alpha"][0] < law["params"]["alpha"] < law["intervals"]["alpha"][1]
    points = pd.read_csv(tmp_path / "one/points.csv")
    assert len(points) == 77 and (points["fitted"].sum() + len(read["groups"]["clip"]["held_out"])) == 77


def test_what_is_said() -> None:
    outputs = joint_outputs(run_joint(spec(), table()))
    assert any("held-out runs lie within their interval" in sentence for sentence in outputs.sentences)
    laws = to_markdown(outputs.tables["laws"])
    assert "| clip | bounded |" in laws and "8 of 8" in laws
    exponents = outputs.tables["exponents"].rows[0]
    assert float(exponents[1]) + float(exponents[3]) == pytest.approx(1, abs=1e-3)


def test_joint_law_predicts_the_papers_largest_runs(shared_dir: Path) -> None:
    report = run_joint(load_config(JointSpec, find_file("fit", "paper-joint")), shared_dir / "data/paper" / RUNS)
    assert [len(g.held_out) for g in report.groups] == [7, 10]
    gaps = np.array([r.predicted - r.measured for r in report.held_out])
    # docs/fitting-allocation.md: 0.012 for the bounded surface.
    assert np.sqrt(np.mean(gaps**2)) < 0.014
    assert np.mean([r.covered for r in report.held_out]) >= 0.9
    assert all(g.law.fit.starts_agreeing == g.law.fit.starts for g in report.groups)


RUNS = "runs_datacomp_cosine.parquet"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"groups": ["siglip"]}, "no row has family = siglip"),
        ({"groups": ["clip", "siglip"]}, "no row has family = siglip"),
        ({"size": "params", "columns": {"params": "mparams"}}, "no column 'mparams'"),
        ({"held_out": {"above": 1e15}}, "no point of clip has a larger x"),
        ({"unit": "error"}, "family clip (77 points"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], said: str) -> None:
    spoiled = table()
    spoiled["value"] = spoiled["value"] * (3 if change.get("unit") == "error" else 1)
    with pytest.raises(InputError) as caught:
        run_joint(spec(**change), spoiled)
    assert said in str(caught.value)


def test_a_group_without_a_point_to_spare_is_named() -> None:
    few = table(noise=0.0).iloc[77 + np.array([0, 12, 24, 36, 48])]
    with pytest.raises(
        InputError, match=r"results table: family clip \(5 points, 0 held out\): an interval needs more"
    ):
        run_joint(spec(held_out=None), few)


def test_spec_says_what_is_wrong_with_it() -> None:
    wrong = {"kind": "joint", "unit": "accuracy", "flop_per_size_sample": 6, "surface": {"form": "chinchila"}}
    with pytest.raises(ConfigError) as caught:
        validate(JointSpec, wrong, "a.yaml")
    assert "surface.form" in str(caught.value)
    with pytest.raises(ConfigError, match="belongs to size: params"):
        validate(JointSpec, wrong | {"surface": {}}, "a.yaml")
