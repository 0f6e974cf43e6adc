"""Specs of every kind, one or many, run on a table: each gives what is printed and written.

Files that cannot be used stop everything before anything starts; a spec whose rows a table does not hold stops alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mammut_clip.config.atomic import write_text
from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.fit_joint import JointSpec
from mammut_clip.config.fit_kinds import FitSpec
from mammut_clip.config.fit_optimal import OptimalSpec
from mammut_clip.fit.law_outputs import law_outputs
from mammut_clip.fit.output import Outputs, write_outputs
from mammut_clip.fit.run import run_spec
from mammut_clip.fit.tables import to_markdown
from mammut_clip.runs.layout import SweepDir


@dataclass(frozen=True)
class Done:
    """What became of one spec."""

    name: str
    outputs: Outputs | None
    """None where it could not be run."""
    problem: str = ""
    """Why not."""


def run_any(spec: FitSpec, table: pd.DataFrame | Path | None) -> Outputs:
    """Run a spec of any kind. Raises InputError for a table that does not hold what it asks for."""
    source = table_of(spec, table) if isinstance(table, Path) else table
    match spec:
        case LawSpec():
            return law_outputs(run_spec(spec, source))
        case OptimalSpec():
            from mammut_clip.fit.optimal.outputs import optimal_outputs
            from mammut_clip.fit.optimal.run import run_optimal

            return optimal_outputs(run_optimal(spec, source))
        case JointSpec():
            from mammut_clip.fit.joint.outputs import joint_outputs
            from mammut_clip.fit.joint.run import run_joint

            return joint_outputs(run_joint(spec, source))


def run_many(specs: dict[str, FitSpec], table: Path | None, out: Path | None) -> Iterator[Done]:
    """Run specs by name, each into the folder out/<name>; one that cannot be run is said and passed over."""
    for name, spec in specs.items():
        try:
            outputs = run_any(spec, table)
        except InputError as error:
            yield Done(name, None, str(error))
            continue
        if out is not None:
            write_outputs(outputs, out / name)
        yield Done(name, outputs)


def table_of(spec: FitSpec, given: Path) -> Path:
    """The table that a spec is run on: the one given; in a folder given, the file that the spec names, where it is
    there, and else the sweep that the folder holds, or its results alone. For a spec of several tables, their folder.

    Raises InputError for a folder with nothing of that.
    """
    if spec.tables:
        return given
    if spec.table is not None and (given / spec.table).is_file():
        return given / spec.table
    if given.is_dir() and next(SweepDir(given).runs(), None) is None:
        if SweepDir(given).results_file.is_file():
            return SweepDir(given).results_file
        raise InputError(f"{given}: neither {spec.table or 'a table that the spec names'} nor a sweep's runs are here")
    return given


def to_json_dict(done: Sequence[Done]) -> dict[str, Any]:
    """Several specs as plain JSON values: reports by name, and why others could not be made."""
    return {
        "reports": {one.name: one.outputs.json for one in done if one.outputs is not None},
        "failed": {one.name: one.problem for one in done if one.outputs is None},
    }


def write_index(done: Sequence[Done], out: Path) -> None:
    """Write index.md into `out`: the figures, tables and sentences of every spec, and what could not be made."""
    parts = ["# Figures and laws\n"]
    for one in done:
        if one.outputs is None:
            continue
        parts.append(f"## {one.name}\n\n{one.outputs.title}\n")
        parts += [f"![{figure} of {one.name}]({one.name}/{figure}.png)\n" for figure in one.outputs.figures]
        parts += [f"**{name.replace('_', ' ')}**\n\n{to_markdown(table)}" for name, table in one.outputs.tables.items()]
        parts += ["\n".join(f"- {sentence}" for sentence in one.outputs.sentences) + "\n"] * bool(one.outputs.sentences)
    if failed := [f"- {one.name}: {one.problem}" for one in done if one.outputs is None]:
        parts.append("## Not made\n\n" + "\n".join(failed) + "\n")
    write_text(out / "index.md", "\n".join(parts))
