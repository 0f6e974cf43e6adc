"""Scaling laws: results table -> frontier -> law -> held-out record and comparison -> figures and tables.

Loads numpy and pandas only; matplotlib comes in when a figure is drawn.
"""

from mammut_clip.fit.best_of import BestOf, best_of
from mammut_clip.fit.bootstrap import Bootstrap
from mammut_clip.fit.columns import fit_law_csv, law_of_columns
from mammut_clip.fit.compare import Comparison, Comparisons, compare
from mammut_clip.fit.cost_of_law import LawCost, law_costs
from mammut_clip.fit.estimate import Estimate
from mammut_clip.fit.forms import FORMS, Form, get_form
from mammut_clip.fit.frontier import frontier
from mammut_clip.fit.heldout import HeldOutRecord
from mammut_clip.fit.law import Law, fit_law
from mammut_clip.fit.law_tables import held_out_table, law_table
from mammut_clip.fit.procedure import Fitted, Procedure
from mammut_clip.fit.run import FitReport, GroupFit, run_spec
from mammut_clip.fit.table import FilterCount, load_table, read_table, select
from mammut_clip.fit.tables import Table, to_csv, to_latex, to_markdown

__all__ = [
    "FORMS",
    "BestOf",
    "Bootstrap",
    "Comparison",
    "Comparisons",
    "Estimate",
    "FilterCount",
    "FitReport",
    "Fitted",
    "Form",
    "GroupFit",
    "HeldOutRecord",
    "Law",
    "LawCost",
    "Procedure",
    "Table",
    "best_of",
    "compare",
    "fit_law",
    "fit_law_csv",
    "frontier",
    "get_form",
    "held_out_table",
    "law_costs",
    "law_of_columns",
    "law_table",
    "load_table",
    "read_table",
    "run_spec",
    "select",
    "to_csv",
    "to_latex",
    "to_markdown",
]
