"""Overview tables as files: each format can be read back, names cannot break it, and the same table is the same
bytes."""

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from mammut_clip.config.errors import InputError
from mammut_clip.runs.overview import Cell, OverviewTable, print_tables, write_tables
from mammut_clip.runs.overview.units import Unit

NASTY = 'ViT_S|32 <b>&"50%" $x$ #1 {a}\\ *z* ~^ `q`'
TABLE = OverviewTable(
    task="imagenet1k", metric="acc1", dataset=NASTY, schedule="cosine", family="clip", unit=Unit(),
    all_checkpoints=False, rows=("ViT-S-32", NASTY), columns=(1280000, 3072000),
    cells=((Cell(0.01304, 4, "a"), None), (Cell(0.0125, 1, NASTY), Cell(1 / 3, 12, "<i>"))),
)  # fmt: skip
BOLD = {("ViT-S-32", "1.28M"), (NASTY, "3.072M")}


def written(tmp_path: Path, name: str) -> str:
    """The file of this name, of two equal tables."""
    write_tables([TABLE, TABLE], tmp_path)
    return (tmp_path / name).read_text(encoding="utf-8")


def test_every_format_is_written_and_the_same_bytes_again(tmp_path: Path) -> None:
    first = write_tables([TABLE], tmp_path / "a")
    again = write_tables([TABLE], tmp_path / "b", ["csv", "md", "tex", "html"])
    names = ["overview.csv", "overview-wide.csv", "overview.md", "overview.tex", "overview.html"]
    assert [path.name for path in first] == names
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(names)


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"format 'htm': expected some of csv, md, tex, html; did you mean html"):
        write_tables([TABLE], tmp_path / "out", ["csv", "htm"])
    assert not (tmp_path / "out").exists()


def test_csv_keeps_values_as_measured(tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(written(tmp_path, "overview.csv"))))
    assert len(lines) == 6
    found = {(line["model"], int(line["samples"])): line for line in lines}
    assert float(found[NASTY, 3072000]["value"]) == 1 / 3
    assert found[NASTY, 3072000]["recipes"] == "12"
    assert {key for key, line in found.items() if line["best"] == "1"} == {("ViT-S-32", 1280000), (NASTY, 3072000)}


def test_wide_csv_has_a_column_for_each_number_of_samples(tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(written(tmp_path, "overview-wide.csv"))))
    assert [(line["model"], line["1.28M"], line["3.072M"]) for line in lines[:2]] == [
        ("ViT-S-32", "0.01304", ""),
        (NASTY, "0.0125", repr(1 / 3)),
    ]


def test_markdown_shows_percentages_with_bold_maxima(tmp_path: Path) -> None:
    text = written(tmp_path, "overview.md")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[:3] == ["| model | 1.28M | 3.072M |", "| --- | --: | --: |", "| ViT-S-32 | **1.3** |  |"]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {4}
    assert lines[3].endswith(" | 1.2 | **33.3** |")
    assert "Percentages" in text
    assert "1 to 12 recipes" in text


def test_latex_escapes_names_and_marks_maxima(tmp_path: Path) -> None:
    text = written(tmp_path, "overview.tex")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert rows[:2] == [r"Model & 1.28M & 3.072M \\", r"ViT-S-32 & \textbf{1.3} & -- \\"]
    assert rows[2].endswith(r" & 1.2 & \textbf{33.3} \\")
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {2}
    assert text.count(r"\begin{tabular}{lrr}") == text.count(r"\end{tabular}") == 2
    braces = re.sub(r"\\[{}]", "", text)
    assert braces.count("{") == braces.count("}")
    assert not re.search(r"(?<!\\)[#$_]", text)


class Page(HTMLParser):
    """What a browser finds in a page: tags that are open, cells by row and whether they are bold."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.bold: set[tuple[str, str]] = set()
        self.headings: list[str] = []
        self.loads: list[str] = []
        self._best = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)
        found = dict(attrs)
        self.loads += [
            str(value) for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")
        ]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._best = found.get("class") == "best"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
            if self._best:
                self.bold.add((self.rows[-1][0], self.rows[0][len(self.rows[-1]) - 1]))


def test_the_page_holds_the_table_and_nothing_that_names_smuggle_in(tmp_path: Path) -> None:
    page = Page()
    page.feed(written(tmp_path, "overview.html"))
    assert page.open == []
    assert not {"b", "i", "script", "img", "link"} & set(page.tags)
    assert page.loads == []
    assert page.rows[:3] == [["model", "1.28M", "3.072M"], ["ViT-S-32", "1.3", ""], [NASTY, "1.2", "33.3"]]
    assert page.bold == BOLD


def test_the_terminal_shows_the_same_table() -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system="standard", no_color=False)
    print_tables([TABLE], console)
    file = console.file
    assert isinstance(file, io.StringIO)
    text = file.getvalue()
    assert re.findall(r"\x1b\[1m *([\d.]+)", text) == ["1.3", "33.3"]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert NASTY in plain
    assert "33.3" in plain
    assert "Bold: the highest of each column." in plain
