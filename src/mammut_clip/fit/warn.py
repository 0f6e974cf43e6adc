"""What a fitted law can hide that its parameters do not show."""

import numpy as np

from mammut_clip.fit.procedure import Fitted

_RISES = 1e-6
"""Correlation with log x from which a measurement rises: that of a constant is rounding."""


def law_warnings(fitted: Fitted, x: str, y: str) -> list[str]:
    """One sentence without a full stop for each thing to know of the law that is shown; x, y: what they are called."""
    law, said = fitted.law, list(fitted.left_out)
    log_x, values = np.log(law.fit.x), law.fit.y
    log_x, values = log_x - log_x.mean(), values - values.mean()
    if law.form != "line" and float(log_x @ values) > _RISES * float(np.linalg.norm(log_x) * np.linalg.norm(law.fit.y)):
        said.append(f"{y} rises with {x}, and laws fall: they are fitted to errors, not to accuracies")
    if law.at_bound:
        it = "it" if len(law.at_bound) == 1 else "them"
        said.append(f"{', '.join(law.at_bound)} of {law.form} at a bound: the points do not determine {it}")
    if not law.converged:
        said.append(f"{law.form}: the search did not end at an optimum (gradient {law.fit.gradient:.1g})")
    if law.fit.degrees_of_freedom < 1:
        said.append(
            f"{law.n} points and {len(law.params)} parameters: {law.form} passes through them whatever they are, so "
            "that nothing says how far off it is"
        )
    elif not fitted.scores:
        said.append("the points are too few, or too close in x, for a record of extrapolation: the law is untested")
    return said
