"""One self-contained HTML page of a sweep: what was trained, what it scored, its laws and how well they
predicted."""

from mammut_clip.report.data import LossCurve, Picture, ReportData
from mammut_clip.report.page import render_report, write_report

__all__ = ["LossCurve", "Picture", "ReportData", "render_report", "write_report"]
