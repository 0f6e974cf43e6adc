"""The command line: one Typer app, each verb a thin call into the package of its name.

A package is imported only when its verb runs: `sweep plan`, `fit` and `models` start without torch. Results go to
standard output, messages and progress to standard error. Exit codes: see exits.py.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

from mammut_clip.cli_data import app as data_app
from mammut_clip.cli_eval import app as eval_app
from mammut_clip.cli_fit import app as fit_app
from mammut_clip.cli_slurm import app as slurm_app
from mammut_clip.cli_sweep import app as sweep_app
from mammut_clip.exits import guarded
from mammut_clip.train_options import HELP as TRAIN

_HELP = "Train CLIP and MaMMUT at every scale, sweep them on Slurm, evaluate zero-shot and fit scaling laws."
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=_HELP)
app.add_typer(data_app, name="data")
app.add_typer(eval_app, name="eval")
app.add_typer(sweep_app, name="sweep")
app.add_typer(slurm_app, name="slurm")
app.add_typer(fit_app, name="fit")

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds runs/<sweep>/<run>.")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


@app.command()
def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET] [KEY=VALUE]...", help="Config file, recipe name or run directory; overrides."),
    ] = None,
    runs: Runs = Path("runs"),
    print_config: Annotated[bool, typer.Option("--print-config", help=TRAIN["print_config"])] = False,
    device: Annotated[str | None, typer.Option(help=TRAIN["device"])] = None,
    branch_from: Annotated[str | None, typer.Option("--from", metavar="RUN@SAMPLES", help=TRAIN["from"])] = None,
    cooldown: Annotated[str | None, typer.Option(help=TRAIN["cooldown"])] = None,
    profile: Annotated[bool, typer.Option("--profile", help=TRAIN["profile"])] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=TRAIN["dry_run"])] = False,
    gpus: Annotated[int | None, typer.Option(min=1, help=TRAIN["gpus"])] = None,
    cluster: Annotated[str | None, typer.Option(help=TRAIN["cluster"])] = None,
    as_json: Json = False,
) -> None:
    """Train one run, or go on with it. On several processes: torchrun ... -m mammut_clip.train CONFIG."""
    from mammut_clip.train import __main__ as entry

    command = entry.Command(runs, print_config, as_json, device, branch_from, cooldown, profile, dry_run, gpus, cluster)
    raise typer.Exit(entry.run(arguments or [], command))


@app.command()
def caption(
    images: Annotated[list[Path], typer.Argument(help="Picture files.")],
    model: Annotated[
        str, typer.Option(help="Run directory, checkpoint or folder of open_clip; or, with --weights, a model's name.")
    ],
    weights: Annotated[Path | None, typer.Option(help="Weights to read in place of those in the folder.")] = None,
    method: Annotated[str, typer.Option(help="greedy, nucleus or beam.")] = "greedy",
    top_p: Annotated[float | None, typer.Option(help="nucleus: probability of what is drawn from. [0.9]")] = None,
    temperature: Annotated[float | None, typer.Option(help="nucleus: below 1 for likelier tokens. [1]")] = None,
    seed: Annotated[int | None, typer.Option(help="nucleus: where random numbers start. [0]")] = None,
    beams: Annotated[int | None, typer.Option(help="beam: captions that are followed at a time. [5]")] = None,
    length_penalty: Annotated[float | None, typer.Option(help="beam: above 0 for longer captions. [1]")] = None,
    prompt: Annotated[str, typer.Option(help="What every caption begins with.")] = "",
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of a caption at most, start and end included; default: all it can.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Captions that a trained MaMMUT, CoCa or Cap writes for pictures."""
    from mammut_clip.config.captioning import choose_method

    options = {"top_p": top_p, "temperature": temperature, "seed": seed}
    options |= {"beams": beams, "length_penalty": length_penalty}
    chosen = choose_method(method, options)

    from mammut_clip.captions import caption_files, check_pictures, open_writer
    from mammut_clip.tables import progress_bar

    check_pictures(images)
    writer = open_writer(model, weights, chosen, max_length, prompt)
    with progress_bar("writing captions") as advance:
        captions = caption_files(images, writer, advance)
    if as_json:
        _print_json([{"image": str(image), "caption": text} for image, text in zip(images, captions, strict=True)])
    else:
        for image, text in zip(images, captions, strict=True):
            print(f"{image}: {text}")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Run directory, checkpoint, open_clip folder or file of weights.")],
    out: Annotated[Path, typer.Option(help="Folder to write; or one file of weights: .safetensors, .pt.")],
    model: Annotated[
        str | None, typer.Option(help="Name or YAML file of the model; runs and open_clip's folders say it themselves.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Weights and config in the form that open_clip, and LAION's open_clip_mammut, read."""
    from mammut_clip.convert import convert as write

    done = write(source, out, model)
    if as_json:
        _print_json(done.to_json_dict())
    else:
        for path in done.written:
            print(path)


@app.command()
def models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|FILE]...", help="Names or YAML files; default: all names.")
    ] = None,
    batch_size_per_gpu: Annotated[int, typer.Option(min=1, help="Of the memory estimate.")] = 256,
    gpus: Annotated[int, typer.Option(min=1, help="Of the memory estimate; more than one shards with FSDP2.")] = 8,
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the memory estimate.")] = "bf16",
    recompute: Annotated[
        Literal["none", "selective", "full"], typer.Option(help="Of the memory estimate: activation checkpointing.")
    ] = "none",
    as_json: Json = False,
) -> None:
    """The models known by name: parameters, compute per sample, memory of a training step."""
    from mammut_clip.cost import TrainingSetting
    from mammut_clip.model_table import model_rows

    setting = TrainingSetting(batch_size_per_gpu, gpus, precision, recompute)
    rows = model_rows(names or [], setting, report=_say)
    if as_json:
        _print_json(rows)
    else:
        from mammut_clip.tables import print_rows

        shown = [{key: value for key, value in row.items() if key != "memory_at"} for row in rows]
        print_rows(shown, title=f"GFLOPs per sample; memory_gb: estimate for {setting}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="runs/<sweep>")],
    spec: Annotated[
        list[str] | None, typer.Option(help="Law spec: a name in fit/ or a YAML file (may be repeated).")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="Retrieval set whose first pictures are shown.")] = None,
) -> None:
    """One self-contained HTML page of a sweep and its laws."""
    from mammut_clip.config.files import find_file
    from mammut_clip.config.fit_kinds import load_law_spec
    from mammut_clip.fit import run_spec
    from mammut_clip.runs import table
    from mammut_clip.runs.layout import SweepDir
    from mammut_clip.sweep_report import write_sweep_report

    results = table.write(SweepDir(folder))
    files = [find_file("fit", name) for name in spec or []]
    fits = tuple(run_spec(load_law_spec(file), results, folder / "fit" / file.stem) for file in files)
    print(write_sweep_report(SweepDir(folder), results, fits, pictures))


@app.command()
def quickstart(
    runs: Runs = Path("runs"),
    data: Annotated[Path, typer.Option("--data", help="Folder for the toy world's data.")] = Path("data/toy"),
    sweep: Annotated[str, typer.Option(help="The grid: a name in sweeps/ or a YAML file.")] = "quickstart",
    as_json: Json = False,
) -> None:
    """The whole pipeline in miniature on a CPU: data, a sweep of two families, evaluations, laws, a report."""
    from mammut_clip.quickstart import run_quickstart, show

    outcome = run_quickstart(runs, data, sweep)
    _print_json(outcome.to_json_dict()) if as_json else show(outcome)


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
