"""A power law with one smooth break."""

from typing import ClassVar

import numpy as np

from mammut_clip.fit.forms.base import LOG_ALPHA, Array, Candidates, Form, fill_level, level_bounds, shift_bounds

_LOG_WIDTH = (np.log(0.05), np.log(5.0))


class BrokenPower(Form):
    """y = a x^c0 (1 + (x/b)^(1/f))^((c1 - c0) f): slope c0 far below b, c1 far above, over a width f in ln x.

    One break of the smoothly broken law of Caballero et al. 2022 (arXiv:2210.14891, equation 1), without a floor;
    c0, c1 < 0. Internal: log f(g), log(-c0), log(b/g), log(-c1), log f.
    """

    name = "broken_power"
    parameters: ClassVar[tuple[str, ...]] = ("a", "c0", "b", "c1", "f")
    formula = "a x^c0 (1 + (x/b)^(1/f))^((c1 - c0) f)"

    def value(self, theta: Array, x: Array) -> Array:
        before, after, width = (np.exp(theta[:, k : k + 1]) for k in (1, 3, 4))
        return np.exp(theta[:, :1] - before * np.log(x) - (after - before) * self._relative_bend(theta, x, width)[0])

    def jacobian(self, theta: Array, x: Array) -> Array:
        before, after, width = (np.exp(theta[:, k : k + 1]) for k in (1, 3, 4))
        value = BrokenPower.value(self, theta, x)
        bend, by_break, by_width = self._relative_bend(theta, x, width)
        turn = after - before
        columns = [
            np.ones_like(value),
            -before * (np.log(x) - bend),
            -turn * by_break,
            -after * bend,
            -turn * by_width * width,
        ]
        return value[..., None] * np.stack(columns, axis=-1)

    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        level, shift = level_bounds(y), shift_bounds(x)
        # A break outside the points is no break.
        inside = (max(shift[0], float(np.log(x.min()))), float(np.log(x.max())))
        lower = [level[0], LOG_ALPHA[0], inside[0], LOG_ALPHA[0], _LOG_WIDTH[0]]
        return np.array(lower), np.array([level[1], LOG_ALPHA[1], inside[1], LOG_ALPHA[1], _LOG_WIDTH[1]])

    def candidates(self, x: Array) -> Candidates:
        slopes = np.log([0.01, 0.05, 0.15, 0.4, 1.0])
        breaks = np.log(np.geomspace(x.min() * 2.0, x.max() / 2.0, 7))
        grid = np.stack(np.meshgrid(slopes, breaks, slopes, np.log([0.3, 1.0]), indexing="ij"), axis=-1).reshape(-1, 4)
        theta = np.column_stack([np.zeros(len(grid)), grid])
        return Candidates(theta, self.value(theta, x)[..., None], np.zeros((len(grid), len(x))))

    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        return fill_level(theta, coefficients)

    def natural(self, theta: Array, scale: float) -> Array:
        before, shift, after, width = np.exp(theta[1:5])
        bend = _bend(-theta[2], width)[0]
        log_a = theta[0] + before * np.log(scale) + (after - before) * bend
        return np.array([np.exp(log_a), -before, scale * shift, -after, width])

    def natural_jacobian(self, theta: Array, scale: float) -> Array:
        natural = self.natural(theta, scale)
        before, _, after, width = np.exp(theta[1:5])
        bend, by_break, by_width = _bend(-theta[2], width)
        full = np.diag(natural)
        turn = after - before
        full[0] = natural[0] * np.array(
            [1.0, before * (np.log(scale) - bend), turn * by_break, after * bend, turn * by_width * width]
        )
        return full

    def evaluate(self, params: dict[str, float], x: Array) -> Array:
        bend = params["f"] * np.logaddexp(0.0, np.log(x / params["b"]) / params["f"])
        return np.asarray(np.exp(np.log(params["a"]) + params["c0"] * np.log(x) + (params["c1"] - params["c0"]) * bend))

    @staticmethod
    def _relative_bend(theta: Array, x: Array, width: Array) -> tuple[Array, Array, Array]:
        """The bend less its value at g, so that log f(g) stays a parameter, with its derivatives; all [S, n]."""
        here = _bend(np.log(x) - theta[:, 2:3], width)
        at_scale = _bend(-theta[:, 2:3], width)
        return here[0] - at_scale[0], here[1] - at_scale[1], here[2] - at_scale[2]


def _bend(beyond: Array, width: Array) -> tuple[Array, Array, Array]:
    """f log(1 + (x/b)^(1/f)) with its derivatives by log b and by f; beyond: log(x/b)."""
    ratio = beyond / width
    soft = np.logaddexp(0.0, ratio)
    share = 0.5 * (1.0 + np.tanh(0.5 * ratio))
    return width * soft, -share, soft - ratio * share
