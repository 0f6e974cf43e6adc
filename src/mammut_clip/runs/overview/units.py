"""How values are shown: fractions as percentages, everything else as it is."""

from dataclasses import dataclass

import pandas as pd

from mammut_clip.config.errors import InputError


@dataclass(frozen=True)
class Unit:
    """The unit of a metric."""

    percent: bool = True
    """Values are fractions, shown as percentages with one decimal; others with three decimals."""
    lower_is_better: bool = False

    def show(self, value: float) -> str:
        """As it stands in a table."""
        return f"{100 * value:.1f}" if self.percent else f"{value:.3f}"

    @property
    def words(self) -> str:
        """For captions."""
        return "Percentages" if self.percent else "Values as measured"


_LOSS = Unit(percent=False, lower_is_better=True)
UNITS = {
    "loss": _LOSS,
    "contrastive_loss": _LOSS,
    "caption_loss": _LOSS,
    "CIDEr": Unit(percent=False),
    "pairs": Unit(percent=False),
}
"""Of the metrics that are no fractions; accuracies, recalls, precisions, mIoU, Bleu and ROUGE are."""


def unit_of(metric: str, rows: pd.DataFrame) -> Unit:
    """The unit of a metric. Raises InputError where fractions and other numbers stand in one column."""
    unit = UNITS.get(metric, Unit())
    outside = rows[(rows["value"] < 0) | (rows["value"] > 1)]
    if unit.percent and len(outside):
        row = outside.iloc[0]
        raise InputError(
            f"{row['task']} {metric} of run {row['run']} = {row['value']:g}: expected a fraction from 0 to 1, as "
            f"{len(rows) - len(outside)} of these {len(rows)} values are; mixed units cannot stand in one table"
        )
    return unit
