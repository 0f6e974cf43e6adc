"""Two tables under one spec, from files to the comparison of their laws."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.load import load_config
from mammut_clip.fit import load_table, run_spec
from mammut_clip.fit.law_outputs import law_outputs
from mammut_clip.fit.specs import run_any

A = {"datacomp": 3.0, "relaion": 4.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One table under our names and one under others, each with one broken row."""
    x = np.geomspace(1e6, 1e10, 9)
    for seed, (name, a) in enumerate(A.items()):
        error = a * x**-0.15 * np.exp(np.random.default_rng(seed).normal(0, 0.01, 9))
        frame = pd.DataFrame(
            {"gflops_paper": x, "value": 1 - error, "family": "clip", "samples_seen": 1e6, "model": "m"}
        )
        frame["model"] = [f"m{i}" for i in range(9)]
        frame.loc[9] = [np.nan, 0.5, "clip", 1e6, "m9"]
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    renamed = pd.read_csv(tmp_path / "relaion.csv").rename(columns={"value": "top1", "gflops_paper": "C"})
    renamed.to_csv(tmp_path / "relaion.csv", index=False)
    return tmp_path


SPEC = LawSpec.model_validate(
    {
        "tables": {
            "datacomp": "datacomp.csv",
            "relaion": {"path": "relaion.csv", "columns": {"value": "top1", "gflops_paper": "C"}},
        },
        "group": "table",
        "unit": "accuracy",
        "bad_rows": "drop",
        "form": "power",
        "residuals": "log",
    }
)


def test_datasets_are_compared(folder: Path) -> None:
    report = run_spec(SPEC, folder)
    assert [g.name for g in report.groups] == list(A)
    for group in report.groups:
        assert group.law.params["a"] == pytest.approx(A[group.name], rel=0.2)
        assert group.law.params["c"] == pytest.approx(-0.15, rel=0.1)
    assert "datacomp has the lower error" in " ".join(report.sentences())


def test_paths_come_from_the_command_line(folder: Path) -> None:
    """As the messages of a spec without paths say."""
    spec = folder / "spec.yaml"
    spec.write_text("unit: accuracy\ntables: {datacomp: , relaion: {columns: {value: top1, gflops_paper: C}}}\n")
    given: list[str] = []
    for name, key in (("datacomp", "tables.datacomp"), ("relaion", "tables.relaion.path")):
        with pytest.raises(InputError, match=rf"give {key}=PATH on the command line"):
            load_table(load_config(LawSpec, spec, given))
        given.append(f"{key}={folder / name}.csv")
    frame, _ = load_table(load_config(LawSpec, spec, given))
    assert frame["table"].value_counts().to_dict() == {"datacomp": 10, "relaion": 10}


def test_dropped_rows_are_named_in_what_is_shown(folder: Path) -> None:
    outputs = run_any(SPEC, folder)
    shown = [row for row in outputs.tables["selection"].rows if row[1] == "2"]
    assert shown == [
        ("bad rows: gflops_paper is not a finite number: datacomp line 11, relaion line 11", "2", "18"),
    ]
    assert law_outputs(run_spec(SPEC, folder)).json["selection"] == outputs.json["selection"]
    assert outputs.json["selection"][-1]["rows"] == ("datacomp line 11", "relaion line 11")
    assert [cost["searched"]["trainings"] for cost in outputs.json["cost"]] == [9, 9]
    assert [runs["cells"] for runs in outputs.json["runs_per_cell"]] == [9, 9]
