"""The files of a fit: complete, in agreed formats, and the same bytes from the same input."""

import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from made_up_sweep import made_up_law, made_up_results

from mammut_clip.config.errors import InputError
from mammut_clip.fit import run_spec, to_csv, to_latex, to_markdown
from mammut_clip.fit.law_outputs import law_outputs
from mammut_clip.fit.output import Outputs, check_folder, write_outputs
from mammut_clip.fit.style import LIGHT, new_figure
from mammut_clip.fit.tables import Table, with_error


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One report, made and written twice."""
    folders = [tmp_path_factory.mktemp("fit") / name for name in ("one", "two")]
    for folder in folders:
        run_spec(made_up_law(title="a_b & c", held_out={"largest": 2}, ask=[3e6, 1e7]), made_up_results(), folder)
    return folders[0], folders[1]


def test_the_same_report_gives_the_same_bytes(written: tuple[Path, Path]) -> None:
    one, two = written
    names = sorted(p.name for p in one.iterdir())
    assert names == sorted(p.name for p in two.iterdir())
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_every_table_has_every_format_and_every_figure_both(written: tuple[Path, Path]) -> None:
    names = {p.name for p in written[0].iterdir()}
    stems = {n.removesuffix(".tex") for n in names if n.endswith(".tex")}
    assert {"laws", "predictions", "held_out", "runs_per_cell", "cost", "selection"} <= stems
    figures = {n.removesuffix(".pdf") for n in names if n.endswith(".pdf")}
    assert figures == {"law", "points", "comparison"}
    expected = {f"{stem}.{suffix}" for stem in stems for suffix in ("md", "csv", "tex")}
    expected |= {f"{stem}.{suffix}" for stem in figures for suffix in ("pdf", "png")}
    assert names == expected | {"fit.json", "points.csv"}
    assert (written[0] / "law.png").read_bytes().startswith(b"\x89PNG")
    assert (written[0] / "law.pdf").read_bytes().startswith(b"%PDF")


def test_json_and_points_say_what_was_fitted(written: tuple[Path, Path]) -> None:
    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    read = json.loads((written[0] / "fit.json").read_text(), parse_constant=no_constant)
    assert read["groups"]["clip"]["law"]["params"].keys() == {"a", "b", "c"}
    assert len(read["groups"]["mammut"]["held_out"]) == 2
    assert {one["group"] for one in read["cost"]} == {"clip", "mammut"}
    points = pd.read_csv(written[0] / "points.csv")
    assert points["held_out"].sum() == 4 and points["fitted"].sum() == 26
    assert "table_row" not in points


def test_predictions_are_those_of_the_estimate() -> None:
    report = run_spec(made_up_law(title="a_b & c", ask=[3e6, 1e3]), made_up_results())
    table = law_outputs(report).tables["predictions"]
    assert [row[0] for row in table.rows] == ["clip", "clip", "mammut", "mammut"]
    for row in table.rows:
        (group,) = [g for g in report.groups if g.name == row[0]]
        x = float(row[1])
        low, high = group.estimate.predict_interval([x])
        law_low, law_high = group.estimate.law_interval([x])
        assert float(row[2]) == pytest.approx(float(group.estimate.predict(x)), abs=1e-4)
        assert row[3] == f"{low[0]:.4f} to {high[0]:.4f}"
        assert row[4] == f"{law_low[0]:.4f} to {law_high[0]:.4f}"
        largest = group.estimate.x_range[1]
        assert row[5] == ("no" if x < largest else f"by a factor of {x / largest:.3g}")


def test_only_what_there_is_is_written(tmp_path: Path) -> None:
    """No held-out points, no question, one group: no empty tables, no comparison."""
    run_spec(made_up_law(title="a_b & c", groups=["clip"]), made_up_results(), tmp_path)
    stems = {p.stem for p in tmp_path.iterdir()}
    assert stems.isdisjoint({"held_out", "predictions", "comparison", "comparison_verdicts"})


def test_outputs_of_any_kind_are_written(tmp_path: Path) -> None:
    outputs = Outputs(
        title="t",
        json={"a": 1},
        tables={"some": Table(("x",), (("1",),))},
        figures={"empty": lambda theme: new_figure(theme)[0]},
        frames={"data": pd.DataFrame({"x": [1.5]})},
    )
    write_outputs(outputs, tmp_path / "deep" / "down")
    names = {p.name for p in (tmp_path / "deep/down").iterdir()}
    assert names == {"fit.json", "some.md", "some.csv", "some.tex", "empty.pdf", "empty.png", "data.csv"}
    with pytest.raises(ValueError, match="JSON"):
        write_outputs(Outputs("", {"a": float("nan")}, {}, {"f": partial(lambda t: new_figure(t)[0], LIGHT)}), tmp_path)


def test_a_folder_that_cannot_be_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(InputError, match=r"file: cannot be written to|deep: cannot be written to"):
            check_folder(out)
        with pytest.raises(InputError, match="cannot be written to"):
            write_outputs(Outputs("", {}, {}, {}), out)
    check_folder(tmp_path / "not" / "yet")
    assert not (tmp_path / "not").exists()


def test_laws_of_an_average_say_their_share() -> None:
    report = run_spec(made_up_law(title="a_b & c", form="average", groups=["clip"]), made_up_results())
    (row,) = law_outputs(report).tables["laws"].rows
    (group,) = report.groups
    weight = max(m.weight for m in group.fitted.members)
    assert row[1] == f"{group.law.form}, {weight:.0%} of the average"


def test_table_formats() -> None:
    table = Table(("a_b", "c"), (("x|y", "50%"), ("1,2", "p & q ± r")))
    assert to_markdown(table).splitlines()[2] == r"| x\|y | 50% |"
    assert to_csv(table).splitlines()[2] == '"1,2",p & q ± r'
    latex = to_latex(table)
    assert r"a\_b & c \\" in latex and r"p \& q $\pm$ r \\" in latex and r"50\%" in latex
    assert with_error(0.123456, 0.0123) == "0.1235 ± 0.012" and with_error(2.0, None) == "2"
