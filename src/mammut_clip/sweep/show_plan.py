"""Plans of sweeps as text: one line per run, sums, and what may surprise."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mammut_clip.config.quantity import format_quantity
from mammut_clip.sweep.budget import format_hours
from mammut_clip.sweep.plan import Plan, PlannedRun, Totals
from mammut_clip.sweep.show import format_duration

_NAMED = 3
"""Runs that a warning is told with by name."""

_WARNINGS = 10
"""Warnings that are shown."""


@dataclass(frozen=True)
class _Column:
    """A column of the runs' table."""

    title: str
    """Two lines at most."""
    text: Callable[[PlannedRun], str]
    goes: int = 0
    """Where the terminal is too narrow, columns go in this order; 0: never."""
    left: bool = False
    """Whether it is text, and stands to the left."""


def print_plan(plan: Plan) -> None:
    """The plan on standard output, as wide as the terminal; a file or pipe gets all columns."""
    print(plan_text(plan, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))


def plan_text(plan: Plan, width: int | None = None) -> str:
    """The runs, the sums, checkpoints and time, and the warnings; None for any width.

    Columns that a terminal of `width` characters has no room for are left out, and named.
    """
    parts = [_runs(plan, width), _sums(plan), "\n".join(_summary(plan))]
    return "\n\n".join(parts)


def _runs(plan: Plan, width: int | None) -> str:
    columns = list(_columns(plan))
    cells = {column.title: [column.text(run) for run in plan.runs] for column in columns}
    dropped = []
    while width is not None and _width(columns, cells) > width and any(column.goes for column in columns):
        gone = min((column for column in columns if column.goes), key=lambda column: column.goes)
        columns.remove(gone)
        dropped.append(" ".join(gone.title.split("\n")))
    title = f"{plan.sweep}: {len(plan.runs)} runs"
    note = f"\n(no room for {', '.join(dropped)}; --json has all)" if dropped else ""
    rows = list(zip(*(cells[column.title] for column in columns), strict=True))
    return f"{title}\n{_table([column.title for column in columns], rows, [c.left for c in columns])}{note}"


def _columns(plan: Plan) -> Iterator[_Column]:
    yield _Column("run", lambda run: run.id, left=True)
    yield _Column("model", lambda run: run.config.model.name, goes=1, left=True)
    yield _Column("samples", lambda run: format_quantity(run.config.samples_seen))
    yield _Column("steps", lambda run: f"{run.steps:,}", goes=5)
    yield _Column("batch", lambda run: f"{run.config.global_batch_size:,}", goes=2)
    yield _Column("params", lambda run: f"{run.params / 1e6:.3g}M", goes=4)
    yield _Column("GFLOPs\npaper", lambda run: f"{run.gflops_paper:.3g}", goes=3)
    yield _Column("GFLOPs\nexact", lambda run: f"{run.gflops_exact:.3g}", goes=8)
    if plan.cluster.gpus_per_node:
        yield _Column("GPUs", lambda run: str(run.gpus))
    yield _Column("GB\neach", lambda run: "?" if run.memory_gb is None else f"{run.memory_gb:.3g}", goes=7)
    yield _Column("samples\nper s", lambda run: _rate(run.samples_per_second), goes=6)
    yield _Column("time", lambda run: format_duration(run.seconds))
    yield _Column(_hours_name(plan), lambda run: format_hours(_hours(plan, run)))


def _sums(plan: Plan) -> str:
    """Sums per family, model and samples seen, and over all."""
    titles = ["of", "runs", "samples", "GFLOPs\npaper", "GFLOPs\nexact", "checkpoints\nwritten", "kept", "disk"]
    groups = [
        (name, sums) for what in ("family", "model", "samples_seen") for name, sums in plan.totals_by(what).items()
    ]
    rows = [
        (
            name,
            str(sums.runs),
            f"{sums.samples_seen:.3g}",
            f"{sums.gflops_paper:.3g}",
            f"{sums.gflops_exact:.3g}",
            f"{sums.checkpoints_written:,}",
            f"{sums.checkpoints_kept:,}",
            _bytes(sums.checkpoint_bytes),
            format_hours(_hours(plan, sums)),
        )
        for name, sums in [*groups, ("all", plan.totals)]
    ]
    return "sums\n" + _table([*titles, _hours_name(plan)], rows, [True] + [False] * len(titles))


def _summary(plan: Plan) -> Iterator[str]:
    yield f"time: about {format_duration(plan.wall_seconds)}{_all_at_once(plan)}; the runs one after the other " + (
        format_duration(sum(run.seconds for run in plan.runs))
    )
    basis = {run.basis for run in plan.runs}
    yield "prices: " + "; ".join(text for name, text in _BASIS.items() if name in basis)
    if plan.left_out:
        names, spared = ", ".join(run.id for run in plan.left_out), sum(run.gpu_hours for run in plan.left_out)
        yield f"left out to stay within the budget: {names} ({format_hours(spared)} GPU-hours)"
    warnings = list(plan.warnings.items())
    for warning, runs in warnings[:_WARNINGS]:
        yield f"warning: {warning}{_of(runs)}"
    if len(warnings) > _WARNINGS:
        yield f"and {len(warnings) - _WARNINGS} more warnings; --json has all"


_BASIS = {
    "measured": "as the paper's runs of the same models on A100s, other GPUs by the ratio of peaks",
    "formula": "models that it did not measure by a formula from its runs",
    "efficiency": "by the cluster's peak_tflops and efficiency",
}


def _all_at_once(plan: Plan) -> str:
    return "" if plan.cluster.kind == "local" else " where no job waits in the queue"


def _of(runs: Sequence[str]) -> str:
    if not runs:
        return ""
    more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    return f" ({', '.join(runs[:_NAMED])}{more})"


def _width(columns: Sequence[_Column], cells: dict[str, list[str]]) -> int:
    return sum(1 + max(map(len, [*c.title.split("\n"), *cells[c.title]])) for c in columns) - 1


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    """Columns one space apart; titles of two lines stand on the rows."""
    heads = [["", *title.split("\n")][-2:] for title in titles]
    lines = [[head[0] for head in heads], [head[1] for head in heads], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if not any(lines[0]):
        lines = lines[1:]
    return "\n".join(
        " ".join(
            text.ljust(width) if is_left else text.rjust(width)
            for text, width, is_left in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in lines
    )


def _rate(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _bytes(number: int) -> str:
    """`38.4 GB`."""
    for factor, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB")):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number / 1e6:.3g} MB"


def _hours_name(plan: Plan) -> str:
    return "GPU-\nhours" if plan.cluster.gpus_per_node else "core-\nhours"


def _hours(plan: Plan, of: PlannedRun | Totals) -> float:
    return of.gpu_hours if plan.cluster.gpus_per_node else of.core_hours
