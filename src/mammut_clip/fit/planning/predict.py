"""What the laws of a spec say about runs that are planned.

    report = run_spec(without_held_out(spec), table)
    predictions = predict_runs(report, [Shape("mammut_ViT-L-14", 12_800_000_000)])

A prediction comes with how far beyond the measured runs it reaches, and with whether a run of that shape would be on
the frontier at all.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.quantity import format_quantity
from mammut_clip.fit.group import GroupFit
from mammut_clip.fit.joint import JointLaw
from mammut_clip.fit.planning.places import Place, Shape, check_groups, places
from mammut_clip.fit.planning.run_law import RunPrediction, predict_run, run_law
from mammut_clip.fit.planning.shape_line import FrontierShape, ShapeLine, shape_line
from mammut_clip.fit.run import X_UNITS, FitReport
from mammut_clip.fit.thresholds import ThresholdScore, threshold_score

_ROUNDING = 1 + 1e-9
"""GFLOPs per sample times samples need not give the last digit of a table's total."""


@dataclass(frozen=True)
class Prediction:
    """A planned run under the law of one group."""

    place: Place
    predicted: float
    """Error by the law."""
    lower: float
    upper: float
    """Ends of the interval for the run's own measurement."""
    law_lower: float
    law_upper: float
    """Ends of the interval for the law itself."""
    x_min: float
    x_max: float
    """The points that the law was fitted to."""
    frontier: FrontierShape | None
    """None where the table does not tell models and samples, and for laws in samples seen."""
    run: RunPrediction | None
    """The run itself by the joint law of size and samples; None where the table does not tell them."""
    measured: float | None
    """The best run of this very cell in the table."""

    @property
    def beyond(self) -> float:
        """By what factor its x lies outside the fitted points; 1 within."""
        factor = max(self.place.x / self.x_max, self.x_min / self.place.x)
        return factor if factor > _ROUNDING else 1.0

    @property
    def extrapolated(self) -> bool:
        """Its x lies outside the fitted points."""
        return self.beyond > 1.0

    def sentence(self, unit: str, level: float) -> str:
        """The prediction in plain words."""
        place = self.place
        text = (
            f"{place.shape} by the law of {place.group}: error {self.predicted:.4f}, {level:.0%} interval "
            f"{self.lower:.4f} to {self.upper:.4f}, at {place.x:.3g} {unit}"
        )
        if self.extrapolated:
            side = "above the largest" if place.x > self.x_max else "below the smallest"
            text += f", {self.beyond:.2g} times {side} fitted point"
        text += "."
        parts = [text]
        if self.frontier is not None:
            parts.append(_of_shape(self.frontier))
        if self.run is not None:
            parts.append(_of_run(self.run, level))
        return " ".join(parts)

    def to_json_dict(self) -> dict[str, Any]:
        """The prediction as plain JSON values."""
        values = asdict(self)
        place = values.pop("place")
        del place["shape"]
        asked = {"model": self.place.shape.model, "samples_seen": self.place.shape.samples_seen}
        return {**asked, **place, **values, "extrapolated": self.extrapolated, "beyond": self.beyond}


def without_held_out(spec: LawSpec) -> LawSpec:
    """The same spec with every point fitted: nothing that is planned needs holding out."""
    return spec.model_copy(update={"held_out": None})


def predict_runs(report: FitReport, shapes: Sequence[Shape], only: Sequence[str] = ()) -> tuple[Prediction, ...]:
    """Each planned run under each law that speaks of it; `only`: these groups.

    Raises InputError as `places` does, and for a group that the spec does not have.
    """
    check_groups(report.groups, only)
    groups = {g.name: g for g in report.groups}
    shaped = {} if report.spec.x == "samples_seen" else groups
    lines = {name: shape_line(group.points) for name, group in shaped.items()}
    joint = {name: run_law(group, report.spec) for name, group in shaped.items()}
    found: list[Prediction] = []
    for shape in shapes:
        own = places(report.groups, report.spec, shape, only)
        if not own:
            told = ", ".join(only or groups)
            raise InputError(f"{shape.model}: its family has no runs among those of the laws asked: {told}")
        found += [_predict(groups[p.group], p, lines.get(p.group), joint.get(p.group), report.spec.level) for p in own]
    return tuple(found)


def records(report: FitReport) -> tuple[ThresholdScore, ...]:
    """How the laws of a spec did on runs that they did not see: those held out, and those beyond its thresholds."""
    found: list[ThresholdScore] = []
    for group in report.groups:
        if group.held_out:
            fitted = int(group.points["fitted"].sum())
            found.append(threshold_score(group.name, group.estimate.x_range[1], fitted, group.held_out))
        found += group.thresholds
    return tuple(found)


def to_json_dict(
    report: FitReport, predictions: Sequence[Prediction], scored: Sequence[ThresholdScore]
) -> dict[str, Any]:
    """Predictions and records as plain JSON values."""
    return {
        "x": report.spec.x,
        "level": report.spec.level,
        "predictions": [p.to_json_dict() for p in predictions],
        "record": [r.to_json_dict() for r in scored],
    }


def sentences(report: FitReport, predictions: Sequence[Prediction]) -> list[str]:
    """The predictions in plain words."""
    return [p.sentence(X_UNITS[report.spec.x], report.spec.level) for p in predictions]


def _predict(group: GroupFit, place: Place, line: ShapeLine | None, joint: JointLaw | None, level: float) -> Prediction:
    estimate, at = group.estimate, [place.x]
    lower, upper = estimate.predict_interval(at, level)
    law_lower, law_upper = estimate.law_interval(at, level)
    return Prediction(
        place=place,
        predicted=float(estimate.predict(at)[0]),
        lower=float(lower[0]),
        upper=float(upper[0]),
        law_lower=float(law_lower[0]),
        law_upper=float(law_upper[0]),
        x_min=estimate.x_range[0],
        x_max=estimate.x_range[1],
        frontier=None if line is None else line.judge(place.x, place.shape.samples_seen, level),
        run=None if joint is None else predict_run(joint, place, level),
        measured=measured_cell(group, place.shape),
    )


def measured_cell(group: GroupFit, shape: Shape) -> float | None:
    """Least error of a cell that was measured; None for one that was not."""
    points = group.points
    if not {"model", "samples_seen"} <= set(points.columns):
        return None
    cell = points[(points["model"] == shape.model) & (points["samples_seen"] == shape.samples_seen)]
    return None if cell.empty else float(cell["error"].min())


def _of_shape(frontier: FrontierShape) -> str:
    least, most = (format_quantity(int(float(f"{end:.2g}"))) for end in (frontier.least, frontier.most))
    if frontier.on_frontier:
        return f"Its shape is one of the frontier's: {least} to {most} samples at this compute."
    which = "small" if frontier.factor > 1 else "large"
    return (
        f"Its model is too {which} for the frontier, whose runs see {least} to {most} samples at this compute: the law "
        "does not speak of it."
    )


def _of_run(run: RunPrediction, level: float) -> str:
    outside = " (outside the sizes or samples measured)" if run.extrapolated else ""
    best = format_quantity(int(float(f"{run.best_samples:.2g}")))
    return (
        f"By its size and samples{outside}: {run.predicted:.4f}, {level:.0%} interval {run.lower:.4f} to "
        f"{run.upper:.4f}; the best shape at this compute: {run.best:.4f}, with {best} samples."
    )
