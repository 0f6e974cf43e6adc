"""What a report is made from. Whoever calls gathers it from run directories; nothing here reads one."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mammut_clip.fit.run import FitReport


@dataclass(frozen=True, eq=False)
class LossCurve:
    """The training loss of one run."""

    run: str
    family: str
    model: str
    samples: NDArray[np.float64]
    """[n] samples seen."""
    loss: NDArray[np.float64]
    """[n] total training loss."""


@dataclass(frozen=True)
class Picture:
    """One example picture."""

    image: bytes
    """A PNG or JPEG file."""
    caption: str
    """Plain text; a line break starts a new line."""


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything a page shows; parts that are empty are left out of it."""

    sweep: str
    results: pd.DataFrame
    """The results table: one row per run, checkpoint, task and metric."""
    fits: tuple[FitReport, ...] = ()
    curves: tuple[LossCurve, ...] = ()
    pictures: tuple[Picture, ...] = field(default=())
