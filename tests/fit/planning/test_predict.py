"""Predictions for planned runs: values, intervals, how far beyond the data, and the run itself by size and samples."""

import json
from pathlib import Path

import numpy as np
import pytest

from known_runs import best_samples, frontier_error, report, results
from mammut_clip.config.errors import InputError
from mammut_clip.config.files import find_file
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.load import load_config
from mammut_clip.fit import fit_law, run_spec
from mammut_clip.fit.planning import Shape, predict_runs, without_held_out
from mammut_clip.fit.planning.predict import records, sentences, to_json_dict


def test_a_prediction_is_the_groups_law_at_the_runs_compute() -> None:
    found = report()
    (one,) = predict_runs(found, [Shape("mammut_ViT-L-14", 1_000_000_000)])
    points = next(g for g in found.groups if g.name == "mammut").points
    used = points[points["fitted"]]
    law = fit_law(used["x"].to_numpy(), used["error"].to_numpy(), "saturation_no_floor", residuals="log")
    assert one.place.group == "mammut"
    assert one.predicted == pytest.approx(float(law.predict(one.place.x)), rel=1e-6)
    assert one.lower < one.law_lower < one.predicted < one.law_upper < one.upper
    (shapeless,) = predict_runs(report(results(penalty=0.0)), [Shape("mammut_ViT-L-14", 1_000_000_000)])
    assert shapeless.predicted == pytest.approx(frontier_error("mammut", one.place.x), rel=0.03)


def test_how_far_beyond_the_points() -> None:
    found = report()
    x_max = next(g for g in found.groups if g.name == "clip").estimate.x_range[1]
    small, inside, large = predict_runs(
        found, [Shape("ViT-S-32", 1000), Shape("ViT-B-32", 100_000_000), Shape("ViT-L-14", 10**11)]
    )
    assert large.beyond == pytest.approx(large.place.x / x_max) and large.extrapolated
    assert inside.beyond == 1.0 and not inside.extrapolated
    assert small.beyond == pytest.approx(small.x_min / small.place.x) and small.extrapolated
    said = sentences(found, [small, inside, large])
    assert "below the smallest fitted point" in said[0]
    assert "fitted point" not in said[1]
    assert f"{large.beyond:.2g} times above the largest fitted point" in said[2]


def test_every_shape_by_every_law_in_order() -> None:
    table = results().assign(dataset=lambda t: np.where(np.arange(len(t)) % 2, "a", "b"))
    table = table[table["family"] == "clip"]
    found = report(table, group="dataset")
    shapes = [Shape("ViT-B-32", 10**9), Shape("ViT-L-14", 10**9)]
    got = [(p.place.shape.model, p.place.group) for p in predict_runs(found, shapes)]
    assert got == [("ViT-B-32", "a"), ("ViT-B-32", "b"), ("ViT-L-14", "a"), ("ViT-L-14", "b")]
    assert {p.place.group for p in predict_runs(found, shapes, ["b"])} == {"b"}
    with pytest.raises(InputError, match="mammut_ViT-B-32: its family has no runs"):
        predict_runs(found, [Shape("mammut_ViT-B-32", 10**9)])


def test_measured_cells_are_shown_beside() -> None:
    table = results()
    known, unknown = predict_runs(report(table), [Shape("ViT-B-32", 10**9), Shape("ViT-B-32", 10**9 + 1)])
    cell = table[(table["model"] == "ViT-B-32") & (table["samples_seen"] == 10**9)]
    assert known.measured == pytest.approx(1 - float(cell["value"].iloc[0]))
    assert unknown.measured is None


def test_a_badly_shaped_run_is_told_from_the_frontier_and_predicted_by_its_own_shape() -> None:
    """The penalty of the known law is e^(0.6 x distance^2)."""
    found = report(results(noise=0.002))
    (bad,) = predict_runs(found, [Shape("ViT-L-16", 1_000_000)])
    assert bad.frontier is not None and not bad.frontier.on_frontier and bad.frontier.factor < 0.2
    assert bad.run is not None and bad.run.extrapolated
    distance = np.log10(1_000_000 / best_samples(bad.place.x))
    truth = frontier_error("clip", bad.place.x) * np.exp(0.6 * distance**2)
    assert bad.run.predicted > 1.1 * bad.predicted
    assert abs(np.log(bad.run.predicted / truth)) < abs(np.log(bad.predicted / truth))
    assert "too large for the frontier" in bad.sentence("GFLOPs", 0.95)
    (good,) = predict_runs(found, [Shape("ViT-B-32", 100_000_000)])
    assert good.frontier is not None and good.frontier.on_frontier
    assert good.run is not None and not good.run.extrapolated
    assert good.run.predicted == pytest.approx(good.measured, rel=0.05)
    assert good.run.best <= good.run.predicted


def test_laws_in_samples_have_no_shapes() -> None:
    (one,) = predict_runs(report(x="samples_seen"), [Shape("ViT-B-32", 10**10)])
    assert one.place.x == 10**10
    assert one.frontier is None and one.run is None


def test_held_out_runs_are_fitted_unless_they_are_wanted_for_the_record() -> None:
    held = report(held_out={"above": 1e10})
    everything = run_spec(without_held_out(held.spec), results())
    assert {r.group for r in records(held)} == {"clip", "mammut"}
    assert all(r.scored > 0 and r.rmse < 0.05 and 0 <= r.covered <= r.scored for r in records(held))
    assert records(everything) == ()
    shape = Shape("ViT-L-14", 10**9)
    (near,), (far,) = predict_runs(everything, [shape]), predict_runs(held, [shape])
    assert near.x_max > 1e10 >= far.x_max
    assert near.upper - near.lower < far.upper - far.lower


def test_json_is_plain_and_repeats_byte_for_byte() -> None:
    def text() -> str:
        found = report(thresholds=[1e10])
        values = to_json_dict(found, predict_runs(found, [Shape("ViT-L-14", 10**9)]), records(found))
        return json.dumps(values, allow_nan=False)

    first = text()
    assert first == text()
    values = json.loads(first)
    assert values["predictions"][0]["model"] == "ViT-L-14"
    assert values["predictions"][0]["samples_seen"] == 10**9
    assert {r["threshold"] for r in values["record"]} == {1e10}


def test_the_papers_l14_runs_at_12_8b_fall_into_their_intervals(shared_dir: Path) -> None:
    """Measured at 79.2% (CLIP) and 80.34% (MaMMUT), and not in the table."""
    paper = load_config(LawSpec, find_file("fit", "paper-figure1"), ["table=null"])
    found = run_spec(paper, shared_dir / "data/paper/runs_datacomp_cosine.parquet")
    shapes = [Shape("ViT-L-14", 12_800_000_000), Shape("mammut_ViT-L-14", 12_800_000_000)]
    for one, accuracy in zip(predict_runs(found, shapes), (0.792, 0.8034), strict=True):
        assert one.measured is None
        assert one.beyond == pytest.approx(4.17, abs=0.01)
        assert one.lower < 1 - accuracy < one.upper
        assert one.frontier is not None and one.frontier.on_frontier
