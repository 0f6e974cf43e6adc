"""Start values of a joint fit: a grid over both exponents, with E, A and B eliminated in closed form."""

from itertools import combinations

import numpy as np

from mammut_clip.fit.joint.forms import ALPHA, BETA, JointForm
from mammut_clip.fit.residuals import Array, Space

STARTS = 8
_EXPONENTS = np.geomspace(0.05, 2.0, 8)
_TINY = 1e-12


def starts(form: JointForm, u: Array, v: Array, y: Array, space: Space) -> Array:
    """At most STARTS start values [S, P] (twice as many for a form with a further parameter): the best of the grid,
    one per neighbourhood. u, v [n]: centred log N and log D; y [n]."""
    alpha, beta = (side.ravel() for side in np.meshgrid(_EXPONENTS, _EXPONENTS, indexing="ij"))
    target, slope = form.linear_target(y)
    # To first order a residual is the one of the linear sum times these slopes, which keeps the elimination linear.
    weight = np.abs(space.slope(np.maximum(y, _TINY))) * slope
    basis = np.stack([np.exp(-alpha[:, None] * u), np.exp(-beta[:, None] * v), np.ones((len(alpha), len(u)))], axis=-1)
    linear, cost = non_negative(basis * weight[:, None], target * weight)
    logs = np.log(np.maximum(linear[:, :2], target.max() * 1e-6))
    theta = np.column_stack([logs[:, 0], np.log(alpha), logs[:, 1], np.log(beta), linear[:, 2]])
    chosen: list[int] = []
    for index in np.argsort(cost, kind="stable"):
        near = [np.abs(theta[index, [ALPHA, BETA]] - theta[other, [ALPHA, BETA]]).max() for other in chosen]
        if all(distance > 0.6 for distance in near):
            chosen.append(int(index))
        if len(chosen) == STARTS:
            break
    return form.starts(theta[chosen])


def non_negative(basis: Array, target: Array) -> tuple[Array, Array]:
    """Least squares of target [n] on basis [G, n, L] with coefficients >= 0: ([G, L], sum of squares [G]).

    Every subset of the columns is solved; the best solution without a negative coefficient is the answer.
    """
    count, _, width = basis.shape
    best, least = np.zeros((count, width)), np.full(count, float(target @ target))
    for size in range(1, width + 1):
        for columns in combinations(range(width), size):
            part = basis[:, :, columns]
            normal = np.swapaxes(part, 1, 2) @ part
            # A trace of the diagonal keeps columns that coincide solvable; it does not move a start.
            normal = normal + 1e-12 * np.einsum("gll->gl", normal)[:, :, None] * np.eye(size)
            found = np.linalg.solve(normal, np.einsum("gnl,n->gl", part, target)[..., None])[..., 0]
            cost = np.sum((np.einsum("gnl,gl->gn", part, found) - target) ** 2, axis=1)
            better = (found >= 0).all(axis=1) & (cost < least)
            best[better] = 0.0
            best[np.ix_(better, columns)] = found[better]
            least[better] = cost[better]
    return best, least
