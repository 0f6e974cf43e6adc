"""Ends of jobs that have left the queue, each noted once, whoever was killed in the middle of noting them."""

from pathlib import Path
from typing import Any

import pytest
from slurm_sweeps import launched, submitted

from mammut_clip.runs.ends import End, append_end, read_ends
from mammut_clip.slurm.record import JobRecord, TaskRecord
from mammut_clip.sweep import departures
from mammut_clip.sweep.departures import settle
from mammut_clip.sweep.journal import Journal


@pytest.fixture(autouse=True)
def no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize("appended", [0, 1, 2, 3])
def test_a_launcher_killed_while_it_notes_ends_has_none_noted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appended: int
) -> None:
    sweep = launched(tmp_path, 1, 2, 3)
    journal = submitted(sweep, ("seed1", "seed2"), ("seed3",))
    (log := Path(journal.jobs["7_0"].log)).parent.mkdir(parents=True)
    log.touch()  # it was started, and had not begun anything
    record = JobRecord(job="7_1", began=1.0, tasks=[TaskRecord(task="seed3", began=2.0)])
    record.write(Path(journal.jobs["7_1"].record))
    done: list[Path] = []

    def append(path: Path, end: End) -> None:
        if len(done) == appended:
            raise KeyboardInterrupt
        append_end(path, end)
        done.append(path)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(departures, "append_end", append)
        cut.setattr(Journal, "left", killed)
        settle(sweep, journal, {})
    assert len(done) == appended

    settle(sweep, Journal.open(sweep.folder), {})
    kinds = [[end.kind for end in read_ends(sweep.run(f"seed{n}").ends_file)] for n in (1, 2, 3)]
    assert kinds == [["never_began"], ["never_began"], ["lost"]]
    assert not Journal.open(sweep.folder).jobs


def test_what_a_job_noted_right_before_it_was_killed_is_not_noted_again(tmp_path: Path) -> None:
    sweep = launched(tmp_path, 1)
    journal = submitted(sweep, ("seed1",))
    tasks = [TaskRecord(task="seed1", began=2.5), TaskRecord(task="seed1", began=9.5)]
    JobRecord(job="7_0", began=1.0, tasks=tasks).write(Path(journal.jobs["7_0"].record))
    own = End(kind="out_of_memory", job="7_0", began=2.5, error="no room")
    append_end(sweep.run("seed1").ends_file, own)
    settle(sweep, journal, {})
    ends = read_ends(sweep.run("seed1").ends_file)
    assert [(end.kind, end.began) for end in ends] == [("out_of_memory", 2.5), ("lost", 9.5)]
