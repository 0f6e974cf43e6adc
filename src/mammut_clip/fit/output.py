"""The files of a fit: fit.json, points.csv, laws and held-out record as Markdown, CSV and LaTeX, the figure
as PDF and PNG.

The same report gives the same bytes.
"""

import json
from pathlib import Path

import pandas as pd

from mammut_clip.config.atomic import write_text
from mammut_clip.fit.figures import save_law_figure
from mammut_clip.fit.run import FitReport
from mammut_clip.fit.table import ROW
from mammut_clip.fit.tables import held_out_table, law_table, to_csv, to_latex, to_markdown


def write_fit(report: FitReport, out: Path) -> None:
    """Write every file of a report into the folder `out`, which is made where it is missing."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.to_json_dict(), indent=2, allow_nan=False)
    write_text(out / "fit.json", text + "\n")
    points = pd.concat([g.points for g in report.groups]).drop(columns=ROW)
    write_text(out / "points.csv", points.to_csv(index=False, lineterminator="\n"))
    tables = {"laws": law_table(report)}
    if report.held_out:
        tables["held_out"] = held_out_table(report)
    for name, table in tables.items():
        for suffix, written in (("md", to_markdown), ("csv", to_csv), ("tex", to_latex)):
            write_text(out / f"{name}.{suffix}", written(table))
    save_law_figure(report, out / "law")
