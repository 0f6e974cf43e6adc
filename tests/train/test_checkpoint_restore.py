"""The newest usable checkpoint is found, whatever has happened to the others, and what is skipped is said."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoint_case import ONE, Case, require_equal, run_with

from mammut_clip.config.errors import InputError
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint import NOTHING_RESTORED, CheckpointWriter, Restored, restore

DATA = "__0_0.distcp"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """With checkpoints after 1, 2 and 3 steps."""
    run = run_with(tmp_path, checkpoint={"keep_last": 3, "permanent": []})
    case = Case(run, steps=0)
    with CheckpointWriter(run, case.model, case.optimizer, ONE) as writer:
        for step in (1, 2, 3):
            case.step()
            writer.save(64 * step, {"loss": step / 7})
    return run


def restored(run: RunDir) -> Restored | None:
    case = Case(run, steps=5, seed=3)
    found = restore(run, case.model, case.optimizer, ONE)
    if found is not None:
        require_equal(case.values(), Case(run, steps=found.samples_seen // 64).values())
    return found


def truncate(path: Path) -> None:
    os.truncate(path / DATA, (path / DATA).stat().st_size - 1)


def overwrite(path: Path) -> None:
    """Other bytes, as many."""
    size = (path / DATA).stat().st_size
    (path / DATA).write_bytes(os.urandom(size))


def spoil_index(path: Path) -> None:
    size = (path / ".metadata").stat().st_size
    (path / ".metadata").write_bytes(b"x" * size)


def bring_code(path: Path) -> None:
    marker = json.loads((path / "complete").read_text())
    (path / ".metadata").write_bytes(pickle.dumps(shutil.rmtree))
    marker["files"][".metadata"] = (path / ".metadata").stat().st_size
    (path / "complete").write_text(json.dumps(marker))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncate, r"__0_0.distcp has \d+ bytes where \d+ were written"),
    "emptied": (lambda path: (path / DATA).write_bytes(b""), r"has 0 bytes"),
    "missing": (lambda path: (path / DATA).unlink(), r"__0_0.distcp is missing"),
    "all missing": (lambda path: [(path / name).unlink() for name in (DATA, ".metadata")], r"is missing, and 1 more"),
    "without marker": (lambda path: (path / "complete").unlink(), r"no marker"),
    "marker cut off": (lambda path: (path / "complete").write_text('{"samples'), r"marker complete cannot be read"),
    "renamed": (lambda path: path.rename(path.with_name("256")), r"its marker is of 192 samples seen"),
    "overwritten": (overwrite, r"this checkpoint cannot be read"),
    "index overwritten": (spoil_index, r"index cannot be read"),
    "index with code": (bring_code, r"index cannot be read \(shutil.rmtree is no part of an index\)"),
}


def test_the_newest_is_taken(run: RunDir) -> None:
    found = restored(run)
    assert found is not None
    assert (found.samples_seen, found.pending, found.skipped) == (192, {"loss": 3 / 7}, ())


def test_a_new_run_has_none(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    assert restored(run) is None
    run.checkpoints_folder.mkdir()
    (run.checkpoints_folder / ".64.unfinished").mkdir()
    assert restored(run) is None
    assert NOTHING_RESTORED.samples_seen == 0


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_one_is_skipped_named_and_left(run: RunDir, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage, message = DAMAGES[kind]
    damage(run.checkpoint(192).path)
    before = sorted(path.name for path in run.checkpoints_folder.rglob("*"))
    found = restored(run)
    assert found is not None
    assert (found.samples_seen, found.pending) == (128, {"loss": 2 / 7})
    (skipped,) = found.skipped
    assert skipped.startswith(str(run.checkpoints_folder / ("256" if kind == "renamed" else "192")))
    assert re.search(message, skipped), skipped
    assert f"skipped {skipped}" in capsys.readouterr().err
    assert sorted(path.name for path in run.checkpoints_folder.rglob("*")) == before


def test_one_is_found_behind_several_damaged_ones(run: RunDir) -> None:
    overwrite(run.checkpoint(192).path)
    truncate(run.checkpoint(128).path)
    found = restored(run)
    assert found is not None
    assert found.samples_seen == 64
    assert [reason.partition(":")[0] for reason in found.skipped] == [
        str(run.checkpoint(samples).path) for samples in (192, 128)
    ]


def test_where_none_can_be_used_the_run_does_not_begin_anew(run: RunDir) -> None:
    overwrite(run.checkpoint(192).path)
    truncate(run.checkpoint(128).path)
    (run.checkpoint(64).path / "complete").unlink()
    with pytest.raises(InputError, match="no checkpoint of this run can be used") as refused:
        restored(run)
    lines = str(refused.value).splitlines()
    assert "remove them" in lines[0]
    assert [line.partition(":")[0].strip() for line in lines[1:]] == [
        str(run.checkpoint(samples).path) for samples in (192, 128, 64)
    ]


def test_one_of_another_model_is_refused_and_no_older_one_taken(run: RunDir, tmp_path: Path) -> None:
    other = run_with(tmp_path / "other", model="mammut_toy-XS")
    case = Case(other)
    with CheckpointWriter(other, case.model, case.optimizer, ONE) as writer:
        writer.save(256)
    other.checkpoint(256).path.rename(run.checkpoint(256).path)
    with pytest.raises(InputError, match="these weights are not this model's"):
        restored(run)


def test_what_was_skipped_is_written_again(run: RunDir) -> None:
    truncate(run.checkpoint(192).path)
    case = Case(run, steps=0)
    found = restore(run, case.model, case.optimizer, ONE)
    assert found is not None
    assert found.samples_seen == 128
    case.continue_as(Case(run, steps=2))
    case.step()
    with CheckpointWriter(run, case.model, case.optimizer, ONE) as writer:
        writer.save(192, {"loss": 3 / 7})
    assert restored(run) == Restored(192, {"loss": 3 / 7})
    assert all(one.damage() is None for one in run.all_checkpoints)


def test_a_state_that_has_gone_elsewhere_is_brought_back(run: RunDir) -> None:
    """As after steps that were not finite: in the same process, with the optimizer's own history."""
    case = Case(run, steps=7, seed=2)
    with CheckpointWriter(run, case.model, case.optimizer, ONE) as writer:
        restored = restore(run, case.model, case.optimizer, ONE)
        assert restored is not None
        assert restored.samples_seen == 192
        require_equal(case.values(), Case(run, steps=3).values())
        writer.save(448, replace=True)
    assert [one.samples_seen for one in run.checkpoints] == [64, 128, 192, 448][-3:]
