"""status.json where the main thread and the watch's have something to say at once: the first end counts."""

import threading
from pathlib import Path

import pytest
from checkpoint_case import ONE, run_with

from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.records import Status
from mammut_clip.train.attempt import Attempt


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return run_with(tmp_path)


def test_a_run_that_has_finished_stays_so_though_another_rank_dies_on_the_way_out(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, real = Attempt(run, ONE, None), Status.write
    watch = threading.Thread(target=attempt.write_end, args=("failed", "rank 3 ended without a word", "crash"))

    def write(status: Status, path: Path) -> None:
        if status.state == "finished":
            watch.start()
            watch.join(0.2)  # it waits for its turn
        real(status, path)

    monkeypatch.setattr(Status, "write", write)
    attempt.write("running", 64)
    attempt.write("finished", 6400)
    watch.join()
    attempt.write_end("failed", "rank 5 ended without a word", "crash")
    assert (run.status.state, run.status.samples_seen, run.status.last_error) == ("finished", 6400, None)


def test_an_attempt_that_the_watch_has_ended_runs_no_more(run: RunDir) -> None:
    attempt = Attempt(run, ONE, None)
    attempt.write("running", 64)
    attempt.write_end("failed", "rank 3 ended without a word", "crash")
    attempt.write("running", 128)
    attempt.write_end("interrupted", "SIGTERM")
    assert (run.status.state, run.status.last_error) == ("failed", "rank 3 ended without a word")
    Attempt(run, ONE, None).write("running", 64)
    assert (run.status.state, run.status.attempts) == ("running", 2)
