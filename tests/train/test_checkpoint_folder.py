"""What stands in a run's checkpoints folder after crashes, damage and many checkpoints."""

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoint_case import run_with

from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint import folder

BATCH = 64


def put(run: RunDir, samples_seen: int, name: str | None = None, text: str = "data", **marker: Any) -> Path:
    """A folder as a writer leaves it: a file, and a marker that lists it."""
    path = run.checkpoints_folder / (name or str(samples_seen))
    path.mkdir(parents=True)
    (path / "__0_0.distcp").write_text(text)
    values = {"samples_seen": samples_seen, "world_size": 1, "files": {"__0_0.distcp": len(text)}}
    (path / "complete").write_text(json.dumps(values | marker))
    return path


def cut_off(path: Path) -> Path:
    (path / "__0_0.distcp").write_text("")
    return path


def names(run: RunDir) -> list[str]:
    return sorted(path.name for path in run.checkpoints_folder.iterdir())


def content(run: RunDir, samples_seen: int) -> str:
    return (run.checkpoint(samples_seen).path / "__0_0.distcp").read_text()


def test_a_crash_before_the_new_name_loses_nothing(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    put(run, 64)
    put(run, 128, ".128.unfinished", "new")
    folder.settle(run)
    assert names(run) == ["128", "64"]
    assert content(run, 128) == "new"


def test_a_crash_between_two_names_puts_the_new_one_in_place(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    put(run, 128, ".128.unfinished", "new")
    put(run, 128, ".128.replaced", "old")
    folder.settle(run)
    assert names(run) == ["128"]
    assert content(run, 128) == "new"


def test_what_was_set_aside_for_one_that_is_cut_off_comes_back(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    cut_off(put(run, 128, ".128.unfinished", "new"))
    put(run, 128, ".128.replaced", "old")
    folder.settle(run)
    assert names(run) == ["128"]
    assert content(run, 128) == "old"


def test_what_is_not_whole_goes_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    put(run, 64)
    cut_off(put(run, 128, ".128.unfinished"))
    put(run, 192, ".192.removed")
    put(run, 64, ".64.replaced", "old")
    cut_off(put(run, 256))
    for other in ("notes", ".unfinished", ".x.unfinished"):
        (run.checkpoints_folder / other).mkdir()
    folder.settle(run)
    assert names(run) == [".unfinished", ".x.unfinished", "256", "64", "notes"]
    assert content(run, 64) == "data"
    folder.settle(run_with(tmp_path / "without any"))


def test_a_whole_one_stays_and_a_damaged_one_is_written_again(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    put(run, 64)
    cut_off(put(run, 128))
    assert not folder.begin(run, 64, replace=False)
    assert names(run) == ["128", "64"]
    assert folder.begin(run, 64, replace=True)
    assert folder.begin(run, 128, replace=False)
    assert folder.begin(run, 192, replace=False)
    assert names(run) == [".192.unfinished", "128", "64"], "one at a time"
    assert list(folder.unfinished(run, 192).iterdir()) == []
    folder.give_up(run, 192)
    assert names(run) == ["128", "64"]


@pytest.mark.parametrize("keep_last", [1, 2, 3])
def test_old_ones_go_after_each_new_one(tmp_path: Path, keep_last: int) -> None:
    run = run_with(tmp_path, checkpoint={"keep_last": keep_last, "permanent": [130, 500]})
    for step in range(1, 101):
        put(run, step * BATCH)
        folder.prune(run)
        last = range(max(1, step - keep_last + 1), step + 1)
        assert [one.samples_seen // BATCH for one in run.checkpoints] == sorted({*last} | {3, 8} & {*range(step + 1)})


def test_damaged_ones_do_not_count_among_the_last(tmp_path: Path) -> None:
    run = run_with(tmp_path, checkpoint={"keep_last": 2, "permanent": [192]})
    for step in range(1, 9):
        put(run, step * BATCH)
    for step in (3, 5, 7, 8):
        cut_off(run.checkpoint(step * BATCH).path)
    folder.prune(run)
    # 8 and 7 wait to be written again, 6 and 4 are the last two, 3 is permanent: perhaps something of it can be saved
    assert [one.samples_seen // BATCH for one in run.checkpoints] == [3, 4, 6, 7, 8]
    for one in run.checkpoints:
        cut_off(one.path)
    folder.prune(run)
    assert len(run.checkpoints) == 5, "where all are damaged nothing is deleted"
