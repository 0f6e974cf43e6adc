import errno
import os
from pathlib import Path

import pytest

from mammut_clip.config.atomic import DiskFullError, disk_errors, read_json, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    write_text(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"status\.json: No space left.*MiB free"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_a_full_disk_is_recognised_inside_other_errors(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError), disk_errors(tmp_path / "x"):
        try:
            raise OSError(errno.EDQUOT, "quota")
        except OSError as error:
            raise RuntimeError("saving failed") from error


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), disk_errors(tmp_path):
        raise PermissionError("no")


def test_json_round_trip_and_absence(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "x.json", {"ä": [1, None]})
    assert read_json(tmp_path / "deep" / "x.json") == {"ä": [1, None]}
    assert read_json(tmp_path / "none.json") is None
