"""docs/fitting-data.md stays true: its specs are accepted, every key and method is explained, its tables come out."""

import re
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from mammut_clip.config.files import find_file
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.fit_points import Frontier, FrontierName
from mammut_clip.config.fit_rows import Filter, RowSpec
from mammut_clip.config.load import load_config, parse_yaml, validate
from mammut_clip.fit.best_of import best_of, best_of_table
from mammut_clip.fit.cost_of_law import cost_table, law_costs
from mammut_clip.fit.frontier import frontier
from mammut_clip.fit.table import load_table, select
from mammut_clip.fit.tables import Table

PAGE = (Path(__file__).resolve().parents[2] / "docs/fitting-data.md").read_text(encoding="utf-8")


def test_its_specs_are_accepted() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    specs = [validate(RowSpec, parse_yaml(block, "the page"), "the page") for block in blocks]
    assert len(specs) == 3 and specs[1].tables and specs[2].drop_where


def test_every_key_and_method_is_explained() -> None:
    keys = [*RowSpec.model_fields, *Filter.model_fields, *Frontier.model_fields]
    missing = [key for key in keys if key not in ("title", "groups") and not re.search(rf"\b{key}\b", PAGE)]
    assert not missing
    methods = re.findall(r"^\| `([a-z_]+)` \|", PAGE.partition("| method |")[2], re.MULTILINE)
    assert set(methods) >= set(get_args(FrontierName))


@pytest.mark.parametrize(("name", "made"), [("paper-figure1", "runs"), ("paper-schedules", "cost")])
def test_its_tables_come_out(shared_dir: Path, name: str, made: str) -> None:
    spec = load_config(LawSpec, find_file("fit", name))
    frame, source = load_table(spec, shared_dir / "data/paper" / str(spec.table))
    points = select(frame, spec, source).points
    groups = {group: _fitted(points[points[spec.group] == group], spec.frontier) for group in spec.groups or ()}
    table = (
        best_of_table(best_of(groups), spec.group)
        if made == "runs"
        else cost_table(law_costs(groups, spec), spec.group)
    )
    for line in _lines(table):
        assert line in PAGE


def test_its_number_of_points_by_method(shared_dir: Path) -> None:
    spec = load_config(LawSpec, find_file("fit", "paper-figure1"))
    frame, source = load_table(spec, shared_dir / "data/paper" / str(spec.table))
    points = select(frame, spec, source).points
    ways = {
        "`paper`": Frontier(method="paper"),
        "`bins`, factor 2": Frontier(method="bins"),
        "`bins`, factor 4": Frontier(method="bins", bin_factor=4),
        "`non_dominated`": Frontier(method="non_dominated"),
        "`quantile` 0.1": Frontier(method="quantile", quantile=0.1),
        "`best_per_cell`": Frontier(method="best_per_cell"),
        "`all`": Frontier(method="all"),
    }
    for said, how in ways.items():
        clip, mammut = (
            int(_fitted(points[points["family"] == family], how)["fitted"].sum()) for family in ("clip", "mammut")
        )
        assert re.search(rf"^\| {said} \| {clip}, .* \| {mammut}, ", PAGE, re.MULTILINE), said


def _fitted(points: pd.DataFrame, how: Frontier) -> pd.DataFrame:
    return points.assign(fitted=frontier(points, "x", "error", how))


def _lines(table: Table) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (table.header, *table.rows)]
