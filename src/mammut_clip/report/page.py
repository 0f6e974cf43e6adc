"""ReportData -> one HTML file that needs nothing beside it: pictures are data URIs, there is no script and no
link.

A content security policy in the page forbids it to load anything, so that a mistake here cannot reach the
network.
"""

import base64
import html
import re
from pathlib import Path

from mammut_clip.config.atomic import write_text
from mammut_clip.config.errors import InputError
from mammut_clip.fit.law_tables import held_out_table, law_table, selection_table
from mammut_clip.fit.record_tables import record_table
from mammut_clip.fit.run import FitReport
from mammut_clip.fit.tables import Table
from mammut_clip.report.css import CSS
from mammut_clip.report.data import Picture, ReportData
from mammut_clip.report.plots import both_themes, law_plot, loss_plot, samples_plot
from mammut_clip.report.summary import summarise
from mammut_clip.report.tables import runs_table, scale_order

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_NUMBER = re.compile(r"^[-+]?[\d.]+(e[-+]?\d+)?([KMBT%]|)( (±|to) .*)?$")
_REQUIRED = (
    "run",
    "family",
    "model",
    "params",
    "samples_seen",
    "checkpoint_samples",
    "gflops_paper",
    "task",
    "metric",
    "value",
)


def write_report(path: Path, data: ReportData) -> None:
    """Write the page; a reader sees the old one or the new one, never half of it."""
    write_text(path, render_report(data))


def render_report(data: ReportData) -> str:
    """The page as text. Raises InputError for a results table without its columns, or a picture of another
    kind."""
    missing = [c for c in _REQUIRED if c not in data.results.columns]
    if missing and len(data.results):
        raise InputError(f"report of {data.sweep}: the results table has no column {', '.join(missing)}")
    order = scale_order(data.results, data.curves)
    sections = [_summary(data)]
    sections += [_law_section(report, order) for report in data.fits]
    if data.curves:
        figure = _figure(both_themes(loss_plot, data.curves, order), "training loss against samples seen", _LOSS_WORDS)
        sections.append(_section("Training", figure))
    if data.pictures:
        gallery = "".join(_picture(p) for p in data.pictures)
        sections.append(_section("Examples", f'<div class="gallery">{gallery}</div>'))
    if len(data.results):
        sections.append(_section("All runs", _table(runs_table(data.results, data.curves), tall=True)))
    title = html.escape(data.sweep)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}: runs and scaling laws</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{title}</h1>\n"
        '<p class="lead">Runs, zero-shot results and scaling laws of one sweep, by mammut-clip</p>\n'
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


_LOSS_WORDS = (
    "One line per run, averaged over short stretches; colour is the model scale. "
    "The loss of a captioning family is the weighted sum of its two losses and is not comparable with a contrastive "
    "loss alone."
)


def _summary(data: ReportData) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in summarise(data))
    return f'<div class="summary"><ul>{items}</ul></div>'


def _law_section(report: FitReport, order: list[str]) -> str:
    words = (
        "Filled points are the frontier that the law was fitted to, open points the other runs. "
        "The line is thick where it was fitted and thin beyond; "
        f"the shaded band is the {report.spec.level:.0%} prediction interval. "
        "Stars are held-out runs, which the fit did not see."
    )
    parts = [_figure(both_themes(law_plot, report), "error against compute with fitted laws", words)]
    if report.held_out:
        parts += ["<h3>Held-out runs: predicted and measured</h3>"]
        parts += [_table(held_out_table(report))]
    parts += ["<h3>Laws</h3>", _table(law_table(report))]
    parts += ["<h3>How well these forms extrapolate inside the fitted points</h3>", _table(record_table(report))]
    if all({"model", "samples_seen"} <= set(g.points.columns) for g in report.groups):
        parts += ["<h3>By samples seen</h3>"]
        by_samples = both_themes(samples_plot, report, order)
        parts += [_figure(by_samples, "error against samples seen", "The best run of each model scale at each budget.")]
    parts += ["<h3>Which rows</h3>", _table(selection_table(report))]
    return _section(report.spec.title or f"Law of {report.y_label}", "\n".join(parts))


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{body}\n</section>"


def _figure(themes: tuple[bytes, bytes], alt: str, words: str) -> str:
    light, dark = (_data_uri(svg, "image/svg+xml") for svg in themes)
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{html.escape(alt)}"></picture>'
        f"<figcaption>{html.escape(words)}</figcaption></figure>"
    )


def _picture(picture: Picture) -> str:
    if picture.image.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "image/png"
    elif picture.image.startswith(b"\xff\xd8\xff"):
        kind = "image/jpeg"
    else:
        raise InputError(f"report: the picture captioned {picture.caption[:60]!r} is neither PNG nor JPEG")
    caption = html.escape(picture.caption)
    source = _data_uri(picture.image, kind)
    return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _table(table: Table, tall: bool = False) -> str:
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.header)
    numeric = [any(cells) and all(_NUMBER.match(c) for c in cells if c) for cells in columns]

    def cell(tag: str, text: str, is_number: bool) -> str:
        kind = "number" if is_number else text if text in {"yes", "no"} else ""
        return f'<{tag} class="{kind}">{html.escape(text)}</{tag}>' if kind else f"<{tag}>{html.escape(text)}</{tag}>"

    def line(tag: str, cells: tuple[str, ...]) -> str:
        return "<tr>" + "".join(cell(tag, c, n) for c, n in zip(cells, numeric, strict=True)) + "</tr>"

    body = "\n".join(line("td", row) for row in table.rows)
    box = "scroll tall" if tall else "scroll"
    head = line("th", table.header)
    return f'<div class="{box}"><table><thead>{head}</thead><tbody>\n{body}\n</tbody></table></div>'
