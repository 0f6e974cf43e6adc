"""Overview tables: the paper's own best-of-sweep table comes out of its runs, and the rules of a cell, by hand."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from paper_rows import paper_rows

from mammut_clip.config.errors import InputError
from mammut_clip.runs import table as results
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.runs.overview import OverviewTable, Selection, overview, read_results, to_json
from mammut_clip.runs.records import EvalRecord, Manifest, Status

BEST_RUN_NOT_PUBLISHED = {
    ("clip", "ViT-B-32", 6400000),
    ("clip", "ViT-B-32", 64000000),
    ("mammut", "ViT-B-14", 1280000000),
    ("mammut", "ViT-L-32", 1280000000),
}
"""Cells whose best run is not among the published runs, which are those with an ADE20K result."""


def rows(*changes: dict[str, Any]) -> pd.DataFrame:
    """Rows of a results table: of one run each, unless they say so."""
    common = {
        "sweep": "s", "state": "finished", "family": "clip", "model": "ViT-S-32", "dataset": "toy",
        "schedule": "cosine", "samples_seen": 1280000, "checkpoint_samples": 1280000, "global_batch_size": 512,
        "gflops_per_sample_paper": 5.5, "params": 63, "task": "imagenet1k", "metric": "acc1", "main": True,
        "value": 0.1,
    }  # fmt: skip
    return pd.DataFrame([common | {"run": f"run-{number}"} | change for number, change in enumerate(changes)])


def only(tables: list[OverviewTable]) -> OverviewTable:
    (table,) = tables
    return table


def values(table: OverviewTable) -> list[list[float | None]]:
    return [[cell and cell.value for cell in row] for row in table.cells]


def test_the_best_of_the_papers_runs_are_its_published_table(shared_dir: Path) -> None:
    published = pd.read_csv(shared_dir / "data/paper/imagenet1k_best.csv")
    published = published[(published["pretrain_dataset"] == "datacomp_1b") & (published["lr_scheduler"] == "cosine")]
    tables = overview(paper_rows(shared_dir), Selection(tasks=("imagenet1k",)))
    assert [(t.family, t.metric) for t in tables] == [("clip", "acc1"), ("mammut", "acc1")]
    compared = 0
    for table in tables:
        known = published[published["family"] == table.family]
        expected = {(r["model"], int(r["samples_seen"])): r["value"] for r in known.to_dict("records")}
        for model, cells in zip(table.rows, table.cells, strict=True):
            for samples, cell in zip(table.columns, cells, strict=True):
                if cell is None:
                    continue
                size = model.removeprefix("mammut_")
                behind = expected[size, samples] - cell.value
                if (table.family, size, samples) in BEST_RUN_NOT_PUBLISHED:
                    assert 0.001 < behind < 0.008
                else:
                    assert abs(behind) <= 0.0005 + 1e-9, (size, samples)
                    compared += 1
    assert compared == 227  # of 113 and 118 cells


def test_bold_is_the_best_model_of_each_budget(shared_dir: Path) -> None:
    for table in overview(paper_rows(shared_dir), Selection()):
        shown = [[table.text(cell) for cell in row] for row in table.cells]
        for column, bold in zip(zip(*shown, strict=True), zip(*table.bold, strict=True), strict=True):
            numbers = [float(text) for text in column if text]
            assert [text for text, best in zip(column, bold, strict=True) if best]
            assert all((float(text or -1) == max(numbers)) == best for text, best in zip(column, bold, strict=True))


def test_models_stand_by_compute_and_budgets_by_size(shared_dir: Path) -> None:
    table = overview(paper_rows(shared_dir), Selection(families=("clip",), tasks=("ade20k",)))[0]
    frame = paper_rows(shared_dir)
    gflops = frame.groupby("model")["gflops_per_sample_paper"].first()
    assert list(gflops[list(table.rows)]) == sorted(gflops[list(table.rows)])
    assert list(table.columns) == sorted(table.columns)
    assert table.headings[:3] == ("1.28M", "3.072M", "6.4M")


def test_a_cell_is_the_best_over_recipes_and_says_how_many() -> None:
    frame = rows({"value": 0.1}, {"value": 0.3}, {"value": 0.2}, {"model": "ViT-B-32", "gflops_per_sample_paper": 15})
    table = only(overview(frame, Selection()))
    assert table.rows == ("ViT-S-32", "ViT-B-32")
    assert values(table) == [[0.3], [0.1]]
    first = table.cells[0][0]
    assert first is not None
    assert (first.runs, first.run) == (3, "run-1")
    assert table.bold == ((True,), (False,))


def test_results_that_are_given_twice_count_once() -> None:
    frame = rows({"value": 0.1}, {"value": 0.3})
    table = only(overview(pd.concat([frame, frame]), Selection()))
    assert table.cells[0][0] is not None
    assert table.cells[0][0].runs == 2


def test_only_the_ends_of_finished_runs_count_unless_all_checkpoints_are_asked_for() -> None:
    frame = rows(
        {"value": 0.1, "run": "a", "checkpoint_samples": 640000},
        {"value": 0.2, "run": "a"},
        {"value": 0.9, "run": "b", "checkpoint_samples": 640000, "state": "running"},
        {"value": 0.8, "run": "c", "state": "failed"},
        {"value": 0.15, "run": "d", "checkpoint_samples": 1280000 - 200},  # the last whole step
    )
    assert values(only(overview(frame, Selection()))) == [[0.2]]
    table = only(overview(frame, Selection(all_checkpoints=True)))
    assert table.columns == (640000, 1279800, 1280000)
    assert values(table) == [[0.9, 0.15, 0.8]]
    with pytest.raises(InputError, match="none of a finished run's last checkpoint"):
        overview(frame[frame["state"] != "finished"], Selection())


def test_every_dataset_schedule_family_and_task_has_a_table_of_its_own() -> None:
    frame = rows(
        {}, {"dataset": "other"}, {"schedule": "const"}, {"family": "mammut"}, {"task": "coco", "metric": "recall"}
    )
    assert len({table.title for table in overview(frame, Selection())}) == 5
    assert {table.task for table in overview(frame, Selection(tasks=("coco",)))} == {"coco"}
    chosen = overview(
        frame, Selection(tasks=("imagenet1k",), families=("clip",), datasets=("toy",), schedules=("const",))
    )
    assert only(chosen).schedule == "const"


def test_a_task_shows_the_metric_it_is_known_by_or_those_that_are_named() -> None:
    frame = rows(
        {"run": "a"}, {"run": "a", "metric": "acc5", "main": False, "value": 0.4}, {"metric": "average", "task": "35"}
    )
    assert [(t.task, t.metric) for t in overview(frame, Selection())] == [("35", "average"), ("imagenet1k", "acc1")]
    assert [t.metric for t in overview(frame, Selection(metrics=("acc5",)))] == ["acc5"]
    assert len(overview(frame.drop(columns="main"), Selection())) == 3
    with pytest.raises(InputError, match=r"do not say which metric.*acc1, acc5, average"):
        overview(frame.assign(main=None), Selection())


def test_losses_are_best_when_low_and_no_percentages() -> None:
    frame = rows(
        {"metric": "caption_loss", "value": 2.5}, {"metric": "caption_loss", "value": 2.25},
        {"metric": "caption_loss", "value": 1.75, "model": "ViT-B-32"},
    )  # fmt: skip
    table = only(overview(frame, Selection()))
    assert {m: table.text(row[0]) for m, row in zip(table.rows, table.cells, strict=True)} == {
        "ViT-S-32": "2.250",
        "ViT-B-32": "1.750",
    }
    assert dict(zip(table.rows, table.bold, strict=True))["ViT-B-32"] == (True,)
    assert "lowest" in table.caption


def test_training_losses_are_no_evaluation_unless_they_are_asked_for() -> None:
    frame = rows({}, {"task": "train", "metric": "loss", "value": 3.0})
    assert [t.task for t in overview(frame, Selection())] == ["imagenet1k"]
    assert [t.task for t in overview(frame, Selection(tasks=("train",)))] == ["train"]
    with pytest.raises(InputError, match="hold no evaluations"):
        overview(frame[frame["task"] == "train"], Selection())


def test_mixed_units_are_refused() -> None:
    with pytest.raises(InputError, match=r"imagenet1k acc1 of run run-1 = 55: expected a fraction.*1 of these 2"):
        overview(rows({"value": 0.55}, {"value": 55.0}), Selection())


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            Selection(tasks=("imagenet",)),
            r"no results of task 'imagenet'; did you mean imagenet1k\? There are: coco, im",
        ),
        (Selection(metrics=("acc10",)), r"no results of metric 'acc10'; did you mean .*acc1.*There are: acc1, recall"),
        (Selection(tasks=("coco",), metrics=("acc1",)), "no results of metric 'acc1'.*There are: recall"),
        (Selection(families=("siglip",)), "no results of family 'siglip'; .*clip"),
    ],
)
def test_an_empty_selection_says_what_there_is(selection: Selection, message: str) -> None:
    with pytest.raises(InputError, match=message):
        overview(rows({}, {"task": "coco", "metric": "recall"}), selection)


def test_rows_that_are_no_results_are_refused() -> None:
    with pytest.raises(InputError, match="no column task, value"):
        overview(rows({}).drop(columns=["task", "value"]), Selection())


def test_json_has_every_cell() -> None:
    frame = rows({"value": 0.1}, {"model": "ViT-B-32", "samples_seen": 3072000, "checkpoint_samples": 3072000})
    (found,) = json.loads(json.dumps(to_json(overview(frame, Selection()))))
    assert found["models"] == ["ViT-B-32", "ViT-S-32"]
    assert found["samples"] == [1280000, 3072000]
    assert found["values"] == [[None, 0.1], [0.1, None]]
    assert found["recipes"] == [[0, 1], [1, 0]]
    assert found["best"] == [[False, True], [True, False]]


def measure(run: RunDir) -> RunDir:
    """Let a run be finished and evaluated."""
    Manifest(
        mammut_clip="0", python="3", packages={}, host="h", device="cpu", world_size=1, parameters=1000,
        gflops_per_sample_paper=0.5, gflops_per_sample_exact=2.0,
    ).write(run.manifest_file)  # fmt: skip
    Status(state="finished", samples_seen=256).write(run.status_file)
    metrics = {"acc1": 0.25, "acc5": 0.75}
    record = EvalRecord(dataset="d", model="m", pretrained="p", task="t", metric="acc1", metrics=metrics)
    record.write(run.eval_file(256, "toy_classes"))
    return run


def test_sweeps_folders_of_sweeps_and_parquet_files_are_read(run: RunDir) -> None:
    sweep = SweepDir(measure(run).path.parent)
    results.write(sweep)
    for path in (sweep.path, sweep.path.parent, sweep.results_file):
        table = only(overview(read_results([path]), Selection()))
        assert (table.task, table.metric, table.family) == ("toy_classes", "acc1", "clip")
        assert values(table) == [[0.25]]
    both = only(overview(read_results([sweep.path, sweep.results_file]), Selection()))
    assert both.cells[0][0] is not None
    assert both.cells[0][0].runs == 1


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no runs here; expected a sweep"):
        read_results([tmp_path])
    with pytest.raises(InputError, match="no folder of results was given"):
        read_results([])
