"""The launcher's journal: what it says after each line, after a kill between two, and after a line that was cut off."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from calls import calls_of
from mammut_clip.config import InputError
from mammut_clip.runs.layout import SweepDir
from mammut_clip.slurm.task import SubmittedJob
from mammut_clip.sweep.journal import Journal


def job(job_id: str, *tasks: str) -> SubmittedJob:
    return SubmittedJob(job_id, "s.tag.1", f"/r/{job_id}.json", f"/r/{job_id}.out", tasks)


def test_a_journal_read_again_says_the_same(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path)
    journal = Journal.open(sweep)
    assert journal.next_number == 1 and not journal.busy
    journal.begin(1, "s.tag.1", [["a", "b"], ["c"]], exclude=["n3"])
    assert journal.busy == {"a", "b", "c"} and len(journal.unanswered) == 1
    journal.taken(1, [job("7_0", "a", "b"), job("7_1", "c")])
    journal.begin(2, "s.tag.2", [["d"]])
    journal.refused(2, "no room\u2028in the partition")
    journal.withdraw(["7_1"])
    journal.release(["7_0"])
    journal.exclude(["7_0"], ["n3", "n4"])
    journal.left(["7_1"])
    again = Journal.open(sweep)
    assert again == journal
    assert list(again.jobs) == ["7_0"] and again.jobs["7_0"] == job("7_0", "a", "b")
    assert again.busy == {"a", "b"} and not again.unanswered and again.next_number == 3
    assert again.withdrawn == {"7_1"} and again.released == {"7_0"}
    assert again.excluded == {"7_0": {"n3", "n4"}}


def test_a_launcher_killed_while_it_submits_leaves_the_name_and_the_tasks(tmp_path: Path) -> None:
    Journal.open(SweepDir(tmp_path)).begin(1, "s.tag.1", [["a"]])
    found = Journal.open(SweepDir(tmp_path))
    assert [(one.name, one.tasks) for one in found.unanswered] == [("s.tag.1", (("a",),))]
    assert found.busy == {"a"}


def test_a_line_that_was_cut_off_swallows_nothing(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path)
    journal = Journal.open(sweep)
    journal.begin(1, "s.tag.1", [["a"]])
    with journal.file.open("a") as file:
        file.write('{"event": "taken", "number": 1, "jo')
    Journal.open(sweep).taken(1, [job("7", "a")])
    assert list(Journal.open(sweep).jobs) == ["7"]
    with journal.file.open("a") as file:
        file.write("[1, 2]\n\x00\n" + '{"event": "taken", "number": 99, "jobs": []}\n')
    assert list(Journal.open(sweep).jobs) == ["7"]


def test_a_journal_that_cannot_be_read_or_written_stops_the_launcher(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path)
    (sweep.launch_folder / "journal.jsonl").mkdir(parents=True)
    with pytest.raises(InputError, match=r"journal\.jsonl: cannot be read"):
        Journal.open(sweep)
    with pytest.raises(InputError, match=r"journal\.jsonl: cannot be written"):
        Journal(sweep.launch_folder / "journal.jsonl").begin(1, "s.tag.1", [["a"]])


def test_another_users_journal_is_refused_before_anything_is_taken_from_it() -> None:
    """None of its jobs is in our queue: each would be taken for gone."""
    with TemporaryDirectory() as name:  # pytest's folders are closed to others
        sweep = SweepDir(Path(name))
        Journal.open(sweep).begin(1, "s.tag.1", [["a"]])
        sweep.path.chmod(0o755)
        (sweep.launch_folder / "journal.jsonl").chmod(0o444)
        who = os.geteuid()
        if who == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(InputError, match="its owner alone"):
                Journal.open(sweep)
        finally:
            os.seteuid(who)


def test_five_thousand_runs_with_several_jobs_each_are_read_with_little_work(tmp_path: Path) -> None:
    sweep, lines = SweepDir(tmp_path), []
    for number in range(1, 10_001):
        run, name = f"model-L-samples_seen-3.07B-lr-1e-3-seed{number // 2}", f"s.tag.{number}"
        event = {"event": "submitting", "number": number, "name": name, "at": 1.0, "tasks": [[run]], "exclude": []}
        lines.append(json.dumps(event))
        lines.append(json.dumps({"event": "taken", "number": number, "jobs": [[f"{number}", "r", "l", [run]]]}))
        lines.append(json.dumps({"event": "left", "jobs": [f"{number}"]}))
    sweep.launch_folder.mkdir()
    (sweep.launch_folder / "journal.jsonl").write_text("\n".join(lines) + "\n")
    journal = Journal.open(sweep)
    assert calls_of(lambda: Journal.open(sweep)) < 100 * 10_000  # 0.1 s for these 10,000 jobs
    assert journal.next_number == 10_001 and not journal.busy
