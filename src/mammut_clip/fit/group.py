"""One group of a spec: its points, its law, its held-out record."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import LawSpec
from mammut_clip.fit.asked import Answer, answers
from mammut_clip.fit.bootstrap import Bootstrap
from mammut_clip.fit.estimate import Estimate
from mammut_clip.fit.frontier import CELL, cells_of, frontier
from mammut_clip.fit.heldout import HeldOutRecord, held_out_mask, predict_held_out
from mammut_clip.fit.law import Law
from mammut_clip.fit.procedure import Fitted, Procedure
from mammut_clip.fit.profile import Profile, profiles
from mammut_clip.fit.redraw import Redrawn, units_of
from mammut_clip.fit.table import ROW
from mammut_clip.fit.thresholds import ThresholdScore, threshold_score


@dataclass(frozen=True, eq=False)
class GroupFit:
    """One group: its points, its law, its held-out record."""

    name: str
    points: pd.DataFrame
    """Every selected row of the group, with x, error, and the bool columns `fitted` and `held_out`."""
    fitted: Fitted
    """The law, the other forms that were tried, and their record inside the fitted points."""
    held_out: tuple[HeldOutRecord, ...]
    thresholds: tuple[ThresholdScore, ...]
    """The same procedure with less compute."""
    asked: tuple[Answer, ...]
    """Predictions at the x that the spec asks for."""
    profiles: tuple[Profile, ...]
    """Likelihood intervals of the shown law's exponent and irreducible error."""

    @property
    def law(self) -> Law:
        """The law that is shown."""
        return self.fitted.law

    @property
    def estimate(self) -> Estimate:
        """What predictions, comparisons and figures are made from."""
        return self.fitted.estimate


@dataclass(frozen=True)
class Draws:
    """What the bootstrap of one group is drawn from."""

    seed: int
    units: tuple[str, ...]
    """Names of the cells of all groups, which paired draws share; empty for other methods."""


def fit_group(name: str, points: pd.DataFrame, spec: LawSpec, draws: Draws, source: str) -> GroupFit:
    """Fit and score one group's rows (with columns x and error). Raises InputError that names the group."""
    held = chosen = np.zeros(len(points), dtype=bool)
    try:
        held = held_out_mask(points, spec.held_out, name)
        chosen = _chosen(points, held, spec)
        fitted = _fit(points, held, chosen, spec, draws)
        records = predict_held_out(fitted.estimate, points, held, name, spec.level)
        asked = answers(fitted.estimate, spec.ask, spec.level)
        intervals = profiles(fitted.law.fit, spec.level)
        scores = tuple(s for t in spec.thresholds if (s := _at_threshold(name, points, t, spec, draws)) is not None)
    except InputError as error:
        kept = f"{len(points)} rows, {int(held.sum())} held out, {int(chosen.sum())} on the frontier"
        raise InputError(f"{source}: {spec.group} {name} ({kept}): {error}") from error
    return GroupFit(name, points.assign(fitted=chosen, held_out=held), fitted, records, scores, asked, intervals)


def cell_names(points: pd.DataFrame, group: str) -> list[str]:
    """Name [rows] of each row's cell, the same for the cells of two procedures that answer one another: scale and
    samples seen. A model's scale is its name without the prefix of its family (mammut_ViT-B-32 is ViT-B-32's)."""
    families = points["family"] if "family" in points else points[group]
    scales = [str(model).removeprefix(f"{family}_") for model, family in zip(points["model"], families, strict=True)]
    return [f"{scale} at {samples:g}" for scale, samples in zip(scales, points["samples_seen"], strict=True)]


def _chosen(points: pd.DataFrame, held: NDArray[np.bool_], spec: LawSpec) -> NDArray[np.bool_]:
    """Mask [rows] of the points that the law is fitted to."""
    seen = np.flatnonzero(~held)
    mask = np.zeros(len(points), dtype=bool)
    mask[seen[frontier(points.iloc[seen], "x", "error", spec.frontier)]] = True
    return mask


def _fit(
    points: pd.DataFrame, held: NDArray[np.bool_], chosen: NDArray[np.bool_], spec: LawSpec, draws: Draws
) -> Fitted:
    used = points[chosen]
    return Procedure.of(spec).fit(
        used["x"].to_numpy(),
        used["error"].to_numpy(),
        weights=None if spec.weights is None else used[spec.weights].to_numpy(dtype=np.float64),
        rows=used[ROW].tolist(),
        bootstrap=_bootstrap(points[~held], spec, draws),
    )


def _bootstrap(seen: pd.DataFrame, spec: LawSpec, draws: Draws) -> Bootstrap:
    how = spec.bootstrap
    if how.method == "residual":
        return Bootstrap(how.method, how.count, draws.seed)
    names = draws.units or tuple(seen[ROW])
    own = cell_names(seen, spec.group) if how.method == "cells" else list(seen[ROW])
    weights = np.ones(len(seen)) if spec.weights is None else seen[spec.weights].to_numpy(dtype=np.float64)
    # Only what a frontier looks at, as numbers: a thousand frontiers are taken of it.
    cells = {"model": cells_of(seen), "samples_seen": 0} if set(CELL) <= set(seen.columns) else {}
    small = pd.DataFrame({"x": seen["x"].to_numpy(), "error": seen["error"].to_numpy(), **cells})
    rows = Redrawn(
        x=seen["x"].to_numpy(dtype=np.float64),
        y=seen["error"].to_numpy(dtype=np.float64),
        weights=weights / weights.mean(),
        units=units_of(names, own),
        names=names,
        pick=lambda drawn: frontier(small.iloc[drawn], "x", "error", spec.frontier),
    )
    return Bootstrap(how.method, how.count, draws.seed, rows)


def _at_threshold(
    name: str, points: pd.DataFrame, threshold: float, spec: LawSpec, draws: Draws
) -> ThresholdScore | None:
    """None where the group has no point beyond the threshold."""
    held = points["x"].to_numpy(dtype=np.float64) > threshold
    if not held.any():
        return None
    if held.all():
        raise InputError(f"thresholds: {threshold:g}: every point has a larger x, nothing is left to fit")
    chosen = _chosen(points, held, spec)
    try:
        fitted = _fit(points, held, chosen, spec, draws)
        records = predict_held_out(fitted.estimate, points, held, name, spec.level)
    except InputError as error:
        raise InputError(f"thresholds: {threshold:g}: {error}") from error
    return threshold_score(name, threshold, int(chosen.sum()), records)
