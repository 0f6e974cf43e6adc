"""How far a launch on this machine is, on a terminal."""

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mammut_clip.sweep.duration import format_duration
from mammut_clip.sweep.plan import Plan
from mammut_clip.sweep.progress import Snapshot


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
