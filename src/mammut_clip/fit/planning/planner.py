"""Which run to make next: the one that narrows an interval most per GPU-hour.

    target = law_target(report, at=2.6e12, group="mammut")
    plan = plan_next(report, target, candidates, budget=20_000)

The target is a law, a difference of two laws, or the place where they cross (targets.py); what a run would remove of
its variance is the linear-Gaussian design's (design.py). Cells that were measured already, and cells whose shape the
frontier does not have, would not become points of the law: they are listed, not ranked.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.fit.group import GroupFit
from mammut_clip.fit.json_values import finite
from mammut_clip.fit.planning.candidates import Candidate
from mammut_clip.fit.planning.design import Design, affordable_sequence
from mammut_clip.fit.planning.joining import chances, is_picky, scatter, space_of
from mammut_clip.fit.planning.places import Place, places
from mammut_clip.fit.planning.predict import measured_cell
from mammut_clip.fit.planning.shape_line import FrontierShape, shape_line
from mammut_clip.fit.planning.targets import Target
from mammut_clip.fit.run import FitReport

Reason = Literal["no law of the target", "measured already", "off the frontier"]


@dataclass(frozen=True)
class Ranked:
    """A candidate that would be a point of one of the target's laws."""

    candidate: Candidate
    place: Place
    chance: float
    """That it becomes a point of the law, and is not beaten by runs that were measured."""
    share: float
    """Of the target's variance that it is expected to remove; 0 where the draws cannot tell it from nothing."""
    lower: float
    upper: float
    """Ends of the target's interval that are expected after it."""
    frontier: FrontierShape | None

    @property
    def share_per_hour(self) -> float:
        """What the ranking goes by."""
        return self.share / self.candidate.hours


@dataclass(frozen=True)
class NotRanked:
    """A candidate that would not be a point of the target's laws."""

    candidate: Candidate
    reason: Reason


@dataclass(frozen=True)
class Step:
    """One cell of the sequence that a budget pays for."""

    ranked: Ranked
    hours: float
    """Of this cell and those before."""
    lower: float
    upper: float
    """Ends of the target's interval that are expected after it."""


@dataclass(frozen=True, eq=False)
class NextRuns:
    """What to measure next, and what to expect of it."""

    target: Target
    ranked: tuple[Ranked, ...]
    """By variance removed per hour."""
    not_ranked: tuple[NotRanked, ...]
    budget: float | None
    sequence: tuple[Step, ...]
    """What the budget pays for, in the order in which to begin; empty without a budget."""

    def to_json_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        about = {"what": self.target.what, "groups": list(self.target.groups), "at": self.target.at}
        known = {"value": self.target.value, "level": self.target.level, **_ends(*self.target.ends())}
        return {
            "target": about | known,
            "candidates": [_plain(r) for r in self.ranked],
            "not_ranked": [_cell(n.candidate) | {"reason": n.reason} for n in self.not_ranked],
            "budget": self.budget,
            "sequence": [
                _cell(s.ranked.candidate)
                | {"group": s.ranked.place.group, "hours_so_far": s.hours, **_ends(s.lower, s.upper)}
                for s in self.sequence
            ],
        }


def plan_next(
    report: FitReport, target: Target, candidates: Sequence[Candidate], budget: float | None = None
) -> NextRuns:
    """Rank candidate cells by the share of the target's variance that each removes per hour; with a budget in hours,
    choose a sequence of them too.

    The report should have every point fitted (`predict.without_held_out`). Raises InputError as `places` does, and for
    candidates that cost nothing.
    """
    groups = {name: group for name in target.groups for group in report.groups if group.name == name}
    useful, useless = _sort_out(report, groups, candidates)
    if not useful:
        return NextRuns(target, (), tuple(useless), budget, ())
    at = [place for _, place, _ in useful]
    joining = _chances(report, groups, at)
    design = _design(report, groups, target, at, joining)
    hours = np.array([candidate.hours for candidate, _, _ in useful])
    shares = design.removed / design.variance
    ranked = [
        Ranked(candidate, place, chance, float(share), *target.ends(float(np.sqrt(1.0 - share))), shape)
        for (candidate, place, shape), chance, share in zip(useful, joining, shares, strict=True)
    ]
    steps: list[Step] = []
    left, spent = design, 0.0
    for index in affordable_sequence(design, hours, budget) if budget is not None else ():
        left, spent = left.after(index), spent + float(hours[index])
        steps.append(Step(ranked[index], spent, *target.ends(float(np.sqrt(left.variance / design.variance)))))
    order = sorted(ranked, key=lambda r: (-r.share_per_hour, r.candidate.hours))
    return NextRuns(target, tuple(order), tuple(useless), budget, tuple(steps))


_Useful = tuple[Candidate, Place, FrontierShape | None]


def _sort_out(
    report: FitReport, groups: dict[str, GroupFit], candidates: Sequence[Candidate]
) -> tuple[list[_Useful], list[NotRanked]]:
    """Candidates with their place in each law that they would be a point of, and those that would be in none."""
    spec = report.spec
    lines = {name: shape_line(group.points) for name, group in groups.items()}
    judged = spec.x != "samples_seen" and is_picky(spec)
    useful: list[_Useful] = []
    useless: list[NotRanked] = []
    for candidate in candidates:
        if candidate.hours <= 0:
            raise InputError(f"{candidate.shape}: expected a cost in hours above zero, got {candidate.hours:g}")
        reason: Reason | None = "no law of the target"
        for place in places(tuple(groups.values()), spec, candidate.shape):
            line, group = lines[place.group], groups[place.group]
            shape = None if line is None else line.judge(place.x, candidate.shape.samples_seen, spec.level)
            if measured_cell(group, candidate.shape) is not None:
                reason = "measured already"
            elif judged and shape is not None and not shape.on_frontier:
                reason = "off the frontier"
            else:
                reason = None
                useful.append((candidate, place, shape))
        if reason is not None:
            useless.append(NotRanked(candidate, reason))
    return useful, useless


def _chances(report: FitReport, groups: dict[str, GroupFit], at: Sequence[Place]) -> list[float]:
    """Of each place, that a run there becomes a point of its group's law."""
    found = [0.0] * len(at)
    for name, group in groups.items():
        own = [i for i, place in enumerate(at) if place.group == name]
        for i, chance in zip(own, chances(group, report.spec, [at[i] for i in own]), strict=True):
            found[i] = chance
    return found


def _design(
    report: FitReport, groups: dict[str, GroupFit], target: Target, at: Sequence[Place], joining: Sequence[float]
) -> Design:
    """Target and law at every place, in the space of the residuals, over the draws that have a target."""
    known = np.isfinite(target.draws)
    drawn = np.empty((int(known.sum()), len(at)))
    noise = np.empty(len(at))
    for name, group in groups.items():
        own = [i for i, place in enumerate(at) if place.group == name]
        if own:
            drawn[:, own] = space_of(group).forward(group.estimate.draws([at[i].x for i in own]))[known]
            noise[own] = scatter(group)
    return Design.of_draws(target.draws[known], drawn, noise, np.array(joining))


def _cell(candidate: Candidate) -> dict[str, Any]:
    shape = candidate.shape
    return {
        "model": shape.model,
        "samples_seen": shape.samples_seen,
        "runs": list(candidate.runs),
        "hours": candidate.hours,
    }


def _plain(ranked: Ranked) -> dict[str, Any]:
    return _cell(ranked.candidate) | {
        "group": ranked.place.group,
        "x": ranked.place.x,
        "chance": ranked.chance,
        "share_of_variance": ranked.share,
        "share_per_hour": ranked.share_per_hour,
        **_ends(ranked.lower, ranked.upper),
        "frontier": None if ranked.frontier is None else asdict(ranked.frontier),
    }


def _ends(lower: float, upper: float) -> dict[str, float | None]:
    """An interval; JSON has no infinity."""
    return {"lower": finite(float(lower)), "upper": finite(float(upper))}
