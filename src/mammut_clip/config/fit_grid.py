"""What specs of two variables share: runs of several model sizes and numbers of samples, as points of a grid."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mammut_clip.config.base import Config
from mammut_clip.config.fit import ResidualName
from mammut_clip.config.fit_rows import RowSpec

SizeName = Literal["gflops_per_sample", "params"]
SurfaceName = Literal["chinchilla", "interaction", "bounded"]


class CellBootstrap(Config):
    """How uncertainty is drawn: cells (model x samples seen) with replacement, everything anew from each draw."""

    count: Annotated[int, Field(ge=400, le=100_000)] = 1000
    """Number of draws; of fewer, the ends of an interval lie too far in (docs/fitting.md)."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the draws; the same seed gives the same interval."""


class Surface(Config):
    """A joint law E(N, D) of model size and samples, and what is minimised to fit it."""

    form: SurfaceName = "bounded"
    """chinchilla: E + A N^-alpha + B D^-beta. interaction: E + ((A N^-alpha)^p + (B D^-beta)^p)^(1/p). bounded:
    e0 s / (1 + s^2)^(1/2) with s = E + A N^-alpha + B D^-beta, for errors, which cannot rise above chance."""
    error_at_zero: Annotated[float, Field(gt=0)] = 1.0
    """e0 of `bounded`: the error of guessing, such as 0.999 for 1,000 classes."""
    residuals: ResidualName = "log"
    """raw: y - E(N, D). log: log y - log E(N, D), relative errors count alike. logit: of log(y / (1 - y))."""
    huber_delta: Annotated[float, Field(gt=0)] | None = None
    """Huber's loss beyond residuals of this size, in the units of `residuals`; squares where it is not given."""


class GridSpec(RowSpec):
    """Rows of a table as runs of a model size and a number of samples."""

    x: Literal["gflops_paper", "gflops_exact"] = "gflops_paper"
    """The compute of a run."""
    size: SizeName = "gflops_per_sample"
    """Model size. gflops_per_sample: compute per sample, compute = size x samples exactly. params: the column of that
    name, whose ratio to compute differs from patch size to patch size."""
    flop_per_size_sample: Annotated[float, Field(gt=0)] | None = None
    """For tables with compute and `params` but no column of samples: samples = FLOP / (this x params). 6 for language
    models, forward and backward."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Probability that an interval is meant to contain what it is for."""
    bootstrap: CellBootstrap = CellBootstrap()
    """How intervals are made."""

    @model_validator(mode="after")
    def _samples_follow_from_params(self) -> Self:
        if self.flop_per_size_sample is not None and self.size != "params":
            raise ValueError(f"flop_per_size_sample belongs to size: params, not to {self.size}")
        return self
