"""Points that cannot be fitted are refused by name."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import ResidualName
from mammut_clip.fit.forms import Array, Form
from mammut_clip.fit.residuals import Space

_NOISE_ABOVE_CEILING = 1.05
"""Untrained models score a little below guessing now and then."""


def check_points(
    x: Sequence[float] | Array,
    y: Sequence[float] | Array,
    form: Form,
    residuals: ResidualName = "raw",
    rows: Sequence[str] | None = None,
) -> tuple[Array, Array]:
    """x and y as float arrays [n] fit for a fit. Raises InputError that names the rows which are not.

    Two rows with the same x and y are one row counted twice and refused, unless `rows` names them
    differently: runs that are known to be two may well agree.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.ndim != 1 or xs.shape != ys.shape:
        raise InputError(f"x and y must be two lists of one length, got shapes {xs.shape} and {ys.shape}")
    names = [f"row {i}" for i in range(len(xs))] if rows is None else list(rows)
    _refuse(~np.isfinite(xs), names, xs, "x is not a finite number")
    _refuse(~np.isfinite(ys), names, ys, "y is not a finite number")
    _refuse(xs <= 0, names, xs, "x must be positive")
    bad, expected = Space(residuals).problem(ys)
    _refuse(bad, names, ys, f"y {expected}")
    if form.ceiling is not None:
        above = ys > form.ceiling * _NOISE_ABOVE_CEILING
        said = f"{form.name} starts at error_at_zero = {form.ceiling:g} and cannot be fitted to larger y; state the "
        _refuse(above, names, ys, f"{said}error of guessing, or take a form without one, such as saturation")
    if rows is None or len(set(names)) < len(names):
        seen: dict[tuple[float, float], str] = {}
        for name, pair in zip(names, zip(xs.tolist(), ys.tolist(), strict=True), strict=True):
            if pair in seen:
                raise InputError(f"{name} repeats {seen[pair]}: the same x ({pair[0]:g}) and y ({pair[1]:g})")
            seen[pair] = name
    distinct, needed = len(np.unique(xs)), len(form.parameters)
    if distinct < needed:
        raise InputError(
            f"{form.name} has {needed} parameters ({', '.join(form.parameters)}) and needs at least {needed} "
            f"points at different x, got {len(xs)} points at {distinct}"
        )
    return xs, ys


def _refuse(bad: NDArray[np.bool_], names: list[str], values: Array, reason: str) -> None:
    where = np.flatnonzero(bad)
    if not where.size:
        return
    shown = ", ".join(f"{names[i]} ({values[i]:g})" for i in where[:8])
    more = f" and {where.size - 8} more" if where.size > 8 else ""
    raise InputError(f"{reason}: {shown}{more}")
