"""Files -> one frame: formats, names of rows, several tables of one spec."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_rows import RowSpec
from mammut_clip.fit.table import ROW, load_table, read_table, select

FRAME = pd.DataFrame(
    {"C": [1e9, 2e9, 4e9], "acc": [0.1, 0.2, 0.4], "model": ["S", "M", "L"], "family": ["clip", "clip", "mammut"]}
)


def spec(**changes: Any) -> RowSpec:
    return RowSpec.model_validate({"unit": "accuracy", "columns": {"gflops_paper": "C", "value": "acc"}} | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.rename(columns={"acc": "score"}).to_parquet(tmp_path / "b.parquet")
    FRAME.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    return tmp_path


def test_formats_agree_and_rows_are_named_as_in_the_file(folder: Path) -> None:
    frames = {suffix: read_table(folder / name) for suffix, name in (("csv", "a.csv"), ("tsv", "a.tsv"))}
    for frame in frames.values():
        assert frame[ROW].tolist() == ["line 2", "line 3", "line 4"]
        pd.testing.assert_frame_equal(frame.drop(columns=ROW), FRAME, check_dtype=False)
    assert read_table(folder / "b.parquet")[ROW].tolist() == ["row 0", "row 1", "row 2"]


def test_several_tables_become_one_that_says_where_each_row_is_from(folder: Path) -> None:
    several = spec(
        tables={
            "one": str(folder / "a.csv"),
            "two": {"path": str(folder / "b.parquet"), "columns": {"value": "score"}},
        },
        joined={"curve": ["family", "table"]},
        group="curve",
    )
    frame, source = load_table(several)
    assert source == f"{folder / 'a.csv'} + {folder / 'b.parquet'}"
    points = select(frame, several, source).points
    assert points["table"].tolist() == ["one"] * 3 + ["two"] * 3
    assert points["curve"].tolist() == ["clip one", "clip one", "mammut one", "clip two", "clip two", "mammut two"]
    assert points["error"].tolist() == pytest.approx([0.9, 0.8, 0.6] * 2)
    assert points[ROW].tolist() == ["one line 2", "one line 3", "one line 4", "two row 0", "two row 1", "two row 2"]


def test_paths_of_tables_may_come_from_elsewhere(folder: Path) -> None:
    several = spec(tables={"one": "a.csv", "two": "a.tsv"})
    assert len(load_table(several, folder)[0]) == 6  # a folder that holds them
    assert load_table(spec(table=str(folder / "a.csv")))[1] == str(folder / "a.csv")
    assert load_table(spec(table="absent.csv"), folder / "a.csv")[1] == str(folder / "a.csv")
    assert load_table(spec(), FRAME) == (FRAME, "results table")


@pytest.mark.parametrize(
    ("changes", "given", "said"),
    [
        ({}, None, "the spec names no table"),
        ({"table": "gone.csv"}, None, "gone.csv: no such file"),
        ({"tables": {"one": None}}, None, "tables.one: the spec gives no path: give tables.one=PATH"),
        ({"tables": {"one": "a.csv"}}, Path("a.csv"), "a.csv: the spec reads the tables one: give a folder"),
        ({"tables": {"one": "gone.csv"}}, None, "gone.csv: no such file"),
        ({"tables": {"one": "a.csv", "two": "b.parquet"}}, None, "b.parquet: no column 'acc'"),
        ({"tables": {"one": "a.csv"}, "table_column": "model"}, None, "has a column 'model' already"),
        ({"tables": {"one": "a.csv"}, "columns": {"value": "acc"}}, None, "no column 'gflops_paper' for table one"),
    ],
)
def test_missing_tables_and_columns_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], given: Any, said: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InputError) as caught:
        load_table(spec(**changes), given)
    assert said in str(caught.value)


def test_unreadable_files(folder: Path) -> None:
    (folder / "bad.parquet").write_bytes(b"PAR1 not really")
    (folder / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"bad.parquet: cannot be read as parquet"):
        read_table(folder / "bad.parquet")
    with pytest.raises(InputError, match=r"expected a .csv, .tsv or .parquet file"):
        read_table(folder / "notes.txt")


def test_a_joined_column_is_empty_where_a_part_is() -> None:
    table = FRAME.assign(family=["clip", None, "mammut"])
    with pytest.raises(InputError, match=r"curve is empty: row 1 \(nan\)"):
        select(table, spec(joined={"curve": ["family", "model"]}, group="curve"), "t")
    kept = select(table, spec(joined={"curve": ["family", "model"]}, group="curve", bad_rows="drop"), "t")
    assert kept.points["curve"].tolist() == ["clip S", "mammut L"]
    with pytest.raises(InputError, match="joined: the table has a column 'model' already"):
        select(table, spec(joined={"model": ["family"]}), "t")


def test_one_column_may_serve_as_two_of_ours() -> None:
    both = spec(columns={"gflops_paper": "C", "value": "acc", "group": "family", "family": "family"}, group="group")
    points = select(FRAME, both, "t").points
    assert points["group"].tolist() == points["family"].tolist() == FRAME["family"].tolist()
    swapped = spec(columns={"gflops_paper": "acc", "value": "C"}, unit="error")
    assert np.array_equal(select(FRAME, swapped, "t").points["x"], FRAME["acc"])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "C,acc,acc\n1e9,0.1,0.2\n", "the column 'acc' stands twice"),
        ("a.csv", "C,acc, acc \n1e9,0.1,0.2\n", "the column 'acc' stands twice"),
        ("a.tsv", "C\tC\n1\t2\n", "the column 'C' stands twice"),
        ("a.csv", "C;acc\n1e9;0.1\n", "expected commas between columns, found one column: C;acc"),
        ("a.tsv", "C,acc\n1e9,0.1\n", "expected tabs between columns, found one column: C,acc"),
        ("a.csv", "", "cannot be read as csv"),
    ],
)
def test_headers_that_can_be_misread_are_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_table(tmp_path / name)


def test_spaces_about_names_are_no_part_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffC , acc\n1e9, 0.1\n", encoding="utf-8")
    assert read_table(tmp_path / "a.csv").drop(columns=ROW).to_dict("list") == {"C": [1e9], "acc": [0.1]}
