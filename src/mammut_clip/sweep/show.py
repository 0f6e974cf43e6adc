"""Plans, progress and states of sweeps as tables on a terminal."""

from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mammut_clip.config.quantity import format_quantity
from mammut_clip.sweep.plan import Plan, PlannedRun, Totals
from mammut_clip.sweep.progress import Snapshot
from mammut_clip.sweep.status import SweepStatus


def format_duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3.4 h` or `12 d`."""
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            value = seconds / divisor
            return f"{value:.1f} {unit}" if value < 10 and unit != "s" else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.1f} d"


def plan_table(plan: Plan) -> Table:
    """One line per run: size, compute in both conventions, predicted time."""
    table = Table(title=f"{plan.sweep}: {len(plan.runs)} runs", title_justify="left")
    _columns(table, ["run", "model"], ["samples", "steps", "params", "GFLOPs paper", "GFLOPs exact"])
    _columns(table, [], ["GPUs", "time", _hours_name(plan)])
    for run in plan.runs:
        table.add_row(
            run.id,
            run.config.model.name,
            format_quantity(run.config.samples_seen),
            f"{run.steps:,}",
            f"{run.params / 1e6:.3g}M",
            f"{run.gflops_paper:.3g}",
            f"{run.gflops_exact:.3g}",
            str(run.gpus),
            format_duration(run.seconds),
            f"{_hours(plan, run):.3g}",
        )
    return table


def totals_table(plan: Plan) -> Table:
    """Sums per family, per model, and over all."""
    table = Table(title="totals", title_justify="left")
    _columns(table, ["of"], ["runs", "samples", "GFLOPs paper", "GFLOPs exact", _hours_name(plan)])
    groups = [*plan.totals_by("model").items(), *plan.totals_by("family").items(), ("all", plan.totals)]
    for name, totals in groups:
        table.add_row(
            name,
            str(totals.runs),
            f"{totals.samples_seen:.3g}",
            f"{totals.gflops_paper:.3g}",
            f"{totals.gflops_exact:.3g}",
            f"{_hours(plan, totals):.3g}",
        )
    return table


def status_table(status: SweepStatus) -> Table:
    """One line per run, and the counts."""
    counts = ", ".join(f"{number} {state}" for state, number in status.counts.items())
    table = Table(title=f"{status.sweep}: {counts}", title_justify="left")
    _columns(table, ["run", "state"], ["samples", "of", "loss", "attempts"])
    table.add_column("last error", overflow="fold")
    for row in status.rows:
        table.add_row(
            row.id,
            row.state,
            format_quantity(row.samples_seen),
            format_quantity(row.total_samples),
            "" if row.loss is None else f"{row.loss:.4f}",
            str(row.attempts),
            row.last_error or "",
        )
    return table


class LaunchDisplay:
    """A progress report for `launch`: one bar over all samples and the runs that train now.

    `with LaunchDisplay(console) as display: launch(plan, root, report=display)`. Where the console is no terminal, a
    line is printed instead, at most every `line_seconds`.
    """

    def __init__(self, console: Console, line_seconds: float = 15.0) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._line_seconds = line_seconds
        self._last_line = float("-inf")

    def __enter__(self) -> "LaunchDisplay":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, snapshot: Snapshot) -> None:
        if self._live:
            self._live.update(_panel(snapshot))
        elif snapshot.elapsed_seconds - self._last_line >= self._line_seconds or _is_over(snapshot):
            self._last_line = snapshot.elapsed_seconds
            self._console.print(_summary(snapshot), soft_wrap=True)


def _is_over(snapshot: Snapshot) -> bool:
    return snapshot.finished + snapshot.failed == snapshot.runs


def _summary(snapshot: Snapshot) -> Text:
    parts = [f"{snapshot.finished} of {snapshot.runs} runs finished"]
    if snapshot.failed:
        parts.append(f"{snapshot.failed} failed")
    parts.append(f"{100 * snapshot.samples_seen / max(1, snapshot.total_samples):.1f}% of samples")
    parts.append(f"{format_duration(snapshot.elapsed_seconds)} elapsed")
    if snapshot.eta_seconds is not None and not _is_over(snapshot):
        parts.append(f"about {format_duration(snapshot.eta_seconds)} left")
    if snapshot.note:
        parts.append(snapshot.note)
    return Text(", ".join(parts))


def _panel(snapshot: Snapshot) -> RenderableType:
    running = Table.grid(padding=(0, 2))
    for run in snapshot.running[:12]:
        loss = "" if run.loss is None else f"loss {run.loss:.4f}"
        running.add_row(f"  {run.id}", f"{100 * run.samples_seen / run.total_samples:.0f}%", loss)
    bar = ProgressBar(total=snapshot.total_samples, completed=snapshot.samples_seen, width=60)
    return Group(_summary(snapshot), bar, running)


def _columns(table: Table, left: Iterable[str], right: Iterable[str]) -> None:
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)


def _hours_name(plan: Plan) -> str:
    return "GPU-hours" if plan.cluster.gpus_per_node else "core-hours"


def _hours(plan: Plan, of: PlannedRun | Totals) -> float:
    return of.gpu_hours if plan.cluster.gpus_per_node else of.core_hours
