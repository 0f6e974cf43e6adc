"""The `eval` verbs: evaluate, examine a suite's datasets, print overview tables."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

_FIRST = "run"


class _RunUnlessNamed(TyperGroup):
    """`eval TARGET ...` is `eval run TARGET ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [_FIRST, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunUnlessNamed,
    no_args_is_help=True,
    help="Evaluate runs, sweeps and published models: `eval TARGET... --suite NAME`. Other verbs: doctor, table.",
)
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
DataRoot = Annotated[Path | None, typer.Option(help="Folder that holds the suite's datasets; default: the suite's.")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


@app.command(name=_FIRST)
def run(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="Runs, sweeps, RUN@SAMPLES, checkpoints, folders or files of weights, hf-hub:OWNER/NAME, "
            "open_clip:NAME/PRETRAINED.",
        ),
    ],
    suite: Annotated[str, typer.Option(help="Name in evals/ or a YAML file.")],
    data_root: DataRoot = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task of the suite (may be repeated).")] = None,
    all_checkpoints: Annotated[
        bool, typer.Option("--all-checkpoints", help="Every checkpoint of a run, not only the last.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Every checkpoint as it appears, until the runs have ended.")
    ] = False,
    poll: Annotated[float, typer.Option(min=0.1, help="With --follow: seconds between two looks.")] = 30.0,
    model: Annotated[str | None, typer.Option(help="The model that a file of weights is of.")] = None,
    out: Annotated[Path, typer.Option(help="Where results of models from elsewhere go.")] = Path("eval_results"),
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"] | None, typer.Option(help="What the model computes in. [fp32]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pictures per forward pass of one process.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads per process that decode pictures.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU where there is one.")] = None,
    as_json: Json = False,
) -> None:
    """Evaluate what is missing; results that exist are kept. On several GPUs: torchrun -m mammut_clip.cli eval ..."""
    # read when torch is loaded: by default its idle threads spin, on cores that could decode pictures
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from mammut_clip.eval_command import Request, run_request

    request = Request(
        targets, suite, data_root, task or [], all_checkpoints, poll if follow else None, model, out, precision,
        batch_size, threads, device,
    )  # fmt: skip
    summary, process = run_request(request, _say)
    if process.is_main:
        if as_json:
            _print_json([record.model_dump(mode="json") for record in summary.records])
        else:
            _print_records(summary.records)
        for problem in summary.problems:
            _say(f"failed: {problem}")
    raise typer.Exit(3 if summary.problems else 0)


def _print_records(records: list[Any]) -> None:
    from mammut_clip.tables import print_rows

    print_rows(
        [
            {
                "weights": record.pretrained,
                "dataset": record.dataset,
                "task": record.task,
                "metric": record.metric,
                "value": record.metrics[record.metric],
                "samples": record.samples,
            }
            for record in records
        ]
    )


@app.command()
def doctor(
    suite: Annotated[str, typer.Argument(help="Name in evals/ or a YAML file.")],
    data_root: DataRoot = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Also decode every picture and read every label.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Which datasets of a suite are there and complete, and how to get the others. Ends with 3 unless all are ready."""
    from mammut_clip.config.cluster import available_cores
    from mammut_clip.evals.doctor import advice, examine, rows
    from mammut_clip.evals.suite import load_suite
    from mammut_clip.tables import print_rows, progress_bar

    with progress_bar("reading pictures") as advance:
        reports = examine(load_suite(suite), data_root, thorough=thorough, threads=available_cores(), progress=advance)
    if as_json:
        _print_json([report.to_json_dict() for report in reports])
    else:
        print_rows(rows(reports))
        for line in advice(reports):
            print(line)
    raise typer.Exit(0 if all(report.state == "ready" for report in reports) else 3)


Names = Annotated[list[str] | None, typer.Option(help="Only these (may be repeated).")]


@app.command(name="table")
def show_table(
    results: Annotated[list[Path], typer.Argument(help="Sweeps, folders of sweeps, or results.parquet files.")],
    task: Names = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Instead of the one that each task is known by (may be repeated).")
    ] = None,
    family: Names = None,
    schedule: Names = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only these training datasets (may be repeated).")] = None,
    all_checkpoints: Annotated[
        bool, typer.Option("--all-checkpoints", help="Every checkpoint at its own samples seen, not only final ones.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to write the tables to.")] = None,
    formats: Annotated[str, typer.Option("--format", help="With --out: some of csv,md,tex,html.")] = "csv,md,tex,html",
    as_json: Json = False,
) -> None:
    """Overview tables: model x samples seen for each task, schedule and family, the best over recipes."""
    from mammut_clip.runs.overview import Selection, overview, print_tables, read_results, to_json, write_tables

    chosen = Selection(
        tasks=tuple(task or ()),
        metrics=tuple(metric or ()),
        families=tuple(family or ()),
        schedules=tuple(schedule or ()),
        datasets=tuple(dataset or ()),
        all_checkpoints=all_checkpoints,
    )
    tables = overview(read_results(results), chosen)
    written = write_tables(tables, out, formats.split(",")) if out is not None else []
    if as_json:
        _print_json(to_json(tables))
    else:
        print_tables(tables)
    for path in written:
        _say(str(path))
