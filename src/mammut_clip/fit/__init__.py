"""Scaling laws: results table -> frontier -> law -> held-out record and comparison -> figures and tables.

Loads numpy and pandas only; matplotlib comes in when a figure is drawn. docs/fitting.md shows what these names do.
"""

from mammut_clip.fit.bootstrap import Bootstrap
from mammut_clip.fit.columns import fit_law_csv
from mammut_clip.fit.compare import compare
from mammut_clip.fit.forms import FORMS, get_form
from mammut_clip.fit.frontier import frontier
from mammut_clip.fit.law import Law, fit_law
from mammut_clip.fit.procedure import Procedure
from mammut_clip.fit.run import FitReport, run_spec
from mammut_clip.fit.table import load_table
from mammut_clip.fit.tables import Table, to_csv, to_latex, to_markdown

__all__ = [
    "FORMS",
    "Bootstrap",
    "FitReport",
    "Law",
    "Procedure",
    "Table",
    "compare",
    "fit_law",
    "fit_law_csv",
    "frontier",
    "get_form",
    "load_table",
    "run_spec",
    "to_csv",
    "to_latex",
    "to_markdown",
]
