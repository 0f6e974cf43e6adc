"""How laws are compared with one another: where, at which errors, how far beyond the data, against whom."""

from typing import Annotated

from pydantic import Field

from mammut_clip.config.base import Config

Positive = Annotated[float, Field(gt=0)]


class CompareConfig(Config):
    """What is asked of a comparison, beside what the data range alone decides."""

    at: tuple[Positive, ...] = ()
    """x (compute or samples) at which differences and multipliers are reported, beside the largest x that both groups
    of a pair were measured at."""
    errors: tuple[Positive, ...] = ()
    """Errors (0.25 for an accuracy of 75%) at which multipliers are reported: how much more x one group needs to reach
    them."""
    beyond: Annotated[float, Field(ge=1, le=1e6)] = 1e3
    """Laws are followed this factor below and above everything measured, to see crossings that the data cannot show."""
    reference: str | None = None
    """The group that figures show the others against; the first one where it is not given."""
