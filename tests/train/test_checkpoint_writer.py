"""Saving while training goes on: what is written is what was there, and what goes wrong is raised, once."""

import json
import shutil
import threading
from pathlib import Path

import pytest
import torch
from checkpoint_case import ONE, Case, require_equal, run_with

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.marker import Marker
from mammut_clip.train.checkpoint import CheckpointWriteError, CheckpointWriter, restore
from small_disk import resize, small_disk


def writer_of(run: RunDir, case: Case) -> CheckpointWriter:
    return CheckpointWriter(run, case.model, case.optimizer, ONE)


def stored(run: RunDir) -> dict[str, torch.Tensor]:
    """The state in the newest checkpoint."""
    case = Case(run, steps=0, seed=8)
    restored = restore(run, case.model, case.optimizer, ONE)
    assert restored is not None
    assert restored.skipped == ()
    return case.values()


def test_what_is_written_is_the_state_at_the_call(tmp_path: Path) -> None:
    """Held back until training has gone on: the writer may not look at the model any more."""
    run = run_with(tmp_path)
    case, go_on = Case(run, steps=2), threading.Event()
    expected = case.values()
    with CheckpointWriter(run, case.model, case.optimizer, ONE, may_write=lambda: go_on.wait(300) and None) as writer:
        writer.save(128, {"loss": 0.1})
        case.step()
        assert not run.checkpoints
        go_on.set()
        writer.finish()
        require_equal(stored(run), expected)
        expected = case.values()
        go_on.clear()
        writer.save(192)  # into the memory of the first
        case.step()
        go_on.set()
    require_equal(stored(run), expected)


def test_the_marker_says_what_is_there(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    with writer_of(run, Case(run)) as writer:
        writer.save(64, {"loss": 1 / 3})
    (checkpoint,) = run.checkpoints
    marker = Marker.read(checkpoint.path / "complete")
    assert marker is not None
    assert (marker.samples_seen, marker.world_size, marker.pending) == (64, 1, {"loss": 1 / 3})
    sizes = {path.name: path.stat().st_size for path in checkpoint.path.iterdir()}
    assert sizes.keys() - (marker.files or {}).keys() == {"complete"}
    assert (marker.files or {}).items() <= sizes.items()


def test_an_existing_one_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    case = Case(run, steps=1)
    with writer_of(run, case) as writer:
        writer.save(64)
        first = case.values()
        case.step()
        writer.save(64)
        writer.finish()
        require_equal(stored(run), first)
        writer.save(64, replace=True)
    require_equal(stored(run), case.values())
    assert [path.name for path in run.checkpoints_folder.iterdir()] == ["64"]


def test_old_ones_go(tmp_path: Path) -> None:
    run = run_with(tmp_path, checkpoint={"keep_last": 2, "permanent": [100]})
    case = Case(run)
    with writer_of(run, case) as writer:
        for step in range(1, 6):
            writer.save(64 * step)
    assert [one.samples_seen for one in run.checkpoints] == [128, 256, 320]


def test_a_full_disk_loses_nothing_and_is_raised_once(tmp_path: Path) -> None:
    with small_disk(tmp_path, "1m"):
        run = run_with(tmp_path, checkpoint={"keep_last": 9, "permanent": []})
        case = Case(run, steps=0)
        with writer_of(run, case) as writer:
            with pytest.raises(DiskFullError, match=r"No space left on device.*run the same command again"):
                for step in range(1, 20):
                    case.step()
                    writer.save(64 * step)
            complete = [one.samples_seen // 64 for one in run.checkpoints]
            assert complete == list(range(1, step - 1)), "the write of the step before failed"
            assert complete
            assert writer.failure() is None
            assert [path for path in run.checkpoints_folder.iterdir() if path.name.startswith(".")] == []
            require_equal(stored(run), Case(run, steps=complete[-1]).values())
            resize(tmp_path, "64m")
            writer.save(64 * step)
        assert run.checkpoints[-1].samples_seen == 64 * step


def test_a_failure_is_known_without_waiting_and_raised_by_finish(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    case = Case(run)
    run.checkpoints_folder.write_text("a file where the folder should be")
    with writer_of(run, case) as writer:
        writer.save(64)
        for thread in threading.enumerate():
            if thread.name == "checkpoint":
                thread.join()
        assert isinstance(writer.failure(), CheckpointWriteError)
        with pytest.raises(CheckpointWriteError, match=r"64: this checkpoint could not be written \(rank 0"):
            writer.finish()
        writer.finish()
        run.checkpoints_folder.unlink()
        writer.save(64)
    require_equal(stored(run), case.values())


def test_a_process_that_has_lost_the_run_writes_nothing(tmp_path: Path) -> None:
    class LostError(RuntimeError):
        pass

    def may_write() -> None:
        raise LostError("another process has taken it over")

    run = run_with(tmp_path)
    case = Case(run)
    writer = CheckpointWriter(run, case.model, case.optimizer, ONE, may_write)
    with pytest.raises(CheckpointWriteError, match="LostError: another process has taken it over"), writer:
        writer.save(64)
    assert not run.checkpoints_folder.exists()


def test_a_process_that_loses_the_run_while_it_writes_leaves_alone_what_the_next_one_writes(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    theirs, calls = run.checkpoints_folder / ".64.unfinished" / "theirs", []

    def may_write() -> None:
        calls.append(None)
        if len(calls) == 2:  # all is written and waits for its marker: the next process began from an older checkpoint
            shutil.rmtree(theirs.parent)
            theirs.parent.mkdir()
            theirs.touch()
        if len(calls) > 1:
            raise RuntimeError("another process has taken it over")

    case = Case(run)
    writer = CheckpointWriter(run, case.model, case.optimizer, ONE, may_write)
    with pytest.raises(CheckpointWriteError, match="another process has taken it over"), writer:
        writer.save(64)
    assert theirs.exists()


def test_an_error_of_the_training_is_not_hidden_and_what_is_under_way_is_finished(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    case = Case(run)
    with pytest.raises(ZeroDivisionError), writer_of(run, case) as writer:
        writer.save(64)
        raise ZeroDivisionError
    require_equal(stored(run), case.values())
    with pytest.raises(ZeroDivisionError), writer_of(run, case) as writer:
        (run.checkpoints_folder / ".128.unfinished").write_text("in the way")
        writer.save(128)
        raise ZeroDivisionError
    assert [one.samples_seen for one in run.checkpoints] == [64]


def test_the_time_that_training_stood_still_is_reported(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    hold = threading.Event()
    case = Case(run)
    with CheckpointWriter(run, case.model, case.optimizer, ONE, may_write=lambda: hold.wait(0.25) and None) as writer:
        writer.save(64)
        writer.save(128)  # waits for the first
        (seconds,) = writer.numbers()
        assert seconds >= 0.25
        assert writer.numbers() == [0.0]
        assert writer.row([2.0], 128, 8.0) == {"checkpoint_wait": 0.25}
        assert writer.row([9.0], 128, 0.0) == {"checkpoint_wait": 1.0}
    assert json.loads((run.checkpoint(128).path / "complete").read_text())["samples_seen"] == 128
