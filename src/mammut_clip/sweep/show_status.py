"""The state of a sweep, and the history of a run, as plain text: thousands of lines in no time."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

from mammut_clip.config.quantity import format_quantity
from mammut_clip.runs.ends import End
from mammut_clip.sweep.duration import format_duration
from mammut_clip.sweep.status_rows import RunHistory, StatusRow, SweepStatus

FEW = 40
"""So many runs are all shown; of more, those that need a look and those that train."""
_SHOWN = 20
"""Lines for each of these two kinds, before the rest is counted."""
_NEED_A_LOOK = ("silent", "failed", "given_up")


def print_status(status: SweepStatus, *, all_rows: bool = False, file: TextIO | None = None) -> None:
    """A sweep, on standard output: its totals, and its runs, or those that matter where there are many."""
    out = file or sys.stdout
    print(*_summary(status), sep="\n", file=out)
    if all_rows or len(status.rows) <= FEW:
        _print_rows(status.rows, out)
        return
    _print_reasons([row for row in status.rows if _needs_a_look(row)], out)
    running = [row for row in status.rows if row.state == "running"]
    if running:
        print("\nrunning:", file=out)
        _print_rows(running[:_SHOWN], out)
        _print_rest(len(running), "--state running shows all", out)


def print_history(history: RunHistory, file: TextIO | None = None) -> None:
    """A run, on standard output: where it stands, how each attempt ended, and where its processes wrote."""
    out = file or sys.stdout
    _print_rows([history.row], out)
    if history.ends:
        print("\nends, earliest first:", file=out)
        header = ["ended", "work", "kind", "after", "job", "nodes", "attempt", "from", "to", "exit", "error"]
        _print_table(header, [_end_cells(end) for end in history.ends], out)
    else:
        print("\nno attempt has ended yet", file=out)
    if history.logs:
        print("\nlogs, newest first:", file=out)
        print(*(f"  {log}" for log in history.logs), sep="\n", file=out)


def _summary(status: SweepStatus) -> list[str]:
    counts = ", ".join(f"{number} {state}" for state, number in status.counts.items()) or "none in these states"
    unit = "GPU-hours" if status.on_gpus else "process-hours"
    lines = [f"{status.sweep}: {len(status.rows)} runs: {counts}; {status.hours:.3g} {unit} of training"]
    evaluations = status.evaluations
    if any(evaluations.values()):
        lines.append("evaluations: " + ", ".join(f"{number} {what}" for what, number in evaluations.items()))
    if status.paused:
        lines.append("paused: nothing is started until `sweep resume`")
    if status.queue_age is not None:
        answered = "" if status.queue_answered else "; Slurm did not answer then"
        lines.append(f"queue as it was {format_duration(status.queue_age)} ago{answered}")
    return lines


def _needs_a_look(row: StatusRow) -> bool:
    return row.state in _NEED_A_LOOK or row.evaluation_why is not None or (row.state == "queued" and row.has_problem)


def _print_reasons(rows: Sequence[StatusRow], out: TextIO) -> None:
    """What needs a look, those of one reason on one line: a broken node or dataset stops many runs alike."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        reasons.setdefault((row.state, _note(row)), []).append(row.id)
    if not reasons:
        return
    print("\nto be looked at:", file=out)
    often_first = sorted(reasons.items(), key=lambda item: -len(item[1]))
    lines = [(str(len(ids)), state, ids[0], note) for (state, note), ids in often_first[:_SHOWN]]
    _print_table(["runs", "state", "such as", "why"], lines, out)
    _print_rest(len(reasons), "--state STATE shows all", out)


def _print_rest(number: int, how: str, out: TextIO) -> None:
    if number > _SHOWN:
        print(f"... and {number - _SHOWN} more ({how})", file=out)


def _print_rows(rows: Sequence[StatusRow], out: TextIO) -> None:
    header = ["run", "state", "samples", "of", "loss", "samples/s", "left", "attempts", "hours", "evaluated", "note"]
    _print_table(header, [_cells(row) for row in rows], out)


def _cells(row: StatusRow) -> list[str]:
    evaluated = row.evaluations_done + row.evaluations_missing
    return [
        row.id,
        row.state,
        _short(row.samples_seen),
        _short(row.total_samples),
        "" if row.loss is None else f"{row.loss:.4f}",
        "" if row.samples_per_second is None else f"{row.samples_per_second:.3g}",
        "" if row.eta_seconds is None else format_duration(row.eta_seconds),
        str(row.attempts),
        f"{row.hours:.3g}",
        f"{row.evaluations_done}/{evaluated}" if evaluated else "",
        _note(row),
    ]


def _note(row: StatusRow) -> str:
    job = f"job {row.job}" if row.job is not None and row.state in ("running", "silent", "queued") else None
    error = None if row.state in ("finished", "running", "cancelled") else row.last_error
    if error is not None and row.why is not None and error in row.why:
        error = None
    evaluation = None if row.evaluation_why is None else f"evaluation: {row.evaluation_why}"
    return "; ".join(part for part in (job, row.why, error, evaluation) if part)


def _short(samples: int) -> str:
    """Three digits of it, as in 4.57M; a round number is whole."""
    digits = max(0, len(str(samples)) - 3)
    return format_quantity(round(samples, -digits))


def _end_cells(end: End) -> list[str]:
    return [
        datetime.fromtimestamp(end.ended).strftime("%Y-%m-%d %H:%M:%S"),
        end.work,
        end.kind,
        "" if end.began is None else format_duration(end.ended - end.began),
        "" if end.job is None else end.job + (f" restart {end.restart}" if end.restart else ""),
        end.nodes,
        "" if end.attempt is None else str(end.attempt),
        _short(end.samples_before),
        _short(end.samples_after),
        "" if end.exit_code is None else str(end.exit_code),
        " ".join((end.error or "").split()),
    ]


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO) -> None:
    """Columns of equal width, those left out in which nothing stands; the last is as wide as it is."""
    used = [column for column in range(len(header)) if any(row[column] for row in rows)]
    widths = [max(len(header[column]), *(len(row[column]) for row in rows)) for column in used]
    for row in (header, *rows):
        cells = [row[column].ljust(width) for column, width in zip(used, widths, strict=True)]
        print("  ".join(cells).rstrip(), file=out)
