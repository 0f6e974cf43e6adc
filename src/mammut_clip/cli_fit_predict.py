"""`mammut-clip fit predict` and `fit plan-next`: what the laws of a spec say of runs that are only planned."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

if TYPE_CHECKING:
    from mammut_clip.config.fit import LawSpec
    from mammut_clip.fit.planning import Candidate, Target
    from mammut_clip.fit.run import FitReport

app = typer.Typer(no_args_is_help=True)

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
Spec = Annotated[str, typer.Argument(help="Law spec: a name in fit/ or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of the spec.")]
Table = Annotated[
    Path | None,
    typer.Option(
        envvar="MAMMUT_CLIP_TABLE",
        help="Sweep folder, Parquet or CSV; or a folder that holds the table the spec names. Default: the spec's.",
    ),
]
Models = Annotated[list[str] | None, typer.Option("--model", help="Model of a planned run (may be repeated).")]
SamplesSeen = Annotated[
    list[str] | None, typer.Option("--samples", help="Samples it would see, such as 12.8B (may be repeated).")
]
Groups = Annotated[list[str] | None, typer.Option("--group", help="Only the law of this group (may be repeated).")]


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


@app.command()
def predict(
    spec: Spec,
    overrides: Overrides = None,
    model: Models = None,
    samples: SamplesSeen = None,
    group: Groups = None,
    table: Table = None,
    hold_out: Annotated[
        bool, typer.Option("--hold-out", help="Leave the spec's held-out runs out of the laws, as `fit run` does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The error of planned runs by the laws of a spec, with intervals: every --model at every --samples."""
    from mammut_clip.fit.planning import Shape, predict_runs, without_held_out
    from mammut_clip.fit.planning.predict import records, sentences, to_json_dict
    from mammut_clip.fit.planning.tables import prediction_table, record_sentences
    from mammut_clip.fit.run import X_UNITS
    from mammut_clip.fit.tables import to_markdown

    asked = _law_spec(spec, overrides)
    shapes = [Shape(name, count) for name in model or [] for count in _counts(samples)]
    if not shapes:
        _missing("--model and --samples", "such as --model mammut_ViT-L-14 --samples 12.8B")
    report = _report(asked if hold_out else without_held_out(asked), table)
    predictions = predict_runs(report, shapes, group or [])
    scored = records(report if hold_out or asked.held_out is None else _report(asked, table))
    if as_json:
        _print_json(to_json_dict(report, predictions, scored))
        return
    print(to_markdown(prediction_table(report, predictions)))
    for sentence in (*sentences(report, predictions), *record_sentences(scored, X_UNITS[report.spec.x])):
        print(sentence)


@app.command(name="plan-next")
def plan_next_runs(
    spec: Spec,
    overrides: Overrides = None,
    target: Annotated[
        float | None, typer.Option(help="x (GFLOPs, or samples) at which an interval is to become narrower.")
    ] = None,
    of: Annotated[
        Literal["law", "difference", "crossing"],
        typer.Option(help="What: one group's law, two groups' difference there, or where two groups' laws cross."),
    ] = "law",
    group: Groups = None,
    candidates: Annotated[
        str | None, typer.Option(help="Sweep file, or name in sweeps/, whose runs could be made; or give axes.")
    ] = None,
    model: Models = None,
    samples: SamplesSeen = None,
    recipe: Annotated[
        str | None, typer.Option(help="Axes: recipe in configs/train/ that prices them; default: paper.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Axes: cluster in slurm/ that prices them; default: juwels-booster.")
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="Axes: GPUs of each run; default: a whole node.")] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, help="GPU-hours to spend: which cells, in which order.")
    ] = None,
    table: Table = None,
    as_json: Json = False,
) -> None:
    """Which run narrows an interval most per GPU-hour."""
    from mammut_clip.fit.planning import from_axes, plan_next, without_held_out
    from mammut_clip.fit.planning.tables import candidate_table, plan_sentences, sequence_table
    from mammut_clip.fit.run import X_UNITS
    from mammut_clip.fit.tables import to_markdown

    if (candidates is None) == (model is None):
        _missing("--candidates, or --model and --samples", "one of the two ways to say which runs could be made")
    if candidates is None:
        machine = cluster or "juwels-booster"
        possible = from_axes(model or [], _counts(samples), recipe or "paper", machine, gpus)
        hours = _hours(machine)
    else:
        _only_axes({"--samples": samples, "--recipe": recipe, "--cluster": cluster, "--gpus": gpus})
        possible, hours = _of_sweep(candidates)
    report = _report(without_held_out(_law_spec(spec, overrides)), table)
    plan = plan_next(report, _target(report, of, target, group), possible, budget)
    if as_json:
        _print_json({"hours": hours} | plan.to_json_dict())
        return
    for shown in (candidate_table(plan, hours), sequence_table(plan, hours)):
        if shown.rows:
            print(to_markdown(shown))
    for sentence in plan_sentences(plan, X_UNITS[report.spec.x], hours):
        print(sentence)


def _law_spec(name: str, overrides: list[str] | None) -> "LawSpec":
    """A spec of kind law. Raises InputError for another kind."""
    from mammut_clip.config.errors import InputError
    from mammut_clip.config.files import find_file
    from mammut_clip.config.fit import LawSpec
    from mammut_clip.config.fit_kinds import load_fit_spec

    found = load_fit_spec(find_file("fit", name), overrides or [])
    if not isinstance(found, LawSpec):
        raise InputError(f"{name}: expected a spec of kind law, which predicts the error of a run")
    return found


def _report(spec: "LawSpec", table: Path | None) -> "FitReport":
    from mammut_clip.fit.run import run_spec
    from mammut_clip.fit.specs import table_of

    return run_spec(spec, None if table is None else table_of(spec, table))


def _counts(samples: list[str] | None) -> list[int]:
    """Numbers of samples as people write them. Raises InputError."""
    from mammut_clip.config.errors import InputError
    from mammut_clip.config.quantity import parse_quantity

    counts = []
    for text in samples or []:
        try:
            counts.append(parse_quantity(text))
        except ValueError as error:
            raise InputError(f"--samples {text}: {error}") from error
        if counts[-1] == 0:
            raise InputError(f"--samples {text}: expected at least one sample")
    return counts


def _target(report: "FitReport", of: str, at: float | None, groups: list[str] | None) -> "Target":
    """What is to become narrower. Raises InputError where the command line does not say whose, or where."""
    from mammut_clip.config.errors import InputError
    from mammut_clip.fit.planning import crossing_target, difference_target, law_target

    names = groups or [g.name for g in report.groups]
    wanted = 1 if of == "law" else 2
    if len(names) != wanted:
        known = ", ".join(g.name for g in report.groups)
        _missing("--group" if wanted == 1 else "--group twice", f"--of {of} needs {wanted}; the spec has {known}")
    if of == "crossing":
        if at is not None:
            raise InputError(f"--target {at:g}: a crossing has no x to be asked at; leave it out with --of crossing")
        return crossing_target(report, *names)
    if at is None or at <= 0:
        _missing("--target", f"the x, above zero, at which the {of} is to be known better")
    return law_target(report, at, *names) if of == "law" else difference_target(report, at, *names)


def _only_axes(options: dict[str, Any]) -> None:
    """Raise InputError for an option that a sweep file decides itself."""
    from mammut_clip.config.errors import InputError

    if given := [name for name, value in options.items() if value is not None]:
        raise InputError(f"{', '.join(given)}: --candidates says this already; expected only with --model")


def _of_sweep(sweep: str) -> "tuple[tuple[Candidate, ...], str]":
    """The cells of a sweep as `sweep plan` prices them, and the unit of their hours."""
    from mammut_clip.fit.planning import Shape, cells
    from mammut_clip.sweep.plan import load_plan

    planned = load_plan(sweep)
    with_gpus = planned.cluster.gpus_per_node > 0
    runs = (
        (
            run.id,
            Shape(run.config.model.name, run.config.samples_seen, run.config.model.architecture),
            run.gpu_hours if with_gpus else run.core_hours,
        )
        for run in planned.runs
    )
    return cells(runs), _unit(with_gpus)


def _hours(cluster: str) -> str:
    from mammut_clip.config.cluster import load_cluster

    return _unit(load_cluster(cluster).gpus_per_node > 0)


def _unit(with_gpus: bool) -> str:
    return "GPU-hours" if with_gpus else "core-hours"


def _missing(option: str, why: str) -> NoReturn:
    from mammut_clip.config.errors import InputError

    raise InputError(f"expected {option}: {why}")
