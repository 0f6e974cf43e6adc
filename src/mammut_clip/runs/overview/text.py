"""Tables as text that people paste: CSV, Markdown, LaTeX."""

import csv
import io
from collections.abc import Sequence

from mammut_clip.config.quantity import format_quantity
from mammut_clip.runs.overview.pivot import OverviewTable

_NAMES = ("task", "metric", "dataset", "schedule", "family")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def to_csv(tables: Sequence[OverviewTable]) -> str:
    """One line per cell, with the value as measured, the number of recipes, the best run and whether it is bold."""
    lines: list[list[object]] = [[*_NAMES, "model", "samples", "value", "recipes", "run", "best"]]
    for table in tables:
        for model, cells, bold in zip(table.rows, table.cells, table.bold, strict=True):
            lines += [
                [*_names(table), model, samples, repr(cell.value), cell.runs, cell.run, int(best)]
                for samples, cell, best in zip(table.columns, cells, bold, strict=True)
                if cell is not None
            ]
    return _csv(lines)


def to_wide_csv(tables: Sequence[OverviewTable]) -> str:
    """One line per model of each table, with a column for every number of samples of any table."""
    columns = sorted({samples for table in tables for samples in table.columns})
    lines: list[list[object]] = [[*_NAMES, "model", *map(format_quantity, columns)]]
    for table in tables:
        for model, cells in zip(table.rows, table.cells, strict=True):
            found = {s: repr(cell.value) for s, cell in zip(table.columns, cells, strict=True) if cell is not None}
            lines.append([*_names(table), model, *(found.get(samples, "") for samples in columns)])
    return _csv(lines)


def to_markdown(tables: Sequence[OverviewTable]) -> str:
    """A heading, a table of GitHub's flavour and how to read it, for each."""
    return "\n".join(_markdown(table) for table in tables)


def to_latex(tables: Sequence[OverviewTable]) -> str:
    """A float with a booktabs tabular for each."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_latex(table) for table in tables)


def _names(table: OverviewTable) -> list[str]:
    return [table.task, table.metric, table.dataset, table.schedule, table.family]


def _csv(lines: list[list[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def _markdown(table: OverviewTable) -> str:
    lines = [["model", *table.headings], ["---", *("--:" for _ in table.columns)]]
    for model, cells, bold in zip(table.rows, table.cells, table.bold, strict=True):
        shown = [table.text(cell) for cell in cells]
        lines.append([_plain(model), *(f"**{s}**" if best else s for s, best in zip(shown, bold, strict=True))])
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"### {_plain(table.title)}\n\n{body}\n\n{_plain(table.caption)}\n"


def _plain(text: str) -> str:
    """Text in which Markdown finds nothing to render."""
    return "".join("\\" + character if character in "\\`*_[]<>|#~" else character for character in text)


def _latex(table: OverviewTable) -> str:
    lines = []
    for model, cells, bold in zip(table.rows, table.cells, table.bold, strict=True):
        shown = [table.text(cell, empty="--") for cell in cells]
        marked = [rf"\textbf{{{s}}}" if best else s for s, best in zip(shown, bold, strict=True)]
        lines.append(" & ".join([_escaped(model), *marked]) + r" \\")
    return "\n".join(
        [
            r"\begin{table}[ht]",
            r"\centering",
            rf"\caption{{{_escaped(table.title)}. {_escaped(table.caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
            r"\toprule",
            " & ".join(["Model", *map(_escaped, table.headings)]) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
