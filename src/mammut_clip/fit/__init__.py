"""Scaling laws: results table -> frontier -> law -> held-out record and comparison -> figures and tables.

Loads numpy and pandas only; matplotlib comes in when a figure is drawn.
"""

from mammut_clip.fit.bootstrap import Bootstrap
from mammut_clip.fit.compare import Comparison, compare
from mammut_clip.fit.forms import FORMS, Form, get_form
from mammut_clip.fit.frontier import frontier
from mammut_clip.fit.heldout import HeldOutRecord
from mammut_clip.fit.law import Law, fit_law
from mammut_clip.fit.run import FitReport, GroupFit, fit_law_csv, run_spec
from mammut_clip.fit.table import FilterCount, read_table, select
from mammut_clip.fit.tables import Table, held_out_table, law_table, to_csv, to_latex, to_markdown

__all__ = [
    "FORMS",
    "Bootstrap",
    "Comparison",
    "FilterCount",
    "FitReport",
    "Form",
    "GroupFit",
    "HeldOutRecord",
    "Law",
    "Table",
    "compare",
    "fit_law",
    "fit_law_csv",
    "frontier",
    "get_form",
    "held_out_table",
    "law_table",
    "read_table",
    "run_spec",
    "select",
    "to_csv",
    "to_latex",
    "to_markdown",
]
