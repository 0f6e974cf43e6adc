"""The keys that say which rows and points a fit means: what is read, what is refused, and in which words."""

from typing import Any

import pytest

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.fit_points import Frontier
from mammut_clip.config.fit_rows import RowSpec, TableSource
from mammut_clip.config.load import parse_yaml, to_yaml, validate

SPEC = """
unit: percent
tables:
  datacomp: a.parquet
  relaion: {path: b.csv, columns: {value: acc}}
  later:
columns: {gflops_paper: C}
joined: {curve: [family, table]}
group: curve
filters: [{column: model, none_of: [ViT-H-14]}]
drop_where: [[{column: error, at_least: 0.7}, {column: gflops_paper, above: 1e11}]]
bad_rows: drop
"""


def test_a_whole_spec_reads_back_as_it_was_written() -> None:
    spec = validate(RowSpec, parse_yaml(SPEC, "text"), "text")
    assert spec.tables["datacomp"] == TableSource(path="a.parquet")
    assert spec.tables["relaion"].columns == {"value": "acc"} and spec.tables["later"].path is None
    assert [(f.column, f.above) for f in spec.drop_where[0]] == [("error", None), ("gflops_paper", 1e11)]
    assert validate(RowSpec, parse_yaml(to_yaml(spec), "text"), "text") == spec


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"table": "a", "tables": {"b": "c"}}, "expected one of table, tables"),
        ({"tables": {"b": {"file": "c"}}}, "tables.b.file: unknown key; known: columns, path"),
        ({"tables": "a.csv"}, "tables = 'a.csv'"),
        ({"joined": {"curve": []}}, "joined.curve = []"),
        ({"drop_where": [[]]}, "drop_where.0 = []"),
        ({"filters": [{"column": "lr"}]}, "expected at least one of equals, one_of, none_of, at_least"),
        ({"bad_rows": "ignore"}, "bad_rows = 'ignore': expected 'refuse' or 'drop'"),
        ({"checkpoints": "some"}, "checkpoints = 'some'"),
    ],
)
def test_rows_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(RowSpec, {"unit": "error"} | values, "spec.yaml")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "quantile"}, "quantile belongs to method: quantile and is needed there"),
        ({"method": "bins", "quantile": 0.5}, "quantile belongs to method: quantile and is needed there"),
        ({"method": "quantile", "quantile": 0}, "quantile = 0"),
        ({"method": "paper", "bin_factor": 2}, "bin_factor belongs to method: bins or quantile, not to paper"),
        ({"method": "all", "bin_edge": 1e9}, "bin_edge belongs to method: bins or quantile, not to all"),
        ({"method": "bins", "bin_factor": 1}, "bin_factor = 1"),
        ({"method": "best"}, "method = 'best'"),
    ],
)
def test_points_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Frontier, values, "spec.yaml")
    assert said in str(caught.value)
