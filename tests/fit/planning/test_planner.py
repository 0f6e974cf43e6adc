"""Plans: the expected narrowing against refits to simulated data, the ranking, what is left out, budgets."""

import json
from dataclasses import replace

import numpy as np
import pytest

from known_runs import MODELS, SAMPLES, report, results
from mammut_clip.config.errors import InputError
from mammut_clip.fit import FitReport
from mammut_clip.fit.forms import get_form
from mammut_clip.fit.group import GroupFit
from mammut_clip.fit.optimise import Objective, fit_points
from mammut_clip.fit.planning import Candidate, Shape, cells, crossing_target, difference_target, law_target, plan_next
from mammut_clip.fit.planning.joining import scatter

GRID = [(f"{m}-{s}", Shape(m, s), s / 1e6) for m in ("ViT-B-32", "ViT-L-14", "mammut_ViT-L-14") for s in SAMPLES]


def one(model: str, samples: int, hours: float = 1.0) -> Candidate:
    return Candidate(Shape(model, samples), (f"{model}-{samples}",), hours)


def variances(group: GroupFit, at: float, added: float | None, repeats: int = 1500) -> float:
    """Variance of the log of the law's prediction at x = `at` over refits to simulated data: the fitted law as truth,
    its points, one more at x = `added`, and normal scatter."""
    law, used = group.law, group.points[group.points["fitted"]]
    x = np.append(used["x"].to_numpy(), [] if added is None else [added])
    truth = law.predict(x)
    fit = fit_points(x, truth, get_form("saturation_no_floor"), Objective("log"))
    # the same noise with the added point and without: only that point makes a difference
    noise = np.random.default_rng(9).normal(0, np.sqrt(scatter(group)), (repeats, len(used) + 1))[:, : len(x)]
    theta = fit.refit(truth * np.exp(noise), np.ones_like(noise)).theta
    return float(np.var(fit.model(theta, np.array([at]))[:, 0]))


def test_expected_narrowing_is_that_of_refits_to_simulated_data() -> None:
    found = report(results(penalty=0.0), frontier={"method": "all"}, bootstrap={"count": 4000})
    clip = found.groups[0]
    candidates = [one("ViT-L-14", s) for s in (10_000_000, 3_000_000_000, 30_000_000_000, 300_000_000_000)]
    plan = plan_next(found, law_target(found, 5e13, "clip"), candidates)
    now = variances(clip, 5e13, None)
    assert len(plan.ranked) == 4
    for ranked in plan.ranked:
        assert ranked.chance == 1.0
        after = variances(clip, 5e13, ranked.place.x)
        assert ranked.share == pytest.approx(1 - after / now, abs=0.06)
    shares = [r.share for r in sorted(plan.ranked, key=lambda r: r.place.x)]
    assert shares == sorted(shares) and shares[-1] > 0.3


def test_ranking_is_by_variance_removed_per_hour() -> None:
    found = report()
    target = law_target(found, 1e13, "mammut")
    asked = [one("mammut_ViT-L-14", s, s / 1e8) for s in (2 * 10**9, 4 * 10**9, 8 * 10**9)]
    plan = plan_next(found, target, asked)
    per_hour = [r.share / r.candidate.hours for r in plan.ranked]
    assert per_hour == sorted(per_hour, reverse=True) and per_hour[-1] > 0
    first, second = (r.candidate for r in plan.ranked[:2])
    dear = [replace(c, hours=1000 * c.hours) if c == first else c for c in asked]
    assert plan_next(found, target, dear).ranked[0].candidate == second
    low, high = plan.target.ends()
    assert all(low <= r.lower <= r.upper <= high for r in plan.ranked)
    assert plan.budget is None and plan.sequence == ()


def test_what_would_be_no_point_of_the_law_is_listed_with_its_reason() -> None:
    found = report()
    asked = [
        one("ViT-B-32", 10**9),
        one("ViT-L-14", 1_000_000),
        one("mammut_ViT-L-14", 10**9),
        one("ViT-L-14", 3 * 10**9),
    ]
    plan = plan_next(found, law_target(found, 1e13, "clip"), asked)
    assert [r.candidate.shape.samples_seen for r in plan.ranked] == [3 * 10**9]
    assert [(str(n.candidate.shape), n.reason) for n in plan.not_ranked] == [
        ("ViT-B-32 at 1B", "measured already"),
        ("ViT-L-14 at 1M", "off the frontier"),
        ("mammut_ViT-L-14 at 1B", "no law of the target"),
    ]
    nothing = plan_next(found, law_target(found, 1e13, "clip"), asked[:3], budget=100)
    assert nothing.ranked == () and nothing.sequence == () and len(nothing.not_ranked) == 3


def test_shapes_do_not_matter_where_every_cell_is_a_point() -> None:
    found = report(frontier={"method": "best_per_cell"})
    plan = plan_next(found, law_target(found, 1e13, "clip"), [one("ViT-L-14", 1_000_000)])
    assert len(plan.ranked) == 1 and plan.ranked[0].chance == 1.0


@pytest.mark.parametrize("kind", ["difference", "crossing"])
def test_runs_of_both_groups_narrow_what_lies_between_them(kind: str) -> None:
    found = report(results(noise=0.003, penalty=0.2))
    groups = ("clip", "mammut")
    target = crossing_target(found, *groups) if kind == "crossing" else difference_target(found, 1e13, *groups)
    plan = plan_next(found, target, [one("ViT-L-14", 3 * 10**9), one("mammut_ViT-L-14", 3 * 10**9)])
    assert {r.place.group for r in plan.ranked} == set(groups)
    assert all(0.01 < r.share < 1 for r in plan.ranked)


def test_a_budget_buys_a_sequence_that_narrows_step_by_step() -> None:
    found = report()
    target = law_target(found, 1e13, "mammut")
    candidates = [one("mammut_ViT-L-14", s, s / 1e8) for s in (2 * 10**9, 4 * 10**9, 8 * 10**9)]
    plan = plan_next(found, target, candidates, budget=70)
    assert len(plan.sequence) == 2 and plan.sequence[-1].hours <= 70
    widths = [high - low for low, high in [target.ends(), *((s.lower, s.upper) for s in plan.sequence)]]
    assert widths == sorted(widths, reverse=True)
    first = next(r for r in plan.ranked if r.candidate == plan.sequence[0].ranked.candidate)
    assert (plan.sequence[0].lower, plan.sequence[0].upper) == pytest.approx((first.lower, first.upper))
    everything = plan_next(found, target, candidates, budget=1e9)
    assert {s.ranked.candidate.shape for s in everything.sequence} == {c.shape for c in candidates}


def test_an_average_of_forms_can_be_planned_for() -> None:
    found: FitReport = report(form="average", residuals=None)
    plan = plan_next(found, law_target(found, 1e13, "clip"), [one("ViT-L-14", s * 10**9) for s in (2, 8)])
    near, far = sorted(plan.ranked, key=lambda r: r.place.x)
    assert 0 < near.share < far.share


def test_json_repeats_and_has_no_infinity() -> None:
    def text() -> str:
        found = report()
        plan = plan_next(found, difference_target(found, 1e13, "clip", "mammut"), cells(GRID), budget=5000)
        return json.dumps(plan.to_json_dict(), allow_nan=False)

    values = json.loads(text())
    assert text() == json.dumps(values)
    listed = len(values["candidates"]) + len(values["not_ranked"])
    assert listed == len(GRID) and set(MODELS) & {n["model"] for n in values["not_ranked"]}
    assert values["target"]["groups"] == ["clip", "mammut"]


def test_a_run_that_costs_nothing_is_refused() -> None:
    found = report()
    with pytest.raises(InputError, match="ViT-L-14 at 1B: expected a cost"):
        plan_next(found, law_target(found, 1e13, "clip"), [one("ViT-L-14", 10**9, 0.0)])
