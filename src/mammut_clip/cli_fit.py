"""`mammut-clip fit`: scaling laws, comparisons and figures from a results table."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mammut_clip.cli_fit_predict import app as predict_app

if TYPE_CHECKING:
    from mammut_clip.fit.output import Outputs
    from mammut_clip.fit.specs import Done

app = typer.Typer(no_args_is_help=True, help="Scaling laws from a results table.")
app.add_typer(predict_app)

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
Table = Annotated[
    Path | None,
    typer.Option(
        envvar="MAMMUT_CLIP_TABLE",
        help="Sweep folder, Parquet or CSV; or a folder that holds the table each spec names. Default: the spec's.",
    ),
]
SPECS = "Names in fit/, YAML files, folders of them; and key=value to override."


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from mammut_clip.fit.tables import Table, to_markdown, yes

    def cell(value: Any) -> str:
        if isinstance(value, bool):
            return yes(value)
        return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    print(to_markdown(Table(tuple(rows[0]), tuple(tuple(map(cell, row.values())) for row in rows))))


@app.command()
def law(
    csv: Annotated[Path, typer.Option("--csv", help="CSV or Parquet file.")],
    x: Annotated[str, typer.Option(help="Column of compute or samples.")],
    y: Annotated[str, typer.Option(help="Column of errors, or what --unit says.")],
    unit: Annotated[
        str, typer.Option(help="What y is: error (or a loss), accuracy (0 to 1), percent (accuracy, 0 to 100).")
    ] = "error",
    form: Annotated[
        str,
        typer.Option(
            help="power, saturation, saturation_no_floor, bounded, bounded_no_floor, broken_power, line; auto, average."
        ),
    ] = "saturation",
    residuals: Annotated[
        str | None, typer.Option(help="raw, log or logit: how y is compared with the law. [raw; auto, average: log]")
    ] = None,
    huber_delta: Annotated[float | None, typer.Option(help="Huber's loss beyond residuals of this size.")] = None,
    error_at_zero: Annotated[float, typer.Option(help="Bounded forms: the error of guessing.")] = 1.0,
    at: Annotated[list[float] | None, typer.Option(help="Predict the error at this x (may be repeated).")] = None,
    level: Annotated[float, typer.Option(help="Probability of the predictions' intervals.")] = 0.95,
    as_json: Json = False,
) -> None:
    """One law of two columns of a table."""
    from mammut_clip.config.fit import LawSpec
    from mammut_clip.config.load import validate
    from mammut_clip.fit.columns import fit_law_csv
    from mammut_clip.fit.procedure import Procedure

    asked: dict[str, Any] = {"form": form, "residuals": residuals, "huber_delta": huber_delta, "unit": unit}
    asked |= {"error_at_zero": error_at_zero, "ask": at or [], "level": level}
    spec = validate(LawSpec, asked, "the command line")
    found = fit_law_csv(csv, x, y, Procedure.of(spec), spec.ask, spec.level, spec.unit)
    if as_json:
        _print_json(found)
        return
    role = {"auto": ", chosen by auto", "average": ", which weighs most in the average"}.get(form, "")
    print(f"{found['form']}{role}: {found['n']} points, rmse {found['rmse']:.4g}\n")
    _print_rows([{"parameter": k, "value": v, "standard error": found["se"][k]} for k, v in found["params"].items()])
    error = y if spec.unit == "error" else f"error of {y}"
    e0 = found["error_at_zero"]
    print(f"{error} = {found['formula']} with x = {x}" + (f", e0 = {e0:g}\n" if e0 else "\n"))
    if len(found["record"]["forms"]) > 1:
        _print_rows([{k: one[k] for k in ("form", "weight", "rolling", "aicc")} for one in found["record"]["forms"]])
    if found["record"]["cuts"]:
        print("fitted to the points up to a cut, scored on those beyond\n")
        _print_rows(found["record"]["cuts"])
    if "predictions" in found:
        print(f"{error} at {x}\n")
        _print_rows(found["predictions"])
    for warning in found["warnings"]:
        print(f"warning: {warning}")


@app.command()
def run(
    targets: Annotated[list[str], typer.Argument(metavar="SPEC... [KEY=VALUE]...", help=SPECS)],
    table: Table = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for figures, tables and JSON; one in it for each of several specs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The laws of one spec, of several, or of a folder of them."""
    from mammut_clip.config.fit_kinds import load_fit_spec, spec_files

    names, overrides = _sorted_out(targets)
    specs = {file.stem: load_fit_spec(file, overrides) for file in spec_files(names)}
    _check_out(out)
    if len(names) > 1 or Path(names[0]).is_dir():
        from mammut_clip.fit.specs import run_many

        _finish(run_many(specs, table, out), as_json)
        return
    from mammut_clip.fit.output import write_outputs
    from mammut_clip.fit.specs import run_any

    (spec,) = specs.values()
    outputs = run_any(spec, table)
    if out is not None:
        write_outputs(outputs, out)
    _print_json(outputs.json) if as_json else _show(outputs)


@app.command()
def figures(
    folder: Annotated[Path | None, typer.Argument(help="Folder of specs; default: those that come with it.")] = None,
    table: Table = None,
    out: Annotated[Path, typer.Option(help="Folder to write, with index.md over all that is in it.")] = Path("figures"),
    as_json: Json = False,
) -> None:
    """Every figure that a folder of specs describes and a table, or a folder of tables, has the data for."""
    from mammut_clip.config.errors import MissingError
    from mammut_clip.config.files import shipped_root
    from mammut_clip.config.fit_kinds import load_fit_spec, spec_files
    from mammut_clip.fit.specs import run_many, write_index

    folder = folder or shipped_root() / "fit"
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder; for one spec there is `mammut-clip fit run`")
    specs = {file.stem: load_fit_spec(file) for file in spec_files([str(folder)])}
    _check_out(out)
    done = list(run_many(specs, table, out))
    write_index(done, out)
    _say(f"written: {out / 'index.md'}")
    _finish(done, as_json)


def _sorted_out(targets: list[str]) -> tuple[list[str], list[str]]:
    """Specs, and overrides: what has an equals sign and is no file."""
    from mammut_clip.config.errors import InputError

    overrides = [t for t in targets if "=" in t and not Path(t).exists()]
    names = [t for t in targets if t not in overrides]
    if not names:
        raise InputError("the name of a spec is missing: expected SPEC... [KEY=VALUE]...")
    return names, overrides


def _check_out(out: Path | None) -> None:
    if out is not None:
        from mammut_clip.fit.output import check_folder

        check_folder(out)


def _finish(done: "Iterable[Done]", as_json: bool) -> None:
    """Show specs as they are done. Raises PartialFailureError where some could not be run, InputError where none."""
    from mammut_clip.config.errors import InputError, PartialFailureError
    from mammut_clip.fit.specs import to_json_dict

    all_done: list[Done] = []
    for one in done:
        all_done.append(one)
        if one.outputs is not None and not as_json:
            print(f"# {one.name}\n")
            _show(one.outputs)
    if as_json:
        _print_json(to_json_dict(all_done))
    failed = [f"  {one.name}: {one.problem}" for one in all_done if one.outputs is None]
    if failed:
        said = "\n".join([f"{len(failed)} of {len(all_done)} specs could not be run", *failed])
        raise (InputError if len(failed) == len(all_done) else PartialFailureError)(said)


def _show(outputs: "Outputs") -> None:
    from mammut_clip.fit.tables import to_markdown

    if outputs.title:
        print(f"{outputs.title}\n")
    for name, table in outputs.tables.items():
        print(f"## {name.replace('_', ' ')}\n\n{to_markdown(table)}")
    for sentence in outputs.sentences:
        print(sentence)
    if outputs.sentences:
        print()
