"""Records as tables that people paste: Markdown, CSV, LaTeX."""

import csv
import io
from dataclasses import dataclass

from mammut_clip.config.quantity import format_quantity
from mammut_clip.fit.run import X_UNITS, FitReport

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


@dataclass(frozen=True)
class Table:
    """Cells as text, ready for any format."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def held_out_table(report: FitReport) -> Table:
    """Prediction, interval and measurement of each held-out run."""
    x, interval = X_UNITS[report.spec.x], f"{report.spec.level:.0%} interval"
    header = (
        report.spec.group,
        "model",
        "samples",
        x,
        "predicted",
        interval,
        "measured",
        "covered",
        "rel. error",
    )
    rows = tuple(
        (
            r.group,
            r.model,
            "" if r.samples_seen is None else format_quantity(r.samples_seen),
            f"{r.x:.3g}",
            f"{r.predicted:.4f}",
            f"{r.lower:.4f} to {r.upper:.4f}",
            f"{r.measured:.4f}",
            "yes" if r.covered else "no",
            f"{r.relative_error:+.1%}",
        )
        for r in report.held_out
    )
    return Table(header, rows)


def law_table(report: FitReport) -> Table:
    """Parameters, standard errors and quality of each group's law."""
    names = report.groups[0].law.fit.form.parameters
    rows = []
    for g in report.groups:
        values = [_with_error(g.law.params[p], g.law.se[p]) for p in names]
        flags = ", ".join(f"{p} at its bound" for p in g.law.at_bound) or "none"
        rows.append((g.name, g.law.form, *values, str(g.law.n), f"{g.law.rmse:.4f}", _yes(g.law.converged), flags))
    return Table((report.spec.group, "form", *names, "points", "rmse", "converged", "flags"), tuple(rows))


def to_markdown(table: Table) -> str:
    """A GitHub-flavoured Markdown table."""
    lines = [table.header, tuple("---" for _ in table.header), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines) + "\n"


def to_csv(table: Table) -> str:
    """Comma-separated text with a header."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([table.header, *table.rows])
    return buffer.getvalue()


def to_latex(table: Table) -> str:
    """A booktabs tabular."""
    lines = [" & ".join(_escape(cell) for cell in line) + r" \\" for line in (table.header, *table.rows)]
    body = [lines[0], r"\midrule", *lines[1:]]
    columns = "l" * len(table.header)
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.4g}" if error is None else f"{value:.4g} ± {error:.2g}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text).replace("±", r"$\pm$")
