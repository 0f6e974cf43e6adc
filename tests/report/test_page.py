"""The page stands alone, shows what it was given, and gives no text a chance to become markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.report import Picture, ReportData, render_report, write_report
from mammut_clip.report.plots import binned
from mammut_clip.report.summary import summarise


class Page(HTMLParser):
    """Every tag with its attributes, and the visible text."""

    void = frozenset({"meta", "img", "source"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def page(report_data: ReportData) -> Page:
    return Page(render_report(report_data))


def test_nothing_is_loaded_from_elsewhere(report_data: ReportData, page: Page) -> None:
    text = render_report(report_data)
    outside_data = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert "http:" not in outside_data and "https:" not in outside_data
    assert "url(" not in outside_data and "@import" not in outside_data
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    sources = [a.get("src") or a.get("srcset") for tag, a in page.tags if tag in {"img", "source"}]
    # Three plots in two themes, and eight pictures.
    assert len(sources) == 14 and all(s is not None and s.startswith("data:image/") for s in sources)
    policy = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_markup_is_whole_and_text_is_escaped(page: Page) -> None:
    assert not page.open
    assert "made-up <sweep>" in page.text and "error on <unseen> pairs" in page.text
    assert "a large <b>striped</b> square & 3 dots" in page.text
    assert not {"b", "sweep", "unseen"} & {tag for tag, _ in page.tags}


def test_every_run_and_held_out_prediction_is_shown(report_data: ReportData, page: Page) -> None:
    for run in report_data.results["run"].unique():
        assert run in page.text
    for record in report_data.fits[0].held_out:
        assert f"{record.predicted:.4f}" in page.text and f"{record.measured:.4f}" in page.text
    value = report_data.results.query("run == 'clip-L-409600' and metric == 'acc1'")["value"].iloc[-1]
    assert f"{value:.4f}" in page.text


def test_summary_says_what_was_found(report_data: ReportData) -> None:
    lines = summarise(report_data)
    assert lines[0] == "40 runs of clip and mammut, 8 models, 3.2K to 409.6K samples seen."
    covered = sum(r.covered for r in report_data.fits[0].held_out)
    assert any(f"{covered} of 4 lie within the 95% prediction interval" in line for line in lines)
    assert any("Lowest error (toy_pairs acc1): clip" in line for line in lines)


def test_parts_that_are_missing_are_left_out(report_data: ReportData) -> None:
    empty = ReportData("nothing yet", pd.DataFrame())
    assert "No results yet." in Page(render_report(empty)).text
    no_fit = replace(report_data, fits=(), curves=(), pictures=())
    text = Page(render_report(no_fit)).text
    assert "All runs" in text and "Training" not in text and "Laws" not in text


def test_train_losses_of_the_table_are_the_last_loss(report_data: ReportData) -> None:
    row = report_data.results.iloc[[0]].assign(task="train", metric="loss", value=7.125, checkpoint_samples=3_190)
    with_loss = pd.concat([report_data.results, row], ignore_index=True)
    page = Page(render_report(ReportData("losses", with_loss)))
    assert "7.125" in page.text and "train loss" not in page.text


def test_written_whole_and_the_same_each_time(report_data: ReportData, tmp_path: Path) -> None:
    small = replace(report_data, pictures=(), curves=report_data.curves[:4])
    write_report(tmp_path / "a/report.html", small)
    write_report(tmp_path / "b/report.html", small)
    assert (tmp_path / "a/report.html").read_bytes() == (tmp_path / "b/report.html").read_bytes()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["report.html"]


def test_bad_input_is_named(report_data: ReportData) -> None:
    with pytest.raises(InputError, match="captioned 'a cat' is neither PNG nor JPEG"):
        render_report(ReportData("s", pd.DataFrame(), pictures=(Picture(b"GIF89a", "a cat"),)))
    with pytest.raises(InputError, match="no column params"):
        render_report(ReportData("s", report_data.results.drop(columns="params")))


def test_binned_curves_keep_the_mean() -> None:
    x, y = binned(np.arange(1.0, 5001.0), np.full(5000, 2.5))
    assert len(x) <= 120 and np.allclose(y, 2.5) and (np.diff(x) > 0).all()
    x, y = binned(np.array([0.0, 10.0, 20.0]), np.array([9.0, np.nan, 3.0]))
    assert x.tolist() == [20.0] and y.tolist() == [3.0]
