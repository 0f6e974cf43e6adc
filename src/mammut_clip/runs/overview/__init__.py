"""Overview tables, as in the paper's appendix: model x samples seen, the best of all recipes in each cell.

Tidy rows of sweeps (runs/table.py) come in, typed tables go out, and from those text in several formats:

    read_results   folders and Parquet files -> rows
    overview       rows -> [OverviewTable]
    write_tables   tables -> files (CSV, Markdown, LaTeX, HTML)
"""

from mammut_clip.runs.overview.pivot import Cell, OverviewTable, overview
from mammut_clip.runs.overview.selection import Selection, read_results
from mammut_clip.runs.overview.terminal import print_tables
from mammut_clip.runs.overview.write import FORMATS, to_json, write_tables

__all__ = [
    "FORMATS",
    "Cell",
    "OverviewTable",
    "Selection",
    "overview",
    "print_tables",
    "read_results",
    "to_json",
    "write_tables",
]
