import errno
import os
from pathlib import Path

import pytest

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.run import RunConfig
from mammut_clip.runs import layout
from mammut_clip.runs.layout import COMPLETE_MARKER, RunDir, SweepDir
from mammut_clip.runs.marker import Marker
from mammut_clip.runs.records import EvalRecord, Status

RECORD = EvalRecord(dataset="d", model="m", pretrained="p", task="zeroshot_classification", metrics={"acc1": 0.5})


def test_the_same_config_finds_its_run_again(tmp_path: Path, config: RunConfig, run: RunDir) -> None:
    assert run.path == tmp_path / "s" / "a-run"
    assert RunDir.create(tmp_path, config).config == config


def test_another_config_under_the_same_name_is_refused(tmp_path: Path, config: RunConfig, run: RunDir) -> None:
    with pytest.raises(ConfigError, match=r"seed = 7: this run exists with 0"):
        RunDir.create(tmp_path, config.model_copy(update={"seed": 7}))


def test_of_two_configs_that_are_created_under_one_name_at_once_one_is_refused(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = config.model_copy(update={"seed": 7})
    real = layout.to_yaml

    def meanwhile(mine: RunConfig) -> str:
        monkeypatch.setattr(layout, "to_yaml", real)
        RunDir.create(tmp_path, other)
        return real(mine)

    monkeypatch.setattr(layout, "to_yaml", meanwhile)
    with pytest.raises(ConfigError, match=r"seed = 0: this run exists with 7"):
        RunDir.create(tmp_path, config)
    assert RunDir.create(tmp_path, other).config == other
    assert [path.name for path in (tmp_path / "s" / "a-run").iterdir()] == ["config.yaml"]


def test_without_hard_links_a_run_is_created_too(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    run = RunDir.create(tmp_path, config)
    assert run.config == config
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.yaml"):
        RunDir.at(tmp_path)


def test_only_marked_checkpoints_count(run: RunDir) -> None:
    for samples, marked in ((256, True), (128, True), (384, False)):
        path = run.checkpoint(samples).path
        path.mkdir(parents=True)
        if marked:
            (path / COMPLETE_MARKER).write_text("{}")
    (run.path / "checkpoints" / ".512.unfinished").mkdir()
    assert [c.samples_seen for c in run.checkpoints] == [128, 256]
    assert [c.samples_seen for c in run.all_checkpoints] == [128, 256, 384]
    run.remove_checkpoint(run.checkpoints[0])
    assert [c.samples_seen for c in run.checkpoints] == [256]
    run.remove_checkpoint(run.checkpoint(128))
    assert sorted(path.name for path in run.checkpoints_folder.iterdir()) == [".512.unfinished", "256", "384"]


def test_a_checkpoint_knows_what_is_missing_from_it(run: RunDir) -> None:
    checkpoint = run.checkpoint(128)
    assert "no marker" in (checkpoint.damage() or "")
    checkpoint.path.mkdir(parents=True)
    files = {"a": 3, "b": 4, "c": 0}
    for name, size in files.items():
        (checkpoint.path / name).write_bytes(b"x" * size)
    Marker(samples_seen=128, world_size=2, files=files, pending={"x": 0.1}).write(checkpoint.path / COMPLETE_MARKER)
    assert checkpoint.damage() is None
    assert checkpoint.marker is not None
    assert checkpoint.marker.pending == {"x": 0.1}
    (checkpoint.path / "b").write_bytes(b"xxx")
    assert checkpoint.damage() == "b has 3 bytes where 4 were written"
    (checkpoint.path / "a").unlink()
    assert checkpoint.damage() == "a is missing"
    (checkpoint.path / "c").unlink()
    assert checkpoint.damage() == "a is missing, and 1 more"
    assert run.checkpoints == [checkpoint], "the list looks at markers alone"
    checkpoint.path.rename(run.checkpoint(256).path)
    assert run.checkpoint(256).damage() == "its marker is of 128 samples seen"


def test_a_marker_of_the_program_before_tells_less(run: RunDir) -> None:
    checkpoint = run.checkpoint(128)
    checkpoint.path.mkdir(parents=True)
    (checkpoint.path / COMPLETE_MARKER).write_text('{"samples_seen": 128, "world_size": 2}')
    assert checkpoint.damage() == ".metadata is missing"
    (checkpoint.path / ".metadata").touch()
    assert checkpoint.damage() is None
    (checkpoint.path / COMPLETE_MARKER).write_text("{")
    assert checkpoint.damage() == "its marker complete cannot be read"
    assert checkpoint.marker is None


def test_readers_survive_half_written_files(run: RunDir) -> None:
    RECORD.write(run.eval_file(256, "good"))
    run.eval_file(256, "cut").write_text('{"dataset": "d", "mod')
    run.eval_file(256, "other").write_text('{"x": 1}')
    run.status_file.write_text('{"state": "runn')
    run.manifest_file.write_bytes(b"\xff\xfe")
    assert set(run.evals) == {(256, "good")}
    assert run.status.model_dump(exclude={"updated_at"}) == Status().model_dump(exclude={"updated_at"})
    assert run.manifest is None


def test_records_ignore_keys_of_newer_writers(run: RunDir) -> None:
    run.status_file.write_text('{"state": "running", "samples_seen": 3, "mood": "fine"}')
    assert (run.status.state, run.status.samples_seen) == ("running", 3)


def test_a_sweep_lists_its_runs(tmp_path: Path, run: RunDir) -> None:
    (tmp_path / "s" / "not-a-run").mkdir()
    assert [r.name for r in SweepDir(tmp_path / "s").runs()] == ["a-run"]
