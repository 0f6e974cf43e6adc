"""What a job writes down, also where that is not possible for a while."""

import time
from pathlib import Path
from typing import Literal

import pytest

from mammut_clip.runs.ends import End, append_end, read_ends
from mammut_clip.slurm.record import JobRecord, TaskRecord
from mammut_clip.slurm.supervisor.leftovers import note_leftovers
from mammut_clip.slurm.supervisor.notes import Notes
from mammut_clip.slurm.supervisor.this_job import ThisJob
from mammut_clip.slurm.task import Task

JOB = ThisJob(id="12_3", index=3, restart=0, nodes="n[1-2]", host="n1")


def task(folder: Path, kind: Literal["train", "evaluate"] = "train") -> Task:
    return Task("a-run", kind, str(folder / "a-run"), (), 1, 1.0)


def test_what_cannot_be_written_is_kept_and_written_once_it_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = tmp_path / "jobs", tmp_path / "a-run"
    folder.touch()  # a file where the folder should be
    notes = Notes.open(folder / "3.json", JOB)
    noted = TaskRecord(task="a-run", began=5.0)
    assert not notes.begin(noted), "what does not stand on disk is not begun"
    assert notes.record.tasks == []
    notes.record.tasks.append(noted)
    end = End(kind="crash", job=JOB.id, began=5.0, ended=6.0)
    notes.end(noted, run / "ends.jsonl", end)
    assert not notes.settled
    assert notes.ends_of(task(tmp_path)) == [end]
    assert "cannot be noted now" in capsys.readouterr().err
    assert not notes.flush(), "not at once again"
    folder.unlink()
    assert notes.flush(now=True)
    assert notes.ends_of(task(tmp_path)) == read_ends(run / "ends.jsonl") == [end]
    written = JobRecord.read(folder / "3.json")
    assert written is not None
    assert [(one.task, one.ended) for one in written.tasks] == [("a-run", True)]


def test_a_write_that_came_through_although_it_failed_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "a-run" / "ends.jsonl"
    file.mkdir(parents=True)
    notes = Notes.open(tmp_path / "3.json", JOB)
    noted, end = TaskRecord(task="a-run", began=5.0), End(kind="crash", job=JOB.id, began=5.0, ended=6.0)
    notes.end(noted, file, end)
    file.rmdir()
    append_end(file, end)
    assert notes.flush(now=True)
    assert read_ends(file) == [end]


def test_a_restart_whose_node_slurm_has_lost_leaves_the_record_to_the_next(tmp_path: Path) -> None:
    file = tmp_path / "3.json"
    former = Notes.open(file, JOB)
    former.begin_restart(JOB)
    assert former.begin(TaskRecord(task="a-run", began=5.0))
    again = ThisJob(JOB.id, 3, 1, "n[3-4]", "n3")
    now = Notes.open(file, again)
    now.begin_restart(again)
    assert now.begin(TaskRecord(task="other", began=7.0, restart=1))
    former.record.ended = True  # the launcher would take the job for over
    former.changed()
    assert former.flush(now=True)
    assert JobRecord.read(file) == now.record


def test_an_end_that_an_earlier_restart_noted_right_before_it_was_killed_is_not_noted_again(tmp_path: Path) -> None:
    tasks = [TaskRecord(task="a-run", began=5.0)]
    JobRecord(job=JOB.id, began=1.0, told_to_stop="SIGTERM", tasks=tasks).write(tmp_path / "3.json")
    own = End(kind="crash", job=JOB.id, began=5.0, ended=6.0)
    append_end(tmp_path / "a-run" / "ends.jsonl", own)
    again = ThisJob(JOB.id, 3, 1, "n[3-4]", "n3")
    notes = Notes.open(tmp_path / "3.json", again)
    note_leftovers([task(tmp_path)], again, notes)
    assert notes.settled
    assert read_ends(tmp_path / "a-run" / "ends.jsonl") == [own]


def test_what_was_never_written_is_said_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    notes = Notes.open(tmp_path / "3.json", JOB)
    notes.end(TaskRecord(task="a-run", began=5.0), tmp_path / "file" / "x", End(kind="disk_full", error="no room"))
    notes.leave()
    assert "a-run ended" in capsys.readouterr().err


def test_an_evaluation_has_ends_of_its_own(tmp_path: Path) -> None:
    ends = [
        End(kind="crash", ended=1.0),
        End(kind="cancelled", ended=1.2),
        End(kind="retry", ended=1.4),
        End(kind="crash", work="evaluate", ended=2.0),
        End(kind="done", work="evaluate", ended=3.0),
        End(kind="time_limit", work="evaluate", ended=4.0),
        End(kind="retry", ended=5.0),
    ]
    for end in ends:
        append_end(tmp_path / "a-run" / "ends.jsonl", end)
    notes = Notes.open(tmp_path / "3.json", JOB)
    assert notes.ends_of(task(tmp_path, "evaluate")) == [*ends[1:3], *ends[5:]]
    assert notes.ends_of(task(tmp_path)) == [*ends[:3], ends[6]]


@pytest.mark.parametrize(
    ("told", "kind", "nodes"),
    [("SIGUSR1", "time_limit", "n[1-2]"), ("SIGTERM", "requeued", "n[1-2]"), (None, "node_failure", "n1")],
)
def test_what_an_earlier_restart_left_open_gets_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None, kind: str, nodes: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no sinfo: nobody says which nodes are down
    tasks = [
        TaskRecord(task="a-run", began=time.time(), nodes="n[1-2]", samples_before=7),
        TaskRecord(task="a-run", began=time.time(), nodes="n[1-2]", ended=True),
    ]
    file = tmp_path / "3.json"
    JobRecord(job=JOB.id, began=1.0, told_to_stop=told, host="n1", nodes="n[1-2]", tasks=tasks).write(file)
    again = ThisJob(JOB.id, 3, 1, "n[3-4]", "n3")
    notes = Notes.open(file, again)
    note_leftovers([task(tmp_path)], again, notes)
    notes.begin_restart(again)
    assert notes.flush(now=True)
    (end,) = read_ends(tmp_path / "a-run" / "ends.jsonl")
    assert (end.kind, end.nodes, end.restart, end.samples_before) == (kind, nodes, 0, 7)
    written = JobRecord.read(file)
    assert written is not None
    assert (written.restart, written.told_to_stop, [one.ended for one in written.tasks]) == (1, None, [True, True])
