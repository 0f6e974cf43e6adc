"""Specs of every kind and many at a time, and the specs that come with the program."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_sweep import made_up_results

from mammut_clip.config.errors import InputError
from mammut_clip.config.files import shipped
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.fit_kinds import load_fit_spec
from mammut_clip.fit.output import write_outputs
from mammut_clip.fit.specs import run_any, run_many, table_of, to_json_dict, write_index

SHIPPED = {name: path for name, path in shipped("fit").items() if path.suffix == ".yaml"}
QUICK = ["bootstrap.count=400"]
PAGE = Path(__file__).resolve().parents[2] / "docs/fitting-specs.md"
FIGURES = range(1, 13)
PAPER_TABLES = {"runs_datacomp_cosine.parquet", "imagenet1k_best.csv"}


def names_with(table: bool) -> list[str]:
    """Shipped specs of the paper that name one of its tables, or that read a sweep's results."""
    named = {n: load_fit_spec(p).table in PAPER_TABLES for n, p in SHIPPED.items() if n.startswith("paper-")}
    return [name for name, found in named.items() if found == table]


SWEEPS = [*names_with(table=False), "imagenet1k", "toy", "toy-retrieval"]
"""Specs that read the results of a sweep."""


def law(**changes: Any) -> LawSpec:
    values = {"unit": "accuracy", "form": "power", "residuals": "log", "bootstrap": {"count": 400}}
    return LawSpec.model_validate(values | {"task": "toy_pairs", "metric": "acc1"} | changes)


def test_every_figure_of_the_paper_has_a_spec() -> None:
    for number in FIGURES:
        assert any(re.fullmatch(rf"paper-figure{number}(-.*)?", name) for name in SHIPPED), number
        assert f"paper-figure{number}" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_specs_say_what_they_read_and_name_no_place(name: str) -> None:
    spec = load_fit_spec(SHIPPED[name])
    tables = [spec.table, *(one.path for one in spec.tables.values())]
    assert all(table is None or Path(table).name == table for table in tables)
    head = SHIPPED[name].read_text().split("title:")[0]
    assert head.startswith("# ") and spec.title
    if name.startswith("paper-"):
        assert f"mammut-clip fit run {name}" in head


@pytest.mark.parametrize("name", names_with(table=True))
def test_the_papers_figures_are_made_from_its_tables_as_the_page_says(name: str, shared_dir: Path) -> None:
    outputs = run_any(load_fit_spec(SHIPPED[name], QUICK), shared_dir / "data/paper")
    json.dumps(outputs.json, allow_nan=False)
    assert outputs.tables and outputs.figures
    laws = {name: group["law"] for name, group in outputs.json["groups"].items() if "law" in group}
    assert all(law["converged"] for law in laws.values())
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {name} |") and "; " in line]
    if name.startswith("paper-figure") and "figure6" not in name:
        (row,) = rows
        assert "; ".join(words(group, law) for group, law in laws.items()) in row


def words(group: str, law: dict[str, Any]) -> str:
    """A law as docs/fitting-specs.md prints it."""
    p = law["params"]
    text = f"{group} {p['a']:.5g}, {math.log(p['b']):.4f}, {p['c']:.4f}"
    bound = " (at its bound)" if "d" in law["at_bound"] else ""
    return text + (f", {p['d']:.4f}{bound}" if "d" in p else "")


@pytest.fixture(scope="module")
def sweep_results() -> pd.DataFrame:
    """What the specs without a table of the paper read: all of their tasks, families and schedules."""
    specs = [load_fit_spec(SHIPPED[name]) for name in SWEEPS]
    measured = sorted({(s.task, s.metric) for s in specs if s.task and s.metric})
    # As much compute as the thresholds of the paper ask for.
    stretched = made_up_results(("clip", "mammut", "cap"), measured, ("cosine", "const"), compute=5e5)
    return stretched.assign(samples_seen=stretched["samples_seen"] * 1000)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_other_specs_run_on_a_sweeps_results(name: str, sweep_results: pd.DataFrame) -> None:
    frame = sweep_results.assign(checkpoint_samples=sweep_results["checkpoint_samples"] * 1000)
    outputs = run_any(load_fit_spec(SHIPPED[name], QUICK), frame)
    for group in outputs.json["groups"].values():
        assert group["law"]["n"] >= 4


def test_a_folder_of_tables_serves_specs_by_the_names_they_give(tmp_path: Path) -> None:
    made_up_results().to_csv(tmp_path / "mine.csv", index=False)
    named, bare = law(table="mine.csv"), law()
    assert table_of(named, tmp_path) == tmp_path / "mine.csv"
    assert table_of(bare, tmp_path / "mine.csv") == tmp_path / "mine.csv"
    assert run_any(named, tmp_path).json["groups"] == run_any(bare, tmp_path / "mine.csv").json["groups"]
    made_up_results().to_parquet(tmp_path / "results.parquet")
    assert table_of(bare, tmp_path) == tmp_path / "results.parquet"
    (tmp_path / "results.parquet").unlink()
    for spec, said in ((law(table="other.csv"), "neither other.csv nor a sweep's runs"), (bare, "neither a table")):
        with pytest.raises(InputError, match=said):
            table_of(spec, tmp_path)


def test_one_spec_that_cannot_be_run_stops_alone(tmp_path: Path) -> None:
    made_up_results().to_csv(tmp_path / "mine.csv", index=False)
    specs = {"good": law(title="it works"), "bad": law(task="nowhere"), "also": law(groups=["clip"])}
    done = list(run_many(specs, tmp_path / "mine.csv", tmp_path / "out"))
    assert [one.outputs is not None for one in done] == [True, False, True]
    assert "no row has task = 'nowhere'" in done[1].problem
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"good", "also"}
    said = to_json_dict(done)
    assert set(said["reports"]) == {"good", "also"} and set(said["failed"]) == {"bad"}
    write_index(done, tmp_path / "out")
    index = (tmp_path / "out/index.md").read_text()
    assert "it works" in index and "- bad: " in index
    linked = re.findall(r"\]\((.*?)\)", index)
    assert len(linked) >= 4 and all((tmp_path / "out" / link).is_file() for link in linked)


@pytest.mark.parametrize("kind", ["optimal", "joint"])  # laws: test_fit_output.py
def test_other_kinds_repeat_to_the_byte_too(kind: str, tmp_path: Path) -> None:
    table = made_up_results().drop(columns=["gflops_exact"])
    table = table.assign(gflops_per_sample=table["gflops_paper"] / table["checkpoint_samples"])
    file = tmp_path / "spec.yaml"
    file.write_text(f"kind: {kind}\nunit: accuracy\ntask: toy_pairs\nmetric: acc1\nbootstrap: {{count: 400}}\n")
    for name in ("one", "two"):
        write_outputs(run_any(load_fit_spec(file), table), tmp_path / name)
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert {"fit.json"} < set(names) and any(n.endswith(".pdf") for n in names)
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
