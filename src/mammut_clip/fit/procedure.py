"""How points become an estimate: one form, the best of several, or several weighed; with the record of each.

fitted = Procedure("average").fit(x, y)
low, high = fitted.estimate.predict_interval(1e12)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import Choice, ExponentPrior, FormName, LawSpec, ResidualName
from mammut_clip.fit.bootstrap import RESIDUALS, Bootstrap
from mammut_clip.fit.checks import check_points
from mammut_clip.fit.estimate import Estimate
from mammut_clip.fit.forms import Array, Form, get_form
from mammut_clip.fit.law import Law, fit_law
from mammut_clip.fit.law_estimate import LawEstimate
from mammut_clip.fit.optimise import Objective
from mammut_clip.fit.rolling import RollingScore, rolling_scores
from mammut_clip.fit.several import SeveralForms


@dataclass(frozen=True, eq=False)
class Member:
    """One form that was tried on all points."""

    law: Law
    weight: float
    """Its share in the average, and in the draws that intervals are made of."""
    rolling: float | None
    """Root mean square over the cuts of its misses in the space of the residuals; None where no cut could be scored."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a procedure made of some points."""

    procedure: FormName
    """What was asked for: `auto`, `average` or a form."""
    estimate: Estimate
    law: Law
    """The law that is shown: the one form, the chosen one, or the one of largest weight."""
    members: tuple[Member, ...]
    """Every form that was tried."""
    scores: tuple[RollingScore, ...]
    """Their record inside the points, form by form and cut by cut."""
    left_out: tuple[str, ...]
    """Forms with more parameters than the points allow, each with the reason."""

    def record_json(self) -> dict[str, Any]:
        """Members and rolling record as plain JSON values."""
        return {
            "forms": [
                {
                    "form": m.law.form,
                    "params": m.law.params,
                    "weight": m.weight,
                    "rolling": m.rolling,
                    "aicc": m.law.aicc,
                    "at_bound": list(m.law.at_bound),
                }
                for m in self.members
            ],
            "cuts": [
                {"form": s.form, "cut": s.cut, "fitted": s.fitted, "predicted": s.predicted, "rmse": s.rmse}
                for s in self.scores
            ],
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True)
class Procedure:
    """Everything that is decided before the points are seen; the fields are those of `LawSpec`."""

    form: FormName = "average"
    error_at_zero: float = 1.0
    choice: Choice = field(default_factory=Choice)
    residuals: ResidualName | None = None
    huber_delta: float | None = None
    prior: ExponentPrior | None = None
    largest_error: float = np.inf
    """1 where y is an error and no loss: no interval reaches beyond."""

    @classmethod
    def of(cls, spec: LawSpec) -> "Procedure":
        """The procedure that a spec describes."""
        shared = (spec.form, spec.error_at_zero, spec.choice, spec.residuals, spec.huber_delta, spec.prior)
        return cls(*shared, largest_error=spec.largest_error)

    @property
    def objective(self) -> Objective:
        """What each fit minimises."""
        several = self.form in ("auto", "average")
        residuals: ResidualName = self.residuals or ("log" if several else "raw")
        prior = self.prior or (ExponentPrior() if several else None)
        return Objective(residuals, self.huber_delta, prior, self.largest_error)

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms that are tried."""
        names = self.choice.forms if self.form in ("auto", "average") else (self.form,)
        return tuple(get_form(name, self.error_at_zero) for name in names)

    def fit(
        self,
        x: Sequence[float] | Array,
        y: Sequence[float] | Array,
        *,
        weights: Array | None = None,
        rows: Sequence[str] | None = None,
        bootstrap: Bootstrap = RESIDUALS,
    ) -> Fitted:
        """Fit x [n] (compute or samples, positive) and y [n] (errors); weights [n]. `rows` names the points in errors.

        Raises InputError for points that cannot be fitted.
        """
        forms, left_out = self._fitting_forms(np.unique(np.asarray(x, dtype=np.float64)).size)
        xs, ys = check_points(x, y, forms[0], self.objective.residuals, rows)
        laws = [fit_law(xs, ys, f, objective=self.objective, weights=weights, rows=rows) for f in forms]
        scores = rolling_scores(xs, ys, forms, self.objective, self.choice.cuts, weights)
        rolling = [_over_cuts(scores, form.name) for form in forms]
        weights_of_forms = _weights(rolling)
        members = tuple(Member(*m) for m in zip(laws, weights_of_forms, rolling, strict=True))
        shown = _best(rolling, laws) if self.form == "auto" else int(np.argmax(weights_of_forms))
        estimate: Estimate = LawEstimate(laws[0], bootstrap)
        if len(laws) > 1:
            chosen = shown if self.form == "auto" else None
            estimate = SeveralForms(tuple(laws), weights_of_forms, bootstrap, chosen)
        return Fitted(self.form, estimate, laws[shown], members, scores, left_out)

    def _fitting_forms(self, distinct: int) -> tuple[tuple[Form, ...], tuple[str, ...]]:
        """The forms that leave a point to judge their scatter by, and words on the others. One form is taken as it
        is: its own error says what is wrong."""
        if len(self.forms) == 1:
            return self.forms, ()
        fitting = tuple(f for f in self.forms if len(f.parameters) < distinct)
        if not fitting:
            least = min(len(f.parameters) for f in self.forms) + 1
            raise InputError(f"form: {self.form} needs points at {least} different x at least, got {distinct}")
        words = tuple(
            f"{f.name} left out: {len(f.parameters)} parameters, points at {distinct} different x"
            for f in self.forms
            if f not in fitting
        )
        return fitting, words


def _over_cuts(scores: Sequence[RollingScore], form: str) -> float | None:
    mine = [s.rms_miss for s in scores if s.form == form]
    return float(np.sqrt(np.mean(np.square(mine)))) if mine else None


def _weights(rolling: Sequence[float | None]) -> tuple[float, ...]:
    """Shares in inverse proportion to the rolling error; equal where no cut could be scored."""
    known = [r for r in rolling if r is not None]
    inverse = 1.0 / np.maximum(known if len(known) == len(rolling) else np.ones(len(rolling)), 1e-12)
    return tuple((inverse / inverse.sum()).tolist())


def _best(rolling: Sequence[float | None], laws: Sequence[Law]) -> int:
    """The form with the least rolling error; where no cut could be scored, that with the fewest parameters."""
    return int(np.argmin([len(law.params) if r is None else r for r, law in zip(rolling, laws, strict=True)]))
