"""Tables as one self-contained HTML page: no scripts, nothing loaded from elsewhere, light or dark as the system is."""

from collections.abc import Sequence
from html import escape

from mammut_clip.runs.overview.pivot import Cell, OverviewTable

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

CSS = """
:root { color-scheme: light dark; --text: #1f2328; --soft: #59636e; --page: #ffffff; --line: #d8dbe0;
  --tint: #f5f7f9; --accent: #0072b2; --heat: 0 114 178; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --soft: #9aa4af; --page: #16191d; --line: #3a3f47;
  --tint: #1e2227; --accent: #56b4e9; --heat: 86 180 233; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
a { color: var(--accent); }
nav ul { columns: 26rem; padding-left: 1.1rem; margin: 0; font-size: .9rem; }
p { color: var(--soft); font-size: .875rem; max-width: 52rem; margin: .5rem 0 0; }
.scroll { overflow: auto; max-height: 80vh; border: 1px solid var(--line); border-radius: 4px; width: fit-content;
  max-width: 100%; }
table { border-collapse: separate; border-spacing: 0; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; white-space: nowrap; text-align: right; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { position: sticky; top: 0; background: var(--tint); color: var(--soft); font-weight: 600; z-index: 1; }
th:first-child { position: sticky; left: 0; background: var(--tint); text-align: left; font-weight: 500; }
thead th:first-child { z-index: 2; }
td { background: rgb(var(--heat) / var(--share, 0)); }
td.best { font-weight: 700; }
@media print { .scroll { max-height: none; border: 0; } main { max-width: none; padding: 0; } }
""".strip()


def to_html(tables: Sequence[OverviewTable]) -> str:
    """The page. A cell's colour grows with its place between the table's worst and best value; its tooltip says how
    many recipes there are and which is the best."""
    links = "\n".join(f'<li><a href="#t{n}">{escape(table.title)}</a></li>' for n, table in enumerate(tables))
    nav = f"<nav><ul>\n{links}\n</ul></nav>\n" if len(tables) > 1 else ""
    sections = "\n".join(_section(n, table) for n, table in enumerate(tables))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Evaluation overview</title>\n<style>\n{CSS}\n</style>\n</head>\n<body>\n<main>\n"
        f"<h1>Evaluation overview</h1>\n{nav}{sections}\n</main>\n</body>\n</html>\n"
    )


def _section(number: int, table: OverviewTable) -> str:
    headings = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in table.headings)
    body = "\n".join(
        f'<tr><th scope="row">{escape(model)}</th>'
        + "".join(_cell(table, cell, best) for cell, best in zip(cells, bold, strict=True))
        + "</tr>"
        for model, cells, bold in zip(table.rows, table.cells, table.bold, strict=True)
    )
    return (
        f'<section id="t{number}">\n<h2>{escape(table.title)}</h2>\n<div class="scroll"><table>\n'
        f'<thead><tr><th scope="col">model</th>{headings}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n'
        f"<p>{escape(table.caption)}</p>\n</section>"
    )


def _cell(table: OverviewTable, cell: Cell | None, best: bool) -> str:
    if cell is None:
        return "<td></td>"
    marked = ' class="best"' if best else ""
    tip = escape(f"{cell.runs} recipe{'s' * (cell.runs != 1)}, best: {cell.run}")
    return f'<td{marked} style="--share:{_share(table, cell.value):.2f}" title="{tip}">{table.text(cell)}</td>'


def _share(table: OverviewTable, value: float) -> float:
    """How much of the colour a value gets: 0 for the worst of the table, 0.4 for the best, where text stays clear."""
    values = [cell.value for row in table.cells for cell in row if cell]
    low, high = min(values), max(values)
    place = 0.0 if low == high else (value - low) / (high - low)
    return 0.4 * (1 - place if table.unit.lower_is_better else place)
