"""Points that a joint law can be fitted to; the others are refused by name."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mammut_clip.config.errors import InputError
from mammut_clip.fit.joint.forms import Bounded, JointForm
from mammut_clip.fit.residuals import Array, Space

_LARGEST_SHARE = 1.1
"""An error may scatter above chance, but not by more than a tenth: then it is no error, or chance is another value."""


def check_points(
    size: Sequence[float] | Array,
    samples: Sequence[float] | Array,
    y: Sequence[float] | Array,
    form: JointForm,
    space: Space,
    rows: Sequence[str] | None = None,
) -> tuple[Array, Array, Array]:
    """size, samples and y as float arrays [n] fit for a joint fit. Raises InputError that names the rows which are
    not."""
    n, d, e = (np.asarray(values, dtype=np.float64) for values in (size, samples, y))
    if n.ndim != 1 or not n.shape == d.shape == e.shape:
        raise InputError(f"size, samples and y must be lists of one length, got {n.shape}, {d.shape} and {e.shape}")
    names = [f"row {i}" for i in range(len(n))] if rows is None else list(rows)
    for what, values in (("size", n), ("samples", d)):
        _refuse(~np.isfinite(values) | (values <= 0), names, values, f"{what} must be a positive number")
    _refuse(~np.isfinite(e), names, e, "y is not a finite number")
    bad, expected = space.problem(e)
    _refuse(bad, names, e, f"y {expected}")
    if isinstance(form, Bounded):
        limit = form.error_at_zero
        _refuse(e > _LARGEST_SHARE * limit, names, e, f"form bounded: y lies far above error_at_zero = {limit:g}")
    for what, values in (("sizes", n), ("numbers of samples", d)):
        if len(distinct := np.unique(values)) < 3:
            raise InputError(f"{form.name} needs at least 3 different {what}, got {len(distinct)}")
    if len(np.unique(np.column_stack([n, d]), axis=0)) < len(form.parameters):
        raise InputError(
            f"{form.name} has {len(form.parameters)} parameters ({', '.join(form.parameters)}) and needs at least as "
            f"many different points, got {len(n)} rows"
        )
    return n, d, e


def _refuse(bad: NDArray[np.bool_], names: list[str], values: Array, reason: str) -> None:
    where = np.flatnonzero(bad)
    if where.size:
        shown = ", ".join(f"{names[i]} ({values[i]:g})" for i in where[:8])
        raise InputError(f"{reason}: {shown}" + (f" and {where.size - 8} more" if where.size > 8 else ""))
