"""Cells of text as tables that people paste: Markdown, CSV, LaTeX. What stands in them is said where it is found."""

import csv
import io
from dataclasses import dataclass

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
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": r"$<$", ">": r"$>$"}


@dataclass(frozen=True)
class Table:
    """Cells as text, ready for any format."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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


def with_error(value: float, error: float | None) -> str:
    """A value with its standard error, where it has one: 0.111 ± 0.012."""
    return f"{value:.4g}" if error is None else f"{value:.4g} ± {error:.2g}"


def yes(value: bool) -> str:
    """yes or no, which a report's page colours."""
    return "yes" if value else "no"


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
