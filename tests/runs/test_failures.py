"""Kinds of errors, and the last words of a process."""

import errno
from pathlib import Path

import pytest
import torch

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.config.errors import ConfigError, InputError, Problem
from mammut_clip.exits import guarded
from mammut_clip.runs.failures import VARIABLE, ErrorKind, kind_of, leave_last_words, take_last_words
from mammut_clip.runs.lock import RunIsLockedError


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def allocation_of_the_cpu() -> Exception:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    return caught.value


FULL = DiskFullError(Path("/a"), OSError(errno.ENOSPC, "full"))
KINDS: list[tuple[Exception, ErrorKind]] = [
    (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
    (allocation_of_the_cpu(), "out_of_memory"),
    (MemoryError(), "out_of_memory"),
    (chained(RuntimeError("a step failed"), torch.OutOfMemoryError("x")), "out_of_memory"),
    (RuntimeError("shapes do not fit"), "crash"),
    (FULL, "disk_full"),
    (chained(RuntimeError("not written"), FULL), "disk_full"),
    (ConfigError("a.yaml", [Problem("key", "a number")]), "bad_input"),
    (chained(InputError("no folder"), FileNotFoundError("x")), "bad_input"),
    (chained(InputError("cannot be read"), OSError(errno.EIO, "input/output error")), "crash"),
    (ValueError("x"), "crash"),
]


@pytest.mark.parametrize(("error", "kind"), KINDS, ids=lambda value: value if isinstance(value, str) else "")
def test_errors_are_of_their_kind(error: Exception, kind: ErrorKind) -> None:
    assert kind_of(error) == kind


def test_last_words_are_taken_once_by_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "attempt"
    monkeypatch.setenv(VARIABLE, str(place))
    monkeypatch.delenv("RANK", raising=False)
    for rank, error in [("10", ValueError("ten")), ("2", RunIsLockedError(tmp_path / "lock")), ("0", MemoryError())]:
        monkeypatch.setenv("SLURM_PROCID", rank)
        leave_last_words(error)
    assert [word.kind for word in take_last_words(place)] == ["out_of_memory", "locked", "crash"]
    assert take_last_words(place) == []
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_fails_leaves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> int:
        raise error

    assert guarded(lambda: fail(InputError("nobody asked for words"))) == 2
    monkeypatch.setenv(VARIABLE, str(tmp_path / "a"))
    assert guarded(lambda: fail(InputError("no such\nfolder"))) == 2
    with pytest.raises(ValueError, match="wrong"):
        guarded(lambda: fail(ValueError("wrong")))
    assert guarded(lambda: 0) == 0
    assert [word.error for word in take_last_words(tmp_path / "a")] == ["ValueError: wrong"]


def test_words_that_cannot_be_written_hide_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "words"))
    leave_last_words(ValueError("x"))
    assert take_last_words(tmp_path / "file" / "words") == []
