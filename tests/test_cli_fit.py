"""`mammut-clip fit` as a user meets it: what is printed, what is written, exit codes, and messages for bad input."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from commands import run_command

X = [10.0**e for e in range(2, 12)]
SPEC = """
title: made-up errors
columns: {gflops_paper: compute}
unit: error
form: saturation
frontier: {method: all}
bootstrap: {count: 400}
"""


def run(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> CompletedProcess[str]:
    surroundings = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"} | environment
    return run_command("fit", *arguments, cwd=cwd, environment=surroundings)


def printed(*arguments: str | Path, code: int = 0, **more: Any) -> Any:
    done = run(*arguments, "--json", **more)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def refused(*arguments: str | Path, **more: Any) -> str:
    done = run(*arguments, **more)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr and done.stdout == ""
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """points.csv, and two specs in specs/ of which the second asks for a group that is not there."""
    made = tmp_path_factory.mktemp("fit")
    families = {"clip": (5.0, -0.3), "mammut": (9.0, -0.35)}
    rows = [f"{f},{x},{a * (x + 1000.0) ** c + 0.1}" for f, (a, c) in families.items() for x in X]
    (made / "points.csv").write_text("family,compute,value\n" + "\n".join(rows) + "\n")
    (made / "clip.csv").write_text("compute,error\n" + "\n".join(r.split(",", 1)[1] for r in rows[:10]) + "\n")
    (made / "specs").mkdir()
    (made / "specs/one.yaml").write_text(SPEC + "table: points.csv\n")
    (made / "specs/two.yaml").write_text(SPEC + "table: points.csv\ngroups: [coca]\n")
    return made


def test_law_with_predictions(folder: Path) -> None:
    columns = ["--csv", folder / "clip.csv", "--x", "compute", "--y", "error"]
    law = printed("law", *columns, "--residuals", "log", "--at", "1e12", "--at", "1e8", "--level", "0.8")
    assert law["residuals"] == "log" and law["params"] == pytest.approx(
        {"a": 5, "b": 1e3, "c": -0.3, "d": 0.1}, rel=1e-3
    )
    far, near = law["predictions"]
    assert far["predicted"] == pytest.approx(5 * 1e12**-0.3 + 0.1, rel=1e-3) and far["level"] == 0.8
    assert far["extrapolated"] and not near["extrapolated"]
    assert far["lower"] <= far["predicted"] <= far["upper"]
    average = printed("law", *columns, "--form", "average")
    assert sum(form["weight"] for form in average["record"]["forms"]) == pytest.approx(1)
    shown = run("law", *columns, "--at", "1e12").stdout
    assert "saturation: 10 points" in shown and "error at compute" in shown


def test_law_of_other_units(tmp_path: Path) -> None:
    """Percents, and compute in FLOPs, whose numbers stay short."""
    accuracies = [100 * (1 - 5e3 * (x + 1e12) ** -0.3 - 0.1) for x in (10.0**e for e in range(18, 25))]
    lines = [f"{10.0**e},{y}" for e, y in zip(range(18, 25), accuracies, strict=True)]
    (tmp_path / "points.csv").write_text("flops,acc\n" + "\n".join(lines) + "\n")
    columns = ["--csv", tmp_path / "points.csv", "--x", "flops", "--y", "acc"]
    law = printed("law", *columns, "--unit", "percent", "--form", "power", "--at", "1e25")
    assert law["params"]["c"] < 0 and law["predictions"][0]["upper"] <= 1 and law["warnings"] == []
    shown = run("law", *columns, "--unit", "percent", "--form", "power", "--at", "1e25").stdout
    assert "error of acc = a x^c with x = flops" in shown and "| 1e+25 |" in shown and "000,000" not in shown
    assert "acc rises with flops" in run("law", *columns).stdout
    assert "is it percent" in refused("law", *columns, "--unit", "accuracy")
    assert "unit = 'percents'" in refused("law", *columns, "--unit", "percents")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--form", "powr"], "form = 'powr'"),
        (["--residuals", "ln"], "residuals = 'ln': expected 'raw', 'log' or 'logit'"),
        (["--level", "95"], "level = 95.0"),
        (["--at", "-1"], "ask.0 = -1.0"),
        (["--huber-delta", "0"], "huber_delta = 0.0"),
        (["--y", "eror"], "no column 'eror'; did you mean error"),
    ],
)
def test_law_refuses_bad_options(folder: Path, options: list[str], said: str) -> None:
    assert said in refused("law", "--csv", folder / "clip.csv", "--x", "compute", "--y", "error", *options)


def test_one_spec_is_printed_and_written_by_itself(folder: Path, tmp_path: Path) -> None:
    spec, table = folder / "specs/one.yaml", folder / "points.csv"
    report = printed("run", spec, "form=power", "residuals=log", "--table", table, "--out", tmp_path / "out")
    assert report["spec"]["form"] == "power" and set(report["groups"]) == {"clip", "mammut"}
    assert json.loads((tmp_path / "out/fit.json").read_text()) == report
    assert (tmp_path / "out/law.png").stat().st_size > 1000
    shown = run("run", spec, "--table", folder).stdout  # a folder that holds the table which the spec names
    assert shown.startswith("made-up errors") and "## laws" in shown and "| clip | saturation |" in shown
    by_environment = run("run", spec, "--json", MAMMUT_CLIP_TABLE=str(table))
    assert json.loads(by_environment.stdout)["groups"].keys() == report["groups"].keys()


def test_several_specs_go_on_past_one_that_fails(folder: Path, tmp_path: Path) -> None:
    found = printed("run", folder / "specs", "--table", folder, "--out", tmp_path, code=3)
    assert set(found["reports"]) == {"one"} and "family = coca; known: clip, mammut" in found["failed"]["two"]
    assert (tmp_path / "one/fit.json").is_file() and not (tmp_path / "two").exists()
    done = run("run", folder / "specs", "--table", folder)
    assert done.returncode == 3 and "1 of 2 specs could not be run\n  two: " in done.stderr
    assert done.stdout.startswith("# one\n")
    assert "2 of 2 specs" in refused("run", folder / "specs", "--table", folder, "groups=[coca]")


def test_figures_writes_an_index(folder: Path, tmp_path: Path) -> None:
    done = run("figures", folder / "specs", "--table", folder, "--out", "drawn", cwd=tmp_path)
    assert done.returncode == 3 and "written: drawn/index.md" in done.stderr
    index = (tmp_path / "drawn/index.md").read_text()
    assert "![law of one](one/law.png)" in index and "- two: " in index


def test_bad_targets_are_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/a.yaml").write_text(SPEC)
    (tmp_path / "specs/b.yaml").write_text(SPEC + "forms: power\n")
    assert "forms: unknown key" in refused("run", tmp_path / "specs", "--table", folder / "points.csv", "--out", out)
    assert "did you mean paper-figure1" in refused("run", "paper-figur1", "--out", out)
    assert "the name of a spec is missing" in refused("run", "form=power")
    assert "names no table" in refused("run", tmp_path / "specs/a.yaml", "--out", out)
    assert "no such folder" in refused("figures", tmp_path / "nowhere", "--out", out)
    taken = tmp_path / "specs/a.yaml"
    for command in ("run", "figures"):
        said = refused(command, folder / "specs", "--table", folder, "--out", taken / "laws")
        assert "a.yaml/laws: cannot be written to" in said and "is no folder" in said
    assert not out.exists()
