"""The run itself by the joint law of size and samples, beside the law of the frontier."""

from pathlib import Path

import numpy as np
import pytest

from known_runs import report, results
from mammut_clip.config.files import find_file
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.load import load_config
from mammut_clip.fit import run_spec
from mammut_clip.fit.group import GroupFit
from mammut_clip.fit.planning import Place, Shape
from mammut_clip.fit.planning.run_law import predict_run, run_law


def place(x: float, samples: int) -> Place:
    return Place(Shape("planned", samples), "clip", x, x / samples, "table")


def test_prediction_optimum_and_range_are_those_of_the_joint_law() -> None:
    found = report()
    law = run_law(found.groups[0], found.spec)
    assert law is not None
    one = predict_run(law, place(3e10, 10**9), 0.95)
    assert one is not None
    assert one.predicted == pytest.approx(float(law.predict(30.0, 1e9)))
    assert one.lower < one.predicted < one.upper
    samples = np.geomspace(1e7, 1e11, 4001)
    along = law.predict(3e10 / samples, samples)
    assert one.best == pytest.approx(along.min(), rel=1e-4)
    assert one.best_samples == pytest.approx(samples[along.argmin()], rel=0.02)
    assert not one.extrapolated
    for outside in (place(3e11, 10**10), place(1e12, 10**9)):
        beyond = predict_run(law, outside, 0.95)
        assert beyond is not None and beyond.extrapolated


def test_held_out_cells_are_not_seen() -> None:
    held = report(held_out={"above": 1e9})
    law = run_law(held.groups[0], held.spec)
    assert law is not None
    assert law.n == int((results().query("family == 'clip'")["gflops_paper"] <= 1e9).sum())


def test_no_law_without_cells_or_with_too_few() -> None:
    found = report()
    clip = found.groups[0]

    def with_points(group: GroupFit, points: object) -> GroupFit:
        return GroupFit(**{**vars(group), "points": points})

    assert run_law(with_points(clip, clip.points.drop(columns="model")), found.spec) is None
    assert run_law(with_points(clip, clip.points.iloc[:4]), found.spec) is None
    assert predict_run(run_law(clip, found.spec), Place(Shape("m", 9), "clip", 9.0, None, "samples"), 0.95) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("threshold", [1e10, 3e10])
@pytest.mark.parametrize(("metric", "chance"), [("imagenet1k_acc1", 0.999), ("ade20k_miou", 1.0)])
def test_on_the_papers_larger_runs_it_misses_less_than_the_law(
    metric: str, chance: float, threshold: float, shared_dir: Path
) -> None:
    """Over all measured cells beyond the threshold, well shaped or not; docs/fitting-planning.md has the numbers."""
    changes = ["table=null", "frontier.method=non_dominated", "form=average", f"error_at_zero={chance}"]
    changes += [f"columns.value={metric}", f"held_out.above={threshold}", "bootstrap.count=400"]
    paper = load_config(LawSpec, find_file("fit", "paper-figure1"), changes)
    found = run_spec(paper, shared_dir / "data/paper/runs_datacomp_cosine.parquet")
    for group in found.groups:
        law = run_law(group, found.spec)
        assert law is not None
        x, samples, predicted, measured = np.array(
            [(c.x, c.samples_seen, c.predicted, c.measured) for c in group.held_out]
        ).T
        assert len(x) > 15
        missed = law.predict(x / samples, samples) - measured
        assert np.sqrt(np.mean(missed**2)) < 0.75 * np.sqrt(np.mean((predicted - measured) ** 2))
