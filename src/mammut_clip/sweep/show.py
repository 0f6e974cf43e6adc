"""Plans, progress and states of sweeps as tables on a terminal."""

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
    table = _table(f"{plan.sweep}: {len(plan.runs)} runs", ["run"])
    on_gpus = plan.cluster.gpus_per_node > 0
    _numbers(table, ["samples", "steps", "params", "GFLOPs\npaper", "GFLOPs\nexact"])
    _numbers(table, [*(["GPUs"] if on_gpus else []), "time", _hours_name(plan)])
    for run in plan.runs:
        table.add_row(
            run.id,
            format_quantity(run.config.samples_seen),
            f"{run.steps:,}",
            f"{run.params / 1e6:.3g}M",
            f"{run.gflops_paper:.3g}",
            f"{run.gflops_exact:.3g}",
            *([str(run.gpus)] if on_gpus else []),
            format_duration(run.seconds),
            f"{_hours(plan, run):.2g}",
        )
    return table


def totals_table(plan: Plan) -> Table:
    """Sums per family, per model, and over all."""
    table = _table("totals", ["of"])
    _numbers(table, ["runs", "samples", "GFLOPs\npaper", "GFLOPs\nexact", _hours_name(plan)])
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
    table = _table(f"{status.sweep}: {counts}", ["run", "state"])
    _numbers(table, ["samples", "of", "loss", "attempts"])
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


def print_plan(plan: Plan, console: Console | None = None) -> None:
    """The runs and the totals, on standard output."""
    console = console or Console()
    console.print(plan_table(plan))
    console.print(totals_table(plan))


def print_status(status: SweepStatus, console: Console | None = None) -> None:
    """The runs of a sweep, on standard output."""
    (console or Console()).print(status_table(status))


def launch_progress(plan: Plan, console: Console | None = None) -> "LaunchDisplay":
    """The display of a launch of this plan, on standard error; a context manager, and the `progress` of `launch`."""
    return LaunchDisplay(console or Console(stderr=True), plan.sweep)


class LaunchDisplay:
    """A progress report for `launch`: one bar over all samples and the runs that train now.

    `with launch_progress(plan) as progress: launch(plan, root, progress=progress)`. Where the console is no terminal,
    a line is printed instead, at most every `line_seconds`.
    """

    def __init__(self, console: Console, sweep: str, line_seconds: float = 15.0) -> None:
        self._sweep = sweep
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._line_seconds = line_seconds
        self._next_line = 0.0
        self._said_all = False

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
            self._live.update(_panel(self._sweep, snapshot))
        elif snapshot.elapsed_seconds >= self._next_line or (_is_over(snapshot) and not self._said_all):
            self._next_line = snapshot.elapsed_seconds + self._line_seconds
            self._said_all = _is_over(snapshot)
            self._console.print(_summary(self._sweep, snapshot), soft_wrap=True)


def _is_over(snapshot: Snapshot) -> bool:
    return snapshot.finished + snapshot.failed == snapshot.runs


def _summary(sweep: str, snapshot: Snapshot) -> Text:
    parts = [f"{snapshot.finished} of {snapshot.runs} runs finished"]
    if snapshot.failed:
        parts.append(f"{snapshot.failed} failed")
    parts.append(f"{100 * snapshot.samples_seen / max(1, snapshot.total_samples):.1f}% of samples")
    parts.append(f"{format_duration(snapshot.elapsed_seconds)} elapsed")
    if snapshot.eta_seconds is not None and not _is_over(snapshot):
        parts.append(f"about {format_duration(snapshot.eta_seconds)} left")
    if snapshot.note:
        parts.append(snapshot.note)
    return Text(f"{sweep}: " + ", ".join(parts))


def _panel(sweep: str, snapshot: Snapshot) -> RenderableType:
    running = Table.grid(padding=(0, 2))
    for run in snapshot.running[:12]:
        loss = "" if run.loss is None else f"loss {run.loss:.4f}"
        running.add_row(f"  {run.id}", f"{100 * run.samples_seen / run.total_samples:.0f}%", loss)
    bar = ProgressBar(total=snapshot.total_samples, completed=snapshot.samples_seen, width=60)
    return Group(_summary(sweep, snapshot), bar, running)


def _table(title: str, text_columns: list[str]) -> Table:
    """A table without lines: eight columns and a run's name fit on eighty characters."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for name in text_columns:
        table.add_column(name, no_wrap=True, overflow="ignore")
    return table


def _numbers(table: Table, names: list[str]) -> None:
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def _hours_name(plan: Plan) -> str:
    return "GPU-\nhours" if plan.cluster.gpus_per_node else "core-\nhours"


def _hours(plan: Plan, of: PlannedRun | Totals) -> float:
    return of.gpu_hours if plan.cluster.gpus_per_node else of.core_hours
