"""Which of the selected rows become the points of a law."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mammut_clip.config.base import Config

FrontierName = Literal["all", "best_per_cell", "bins", "non_dominated", "quantile", "paper"]


class Frontier(Config):
    """Which of the points a law is fitted to."""

    method: FrontierName = "non_dominated"
    """all: every row. best_per_cell: the lowest error of each model x samples seen. bins: the lowest error of
    each geometric bin of x, then only strictly decreasing ones. non_dominated: rows that none with less x
    beats. quantile: of each bin the row at a stated quantile of its errors. paper: the points of arXiv:2506.04598, with
    a mistake of theirs, to repeat their laws only."""
    bin_factor: Annotated[float, Field(gt=1)] | None = None
    """Ratio of the upper to the lower edge of a bin; for `bins` and `quantile`, 2 where it is not given."""
    bin_edge: Annotated[float, Field(gt=0)] | None = None
    """An x at which one bin begins, and others at it times every power of `bin_factor`; for `bins` and `quantile`, the
    smallest x of the group where it is not given."""
    quantile: Annotated[float, Field(gt=0, le=1)] | None = None
    """For `quantile`, needed there: 0.5 is the median run of a bin. Where it falls between two rows, the better."""

    @model_validator(mode="after")
    def _options_fit_method(self) -> Self:
        if self.method not in ("bins", "quantile"):
            for option in ("bin_factor", "bin_edge"):
                if getattr(self, option) is not None:
                    raise ValueError(f"{option} belongs to method: bins or quantile, not to {self.method}")
        if (self.quantile is not None) != (self.method == "quantile"):
            raise ValueError(f"quantile belongs to method: quantile and is needed there; the method is {self.method}")
        return self
