"""The surfaces E(N, D) a joint law can be, each with its derivatives.

N: model size, D: samples seen. Every form is built from a term in N and one in D, A N^-alpha and B D^-beta, and is
fitted in internal parameters in which the problem is well scaled: the logarithms of both terms at the geometric means
of the data, of both exponents, and E. `natural` turns them into the parameters people write.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from mammut_clip.config.fit_grid import Surface
from mammut_clip.fit.residuals import Array

TERM_N, ALPHA, TERM_D, BETA, FLOOR = range(5)
"""Places of the internal parameters that all forms have: log terms, log exponents, E."""
_LOG_EXPONENT = (float(np.log(1e-3)), float(np.log(10.0)))


class JointForm(ABC):
    """A family of surfaces y = f(N, D; parameters) that fall in both.

    Shapes: S problems (starts, draws), n points, P parameters. u, v [n]: log N and log D less their means.
    """

    name: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]] = ("A", "alpha", "B", "beta", "E")
    """Natural parameters, in the order of the internal ones."""

    @abstractmethod
    def value_and_jacobian(self, theta: Array, u: Array, v: Array) -> tuple[Array, Array]:
        """[S, n] of theta [S, P], and its derivatives by the internal parameters [S, n, P]."""

    def linear_target(self, y: Array) -> tuple[Array, Array]:
        """What E + A N^-alpha + B D^-beta has to be [n] where the surface is y [n], and the derivative of y by it."""
        return y, np.ones_like(y)

    def bounds(self, y: Array) -> tuple[Array, Array]:
        """Lower and upper bounds [P] of the internal parameters, wide enough that data rarely meet them."""
        top = float(self.linear_target(y)[0].max())
        level = (np.log(top) - 40.0, np.log(top) + 10.0)
        lower = np.array([level[0], _LOG_EXPONENT[0], level[0], _LOG_EXPONENT[0], 0.0])
        return lower, np.array([level[1], _LOG_EXPONENT[1], level[1], _LOG_EXPONENT[1], top])

    def starts(self, theta: Array) -> Array:
        """Start values [G, P] from the five parameters [G, 5] that fit best with E + A N^-alpha + B D^-beta."""
        return theta

    def natural(self, theta: Array, centre: tuple[float, float]) -> Array:
        """Natural parameters [S, P] of internal ones [S, P]; centre: means of log N and log D."""
        alpha, beta = np.exp(theta[:, ALPHA]), np.exp(theta[:, BETA])
        a = np.exp(theta[:, TERM_N] + alpha * centre[0])
        b = np.exp(theta[:, TERM_D] + beta * centre[1])
        return np.column_stack([a, alpha, b, beta, theta[:, FLOOR]])

    def sharpness(self, theta: Array) -> Array:
        """p [S] for which the surface falls where (A N^-alpha)^p + (B D^-beta)^p falls."""
        return np.ones(len(theta))


class Chinchilla(JointForm):
    """E + A N^-alpha + B D^-beta (Hoffmann et al. 2022, equation 10)."""

    name = "chinchilla"

    def value_and_jacobian(self, theta: Array, u: Array, v: Array) -> tuple[Array, Array]:
        in_n, in_d = _terms(theta, u, v)
        return theta[:, FLOOR, None] + in_n + in_d, _sum_jacobian(theta, in_n, in_d, u, v)


class Interaction(JointForm):
    """E + ((A N^-alpha)^p + (B D^-beta)^p)^(1/p).

    With E = 0 and p = 1/beta this is equation 1.5 of Kaplan et al. 2020, with p = 1 it is Chinchilla's; the larger p,
    the more the smaller of the two terms is hidden behind the larger.
    """

    name = "interaction"
    parameters = (*JointForm.parameters, "p")

    def value_and_jacobian(self, theta: Array, u: Array, v: Array) -> tuple[Array, Array]:
        log_n, log_d = _log_terms(theta, u, v)
        p = np.exp(theta[:, 5:6])
        total = np.logaddexp(p * log_n, p * log_d)
        share_n, share_d = np.exp(p * log_n - total), np.exp(p * log_d - total)
        both = np.exp(total / p)
        by_sum = _sum_jacobian(theta, both * share_n, both * share_d, u, v)
        by_p = both * (share_n * log_n + share_d * log_d - total / p)
        return theta[:, FLOOR, None] + both, np.concatenate([by_sum, by_p[..., None]], axis=-1)

    def bounds(self, y: Array) -> tuple[Array, Array]:
        lower, upper = super().bounds(y)
        return np.append(lower, np.log(0.05)), np.append(upper, np.log(50.0))

    def starts(self, theta: Array) -> Array:
        return np.concatenate([np.column_stack([theta, np.full(len(theta), np.log(p))]) for p in (1.0, 3.0)])

    def natural(self, theta: Array, centre: tuple[float, float]) -> Array:
        return np.column_stack([super().natural(theta, centre), np.exp(theta[:, 5])])

    def sharpness(self, theta: Array) -> Array:
        return np.asarray(np.exp(theta[:, 5]))


class Bounded(JointForm):
    """e0 s / sqrt(1 + s^2) with s = E + A N^-alpha + B D^-beta: small s is the error in units of e0, large s is chance.

    Rosenfeld et al. 2020, equation 5, whose scale of the transition is 1 here, since A, B and E take it up. The two
    terms interact near chance: a larger model does not help where there are too few samples to learn from.
    """

    name = "bounded"

    def __init__(self, error_at_zero: float) -> None:
        self.error_at_zero = error_at_zero

    def value_and_jacobian(self, theta: Array, u: Array, v: Array) -> tuple[Array, Array]:
        in_n, in_d = _terms(theta, u, v)
        s = theta[:, FLOOR, None] + in_n + in_d
        root = np.hypot(1.0, s)
        by_s = self.error_at_zero / root**3
        return self.error_at_zero * s / root, by_s[..., None] * _sum_jacobian(theta, in_n, in_d, u, v)

    def linear_target(self, y: Array) -> tuple[Array, Array]:
        # Measured errors may lie at or above chance, where s has no end.
        share = np.minimum(y / self.error_at_zero, 0.9995)
        root = np.sqrt(1.0 - share**2)
        return share / root, self.error_at_zero * root**3


def joint_form(surface: Surface) -> JointForm:
    """The form that a spec's surface names."""
    match surface.form:
        case "chinchilla":
            return Chinchilla()
        case "interaction":
            return Interaction()
        case "bounded":
            return Bounded(surface.error_at_zero)


def _log_terms(theta: Array, u: Array, v: Array) -> tuple[Array, Array]:
    """log A N^-alpha and log B D^-beta, both [S, n]."""
    in_n = theta[:, TERM_N, None] - np.exp(theta[:, ALPHA, None]) * u
    return in_n, theta[:, TERM_D, None] - np.exp(theta[:, BETA, None]) * v


def _terms(theta: Array, u: Array, v: Array) -> tuple[Array, Array]:
    log_n, log_d = _log_terms(theta, u, v)
    return np.exp(log_n), np.exp(log_d)


def _sum_jacobian(theta: Array, in_n: Array, in_d: Array, u: Array, v: Array) -> Array:
    """[S, n, 5]: derivatives of E + g(terms) where those of g by the logarithms of the terms are in_n and in_d."""
    by_alpha = -in_n * np.exp(theta[:, ALPHA, None]) * u
    by_beta = -in_d * np.exp(theta[:, BETA, None]) * v
    return np.stack([in_n, by_alpha, in_d, by_beta, np.ones_like(in_n)], axis=-1)
