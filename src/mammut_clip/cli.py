"""The command line: one Typer app, each verb a thin call into the package of its name.

A package is imported only when its verb runs: `sweep plan`, `fit` and `models` start without torch. Results go to
standard output, messages and progress to standard error. Exit codes: see exits.py.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from mammut_clip.exits import guarded

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
data_app = typer.Typer(no_args_is_help=True, help="Make, pack, index WebDataset shards and evaluation sets.")
sweep_app = typer.Typer(no_args_is_help=True, help="Plan, launch and follow a grid of runs.")
fit_app = typer.Typer(no_args_is_help=True, help="Scaling laws from a results table.")
pack_app = typer.Typer(no_args_is_help=True, help="Shards and evaluation sets from your own pictures.")
app.add_typer(data_app, name="data")
data_app.add_typer(pack_app, name="pack")
app.add_typer(sweep_app, name="sweep")
app.add_typer(fit_app, name="fit")

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds runs/<sweep>/<run>.")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


@app.command(context_settings={"ignore_unknown_options": False})
def train(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="TARGET [KEY=VALUE]...", help="Config file, recipe name or run directory; overrides."),
    ],
    runs: Runs = Path("runs"),
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the complete config and stop.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU where there is one.")] = None,
    as_json: Json = False,
) -> None:
    """Train one run, or go on with it. On several processes: torchrun ... -m mammut_clip.train CONFIG."""
    from mammut_clip.train import __main__ as entry

    raise typer.Exit(entry.run(arguments, runs, print_config=print_config, as_json=as_json, device=device))


@app.command(name="eval")
def evaluate(
    targets: Annotated[list[Path], typer.Argument(help="Run directories, or folders of them (a sweep).")],
    suite: Annotated[str, typer.Option(help="Name in evals/ or a YAML file.")],
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the suite's datasets.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task of the suite (may be repeated).")] = None,
    all_checkpoints: Annotated[
        bool, typer.Option("--all-checkpoints", help="Every checkpoint, not only the last.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Zero-shot evaluation of runs; results that exist are kept."""
    from mammut_clip.evals.command import evaluate_targets

    records = evaluate_targets(targets, suite, data_root, task or [], all_checkpoints=all_checkpoints, report=_say)
    if as_json:
        _print_json([record.model_dump(mode="json") for record in records])
    else:
        from mammut_clip.tables import print_rows

        print_rows([{"model": r.model, "dataset": r.dataset, "pretrained": r.pretrained, **r.metrics} for r in records])


@app.command()
def caption(
    images: Annotated[list[Path], typer.Argument(help="Picture files.")],
    run: Annotated[Path, typer.Option("--run", help="Directory of a run of a MaMMUT model.")],
    as_json: Json = False,
) -> None:
    """Captions that a trained MaMMUT writes for pictures."""
    from mammut_clip.captions import caption_images

    captions = caption_images(images, run)
    if as_json:
        _print_json([{"image": str(image), "caption": text} for image, text in zip(images, captions, strict=True)])
    else:
        for image, text in zip(images, captions, strict=True):
            print(f"{image}: {text}")


@app.command()
def models(as_json: Json = False) -> None:
    """The models known by name: parameters and compute per sample."""
    from mammut_clip.cost import describe_models

    rows = describe_models()
    if as_json:
        _print_json(rows)
    else:
        from mammut_clip.tables import print_rows

        print_rows(rows)


@data_app.command()
def toy(
    folder: Annotated[Path, typer.Argument(help="Where to write train/ and evals/.")],
    samples: Annotated[str, typer.Option(help="Training samples, such as 64K.")] = "64K",
    seed: Annotated[int, typer.Option(help="Another seed is another data set of the same world.")] = 0,
    image_size: Annotated[int, typer.Option(help="Pixels a side, 32 to 64.")] = 32,
    as_json: Json = False,
) -> None:
    """Write the toy world: training shards and evaluation sets. What exists is kept."""
    from mammut_clip.toy import make_toy_data

    summary = make_toy_data(folder, samples, seed, image_size)
    _print_json(summary) if as_json else print(_summary_line(folder, summary))


@data_app.command()
def index(
    sources: Annotated[list[str], typer.Argument(help="Folders, tar files or brace patterns.")],
    as_json: Json = False,
) -> None:
    """Count and locate the samples of shards; the index is kept beside them."""
    from mammut_clip.data.index import ShardIndex
    from mammut_clip.tables import progress_bar

    with progress_bar("indexing shards") as advance:
        summary = ShardIndex.open(sources, advance).summary()
    _print_json(summary) if as_json else print(_summary_line(" ".join(sources), summary))


def _summary_line(name: object, summary: dict[str, Any]) -> str:
    return f"{name}: " + ", ".join(
        f"{value:,} {key}" if isinstance(value, int) else f"{key} {value}" for key, value in summary.items()
    )


@sweep_app.command()
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


@sweep_app.command()
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
    raise typer.Exit(3 if result.failed else 0)


@sweep_app.command()
def status(folder: Annotated[Path, typer.Argument(help="runs/<sweep>")], as_json: Json = False) -> None:
    """Where the runs of a sweep stand."""
    from mammut_clip.runs.layout import SweepDir
    from mammut_clip.sweep.show import print_status
    from mammut_clip.sweep.status import sweep_status

    found = sweep_status(SweepDir(folder))
    _print_json(found.to_json_dict()) if as_json else print_status(found)


@app.command()
def quickstart(
    runs: Runs = Path("runs"),
    data: Annotated[Path, typer.Option("--data", help="Folder for the toy world's data.")] = Path("data/toy"),
    sweep: Annotated[str, typer.Option(help="The grid: a name in sweeps/ or a YAML file.")] = "quickstart",
    as_json: Json = False,
) -> None:
    """The whole pipeline in miniature on a CPU: data, a sweep of two families, evaluations, laws, a report."""
    from mammut_clip.quickstart import run_quickstart

    outcome = run_quickstart(runs, data, sweep)
    if as_json:
        _print_json(outcome.to_json_dict())


def main() -> None:
    """Entry point of the program."""
    sys.exit(guarded(_run_app))


def _run_app() -> int:
    try:
        result = app(standalone_mode=False)
    except TyperException as error:  # a misspelt option, say
        print(f"error: {error.format_message()} (see {Path(sys.argv[0]).name} --help)", file=sys.stderr)
        return 2
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
