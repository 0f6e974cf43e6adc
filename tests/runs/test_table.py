from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.runs import known_rows, metrics, table
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.runs.records import EvalRecord, Manifest, Status


def finish(run: RunDir) -> None:
    Manifest(
        mammut_clip="0",
        python="3",
        packages={},
        host="h",
        device="cpu",
        world_size=1,
        parameters=1000,
        gflops_per_sample_paper=0.5,
        gflops_per_sample_exact=2.0,
    ).write(run.manifest_file)
    metrics.append(run.metrics_file, {"samples_seen": 256, "loss": 3.0, "contrastive_loss": 3.0, "caption_loss": None})
    Status(state="finished", samples_seen=256).write(run.status_file)
    record = EvalRecord(dataset="d", model="m", pretrained="p", task="t", metrics={"acc1": 0.25, "note": "text"})
    record.write(run.eval_file(256, "toy_pairs"))


def test_one_row_per_run_checkpoint_task_and_metric(run: RunDir) -> None:
    finish(run)
    frame = table.write(SweepDir(run.path.parent))
    rows = frame.set_index(["task", "metric"])["value"].to_dict()
    assert rows == {("toy_pairs", "acc1"): 0.25, ("train", "loss"): 3.0, ("train", "contrastive_loss"): 3.0}
    assert set(frame["gflops_paper"]) == {128.0}
    assert set(frame["gflops_exact"]) == {512.0}
    stored = table.read(run.path.parent / "results.parquet")
    pd.testing.assert_frame_equal(stored, frame, check_dtype=False)


def test_a_run_without_results_adds_no_rows(run: RunDir) -> None:
    assert table.collect(SweepDir(run.path.parent)).empty


def test_a_result_that_is_being_written_does_no_harm(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(run)
    unfinished = run.eval_file(256, "toy_pairs").with_name(".other.json.1.tmp")
    unfinished.touch()
    real = known_rows._entries

    def entries(folder: Path) -> Any:
        found = real(folder)
        if folder == unfinished.parent and unfinished.exists():
            unfinished.rename(run.eval_file(256, "other"))
        return found

    monkeypatch.setattr(known_rows, "_entries", entries)
    assert "toy_pairs" in set(table.collect(SweepDir(run.path.parent))["task"])


def test_a_run_that_finishes_while_its_rows_are_made_is_in_one_state(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(run)
    states = chain([Status(state="running")], repeat(Status(state="finished")))
    monkeypatch.setattr(RunDir, "status", property(lambda _: next(states)))
    assert {(row["state"], row["task"]) for row in table.rows_of(run)} == {("running", "toy_pairs")}


def test_a_newer_table_of_another_process_is_not_replaced_by_an_older_one(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(run)
    sweep = SweepDir(run.path.parent)
    write_bytes = table.write_bytes

    def after_another(path: Path, data: bytes) -> None:
        monkeypatch.setattr(table, "write_bytes", write_bytes)
        EvalRecord(dataset="d", model="m", pretrained="p", task="t", metrics={"acc1": 0.5}).write(
            run.eval_file(256, "other")
        )
        table.write(sweep)
        write_bytes(path, data)

    monkeypatch.setattr(table, "write_bytes", after_another)
    table.write(sweep)
    assert "other" in set(pd.read_parquet(sweep.results_file)["task"])


def test_an_unreadable_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(InputError, match=r"results\.parquet"):
        table.read(path)
