"""ends.jsonl: appended whole, read whatever happened to it."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.runs.ends import End, append_end, read_ends


def test_ends_are_read_as_they_were_appended(tmp_path: Path) -> None:
    file = tmp_path / "a-run" / "ends.jsonl"
    ends = [
        End(kind="time_limit", job="12_3", restart=1, samples_before=5, samples_after=9, exit_code=138, ended=12.25),
        End(kind="crash", error="ValueError: a\nb \u2028 c", nodes="n[1-2]", ended=13.5),
        End(kind="done", work="evaluate", results=3, ended=14.0),
        End(kind="retry", ended=15.0),
    ]
    for end in ends:
        append_end(file, end)
    assert read_ends(file) == ends
    assert read_ends(file, "evaluate") == [ends[2]]
    assert len(file.read_text().split("\n")) == 5


def test_a_line_that_was_cut_off_swallows_no_other(tmp_path: Path) -> None:
    file = tmp_path / "ends.jsonl"
    append_end(file, End(kind="crash"))
    with file.open("a") as cut:
        cut.write('{"kind":"lo')
    append_end(file, End(kind="done"))
    assert [end.kind for end in read_ends(file)] == ["crash", "done"]


def test_words_of_a_newer_version_and_a_missing_file_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "ends.jsonl"
    assert read_ends(file) == []
    file.write_text('{"kind":"struck_by_lightning"}\n{"kind":"done","colour":"blue"}\n\xff\n', encoding="latin-1")
    assert [end.kind for end in read_ends(file)] == ["done"]


def test_progress_is_a_newer_checkpoint_or_results() -> None:
    assert End(kind="crash", samples_before=5, samples_after=6).advanced
    assert End(kind="crash", results=1).advanced
    assert not End(kind="crash", samples_before=5, samples_after=5).advanced


def _write_with_room_for(size: int, file: Path) -> subprocess.CompletedProcess[str]:
    """Append an end in a process that may not make files larger than this: the write comes out short."""
    code = (
        "import sys, pathlib, mammut_clip.runs.ends as e\n"
        "from mammut_clip.config.atomic import DiskFullError\n"
        "try: e.append_end(pathlib.Path(sys.argv[1]), e.End(kind='crash', error='x' * 100))\n"
        "except DiskFullError: print('full')"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(file)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def test_an_end_that_found_no_room_is_told(tmp_path: Path) -> None:
    file = tmp_path / "ends.jsonl"
    append_end(file, End(kind="done"))
    found = _write_with_room_for(file.stat().st_size + 30, file)
    assert found.stdout == "full\n", found.stderr
    append_end(file, End(kind="lost"))
    assert [end.kind for end in read_ends(file)] == ["done", "lost"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((OSError, InputError)):
        append_end(tmp_path / "file" / "ends.jsonl", End(kind="done"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
