"""What the user's words leave behind when others write at the same time, or when they are cut off in between."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slurm_sweeps import launched

from mammut_clip.config import InputError
from mammut_clip.runs.ends import End, append_end
from mammut_clip.sweep import verbs
from mammut_clip.sweep.standing import look
from mammut_clip.sweep.stored import Control, Launched, control_file
from mammut_clip.sweep.turn import turn


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launched:
    monkeypatch.setenv("PATH", str(tmp_path))  # no Slurm answers
    return launched(tmp_path, 1, 2)


def cut_off(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """The process is killed before its write after so many."""
    done = []

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def write(*given: Any) -> None:
            if len(done) == writes:
                raise KeyboardInterrupt
            done.append(given)
            real(*given)

        return write

    for name in ("_write", "append_end"):
        monkeypatch.setattr(verbs, name, counted(getattr(verbs, name)))


@pytest.mark.parametrize("verb", [verbs.cancel, verbs.retry])
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_verb_that_is_cut_off_leaves_no_run_that_is_due_and_that_no_job_would_begin(
    sweep: Launched, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Launched, list[str]], object], writes: int
) -> None:
    if verb is verbs.retry:
        verbs.cancel(sweep, [])
    with monkeypatch.context() as cut:
        cut_off(cut, writes)
        with pytest.raises(KeyboardInterrupt):
            verb(sweep, [])
    # a job would find it cancelled and end, the launcher submit the next, for ever
    assert {*Control.of(sweep.folder).cancelled} <= {*look(sweep, set()).cancelled}
    verb(sweep, [])
    assert Control.of(sweep.folder).cancelled == look(sweep, set()).cancelled
    assert len(look(sweep, set()).cancelled) == (2 if verb is verbs.cancel else 0)


@pytest.mark.parametrize("verb", [verbs.pause, verbs.resume])
def test_who_pauses_or_resumes_waits_for_another_that_writes_the_same_file(
    sweep: Launched, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Launched], object]
) -> None:
    monkeypatch.setattr(verbs, "PATIENCE_SECONDS", 0.0)
    control = Control(paused=verb is verbs.resume, cancelled=["seed1"])
    control.write(control_file(sweep.folder))
    with turn(sweep.folder, 5), pytest.raises(InputError, match="works on this sweep now"):
        verb(sweep)
    assert Control.of(sweep.folder) == control
    verb(sweep)
    assert Control.of(sweep.folder) == Control(paused=verb is verbs.pause, cancelled=["seed1"])


def test_runs_that_were_added_while_a_verb_waited_for_its_turn_are_meant_too(sweep: Launched, tmp_path: Path) -> None:
    launched(tmp_path, 3, grow=True)
    assert verbs.cancel(sweep, []).runs == verbs.cancel(sweep, ["seed1", "seed2", "seed3"]).runs
    append_end(sweep.run("seed3").ends_file, End(kind="cancelled"))
    assert verbs.retry(sweep, []).runs == ["seed1", "seed2", "seed3"]
