"""`mammut-clip sweep`: plan, launch and follow a grid of runs."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mammut_clip.sweep.plan import Plan
    from mammut_clip.sweep.result import LaunchResult
    from mammut_clip.sweep.stored import Launched
    from mammut_clip.sweep.verbs import Done

app = typer.Typer(no_args_is_help=True, help="Plan, launch and follow a grid of runs.")

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds runs/<sweep>/<run>.")]
Folder = Annotated[Path, typer.Argument(help="runs/<sweep>, or the sweep's name below --runs.")]
RunNames = Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Names of runs.")]
Sweep = Annotated[str, typer.Argument(help="Name in sweeps/ or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides of the sweep file.")]
MaxGpuHours = Annotated[float | None, typer.Option(min=0, help="Refuse a sweep that would cost more.")]
Trim = Annotated[bool, typer.Option("--trim", help="Keep the cheapest runs that --max-gpu-hours pays for.")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


@app.command()
def plan(
    sweep: Annotated[str, typer.Argument(help="Name in sweeps/ or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of the sweep file.")
    ] = None,
    max_gpu_hours: Annotated[float | None, typer.Option(min=0, help="Refuse a sweep that would cost more.")] = None,
    trim: Annotated[bool, typer.Option("--trim", help="Keep the cheapest runs that --max-gpu-hours pays for.")] = False,
    as_json: Json = False,
) -> None:
    """The runs of a sweep and what they cost; nothing is started."""
    from mammut_clip.sweep.budget import within_budget
    from mammut_clip.sweep.plan import load_plan
    from mammut_clip.sweep.show_plan import print_plan
    from mammut_clip.sweep_data import check_data

    planned = within_budget(load_plan(sweep, overrides or []), max_gpu_hours, trim)
    _print_json(planned.to_json_dict()) if as_json else print_plan(planned)
    for problem in check_data(run.config for run in planned.runs):
        _say(f"warning: not found from here: {problem}")


@app.command()
def launch(
    sweep: Sweep,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    wait: Annotated[bool, typer.Option("--wait", help="On Slurm: stay until every job has ended.")] = False,
    max_gpu_hours: MaxGpuHours = None,
    trim: Trim = False,
    as_json: Json = False,
) -> None:
    """Start the runs that are not finished; run it again after anything, and only what is missing happens."""
    from mammut_clip.sweep.plan import load_plan

    _start(load_plan(sweep, overrides or []), runs, as_json, wait=wait, max_gpu_hours=max_gpu_hours, trim=trim)


@app.command()
def add(
    folder: Folder,
    sweep: Sweep,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    wait: Annotated[bool, typer.Option("--wait", help="On Slurm: stay until every job has ended.")] = False,
    max_gpu_hours: MaxGpuHours = None,
    trim: Trim = False,
    as_json: Json = False,
) -> None:
    """Add the runs of another sweep file, and start them; the sweep keeps its runs, cluster and policy."""
    from mammut_clip.config.sweep import load_sweep
    from mammut_clip.sweep.plan import make_plan

    launched = _launched(folder, runs)
    name, cluster = launched.stored.name, launched.stored.cluster
    config = load_sweep(sweep, [*(overrides or []), f"name={name}"])
    planned = make_plan(config, cluster, " ".join([sweep, *(overrides or [])]))
    root = launched.folder.path.parent
    _start(planned, root, as_json, wait=wait, max_gpu_hours=max_gpu_hours, trim=trim, grow=True)


def _start(
    planned: "Plan",
    runs: Path,
    as_json: bool,
    *,
    wait: bool,
    max_gpu_hours: float | None,
    trim: bool,
    grow: bool = False,
) -> None:
    from mammut_clip.config.errors import ConfigError
    from mammut_clip.sweep.budget import within_budget
    from mammut_clip.sweep.launch import launch as start
    from mammut_clip.sweep.show import launch_progress
    from mammut_clip.sweep_data import check_data

    planned = within_budget(planned, max_gpu_hours, trim)
    if problems := check_data(run.config for run in planned.runs):
        raise ConfigError(planned.source, problems)
    with launch_progress(planned) as progress:
        result = start(planned, runs, progress=progress, wait=wait, grow=grow, refresh=_refresh)
    _tell(result, as_json)


@app.command()
def watch(
    folder: Folder,
    runs: Runs = Path("runs"),
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks at the queue.")] = 15.0,
    as_json: Json = False,
) -> None:
    """Follow a sweep and mend what its jobs cannot, until nothing is left to do. Ctrl-C leaves its jobs alone."""
    from rich.console import Console

    from mammut_clip.sweep.show import LaunchDisplay
    from mammut_clip.sweep.watch import watch as follow
    from mammut_clip.sweep.watch import watch_local

    launched = _launched(folder, runs)
    path = launched.folder.path
    with LaunchDisplay(Console(stderr=True), launched.stored.name) as display:
        if launched.stored.cluster.kind == "local":
            result = watch_local(path, report=display, poll_seconds=min(every, 1.0))
        else:
            result = follow(path, refresh=_refresh, report=display, poll_seconds=every)
    _tell(result, as_json)


@app.command(hidden=True)
def tend(folder: Annotated[Path, typer.Argument(help="runs/<sweep>")]) -> None:
    """What a job runs when it ends: one look at the sweep, which submits what is due and refreshes the results."""
    from mammut_clip.sweep.watch import tend as look_after

    look_after(folder, refresh=_refresh)


@app.command()
def pause(folder: Folder, runs: Runs = Path("runs"), as_json: Json = False) -> None:
    """Stop a sweep in good order: waiting jobs leave the queue, running ones write a checkpoint and end."""
    from mammut_clip.sweep import verbs

    _report(verbs.pause(_launched(folder, runs)), "paused", as_json)


@app.command()
def resume(folder: Folder, runs: Runs = Path("runs"), as_json: Json = False) -> None:
    """Go on with a paused sweep."""
    from mammut_clip.sweep import verbs

    launched = _launched(folder, runs)
    done = verbs.resume(launched)
    _report(done, "resumed", as_json, _submit(launched))


@app.command()
def cancel(folder: Folder, names: RunNames = None, runs: Runs = Path("runs"), as_json: Json = False) -> None:
    """Stop runs, all that are not finished or those named, and leave them alone until `retry`."""
    from mammut_clip.sweep import verbs

    _report(verbs.cancel(_launched(folder, runs), names or []), "cancelled", as_json)


@app.command()
def retry(folder: Folder, names: RunNames = None, runs: Runs = Path("runs"), as_json: Json = False) -> None:
    """Try runs again: those named, or all that were given up or cancelled."""
    from mammut_clip.sweep import verbs

    launched = _launched(folder, runs)
    done = verbs.retry(launched, names or [])
    _report(done, "to be tried again", as_json, _submit(launched))


def _launched(folder: Path, runs: Path) -> "Launched":
    from mammut_clip.sweep.stored import Launched, find_sweep

    return Launched.at(find_sweep(folder, runs))


@app.command()
def collect(
    folder: Folder,
    law: Annotated[
        list[str] | None, typer.Option(help="Law spec in fit/, in place of the sweep's own (may be repeated).")
    ] = None,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """The results table and the laws of a sweep, made anew from what its runs hold now."""
    from mammut_clip.runs.layout import SweepDir
    from mammut_clip.sweep.stored import find_sweep, stored_file
    from mammut_clip.sweep.turn import COLLECT_PATIENCE_SECONDS, collecting
    from mammut_clip.sweep_collect import collect as make

    path = find_sweep(folder, runs)
    sweep = SweepDir(path)
    # While a job's end makes the same of newer runs, this would put back what is older.
    with collecting(sweep, COLLECT_PATIENCE_SECONDS) if stored_file(sweep).is_file() else nullcontext():
        collected = make(path, law)
    _print_json(collected.to_json_dict()) if as_json else print(collected)


def _submit(launched: "Launched") -> "LaunchResult | None":
    """Submit what a verb has made due; on this machine nothing works in the background."""
    from mammut_clip.sweep.launch import submit_due

    if launched.stored.cluster.kind == "local":
        return None
    return submit_due(launched.folder.path, refresh=_refresh)


def _refresh(folder: Path) -> None:
    from mammut_clip.sweep_collect import collect

    collect(folder)


def _tell(result: "LaunchResult", as_json: bool) -> None:
    _print_json(result.to_json_dict()) if as_json else _say(str(result))
    raise typer.Exit(result.exit_code)


def _report(done: "Done", what: str, as_json: bool, result: "LaunchResult | None" = None) -> None:
    """What a verb did, and what was submitted then."""
    if as_json:
        _print_json(done.to_json_dict() | ({} if result is None else {"launch": result.to_json_dict()}))
    else:
        _say(f"{what}: {done}" if str(done) else what)
        if result is not None:
            _say(str(result))
    raise typer.Exit(0 if done.complete and (result is None or result.exit_code == 0) else 3)


@app.command()
def status(
    folder: Folder,
    run: Annotated[str | None, typer.Argument(help="A run of it: how each of its attempts ended.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only runs in this state (may be repeated).")] = None,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Where the runs of a sweep stand, from their folders alone."""
    from mammut_clip.sweep.show_status import print_history, print_status
    from mammut_clip.sweep.status import run_history, sweep_status
    from mammut_clip.sweep.stored import find_sweep

    folder = find_sweep(folder, runs)
    if run is not None:
        history = run_history(folder, run)
        _print_json(history.to_json_dict()) if as_json else print_history(history)
        return
    found = sweep_status(folder)
    if state:
        found = found.only(state)
    _print_json(found.to_json_dict()) if as_json else print_status(found, all_rows=bool(state))
