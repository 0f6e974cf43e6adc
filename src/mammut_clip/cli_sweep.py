"""`mammut-clip sweep`: plan, launch and follow a grid of runs."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Plan, launch and follow a grid of runs.")

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds runs/<sweep>/<run>.")]


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
    as_json: Json = False,
) -> None:
    """The runs of a sweep and what they cost; nothing is started."""
    from mammut_clip.sweep.plan import load_plan
    from mammut_clip.sweep.show import print_plan

    planned = load_plan(sweep, overrides or [])
    _print_json(planned.to_json_dict()) if as_json else print_plan(planned)


@app.command()
def launch(
    sweep: Annotated[str, typer.Argument(help="Name in sweeps/ or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of the sweep file.")
    ] = None,
    runs: Runs = Path("runs"),
    wait: Annotated[bool, typer.Option("--wait", help="On Slurm: stay until every job has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Start the runs that are not finished; run it again after anything, and only what is missing happens."""
    from mammut_clip.sweep.launch import launch as start
    from mammut_clip.sweep.plan import load_plan
    from mammut_clip.sweep.show import launch_progress

    planned = load_plan(sweep, overrides or [])
    with launch_progress(planned) as progress:
        result = start(planned, runs, progress=progress, wait=wait)
    if as_json:
        _print_json(result.to_json_dict())
    else:
        _say(str(result))
    raise typer.Exit(130 if result.interrupted else 3 if result.failed else 0)


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="runs/<sweep>")], as_json: Json = False) -> None:
    """Where the runs of a sweep stand."""
    from mammut_clip.runs.layout import SweepDir
    from mammut_clip.sweep.show import print_status
    from mammut_clip.sweep.status import sweep_status

    found = sweep_status(SweepDir(folder))
    _print_json(found.to_json_dict()) if as_json else print_status(found)
