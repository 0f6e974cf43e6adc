"""The launcher's cycle where others had their turn meanwhile: a grown sweep, a launcher that was suspended."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from slurm_sweeps import launched, submitted

from mammut_clip.config import InputError
from mammut_clip.runs.ends import read_ends
from mammut_clip.runs.holder import this_process
from mammut_clip.runs.lease import Lease
from mammut_clip.slurm.queue import QueuedJob
from mammut_clip.sweep import cycle
from mammut_clip.sweep.cycle import run_cycle
from mammut_clip.sweep.progress import Snapshot
from mammut_clip.sweep.turn import lock_of, turn

launch_module, watch_module = (import_module(f"mammut_clip.sweep.{name}") for name in ("launch", "watch"))


def follow(folder: Path, **more: Any) -> object:
    return watch_module.watch(folder, poll_seconds=0.1, **more)


@pytest.mark.parametrize(
    ("module", "work"), [(launch_module, launch_module.submit_due), (watch_module, follow)], ids=["submit_due", "watch"]
)
def test_what_is_due_is_judged_by_the_sweep_as_it_is_when_ones_turn_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, work: Any
) -> None:
    """While it waits, another launch drops one run and brings another."""
    monkeypatch.setenv("PATH", str(tmp_path))  # no Slurm answers
    sweep = launched(tmp_path, 1, 2)
    seen: list[list[str]] = []

    @contextmanager
    def after_another(*given: Any) -> Iterator[Lease]:
        launched(tmp_path, 2, 3)
        with turn(*given) as lease:
            yield lease

    def looked(found: Any, *given: Any, **more: Any) -> cycle.Cycle:
        seen.append([run.id for run in found.stored.runs if not run.dropped])
        return run_cycle(found, *given, **more)

    def stop(_: Snapshot) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "turn", after_another)
    monkeypatch.setattr(module, "run_cycle", looked)
    work(sweep.folder.path, refresh=lambda _: None, report=stop)
    assert seen == [["seed2", "seed3"]]


def test_a_launcher_that_was_suspended_while_slurm_was_asked_notes_nothing_that_another_has_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = launched(tmp_path, 1)
    submitted(sweep, ("seed1",))
    lock = lock_of(sweep.folder)

    def asked() -> dict[str, QueuedJob]:
        """Meanwhile its lease ran out, and another has taken it over."""
        (own,) = lock.parent.glob("lock.*")
        own.unlink()
        other = this_process(60).model_copy(update={"machine": "elsewhere", "id": "another"})
        lock.with_name("lock.9").write_bytes(other.encode())
        return {}

    monkeypatch.setattr(cycle, "read_queue", asked)
    with pytest.raises(InputError, match="writes the run no more"), turn(sweep.folder, 5) as lease:
        run_cycle(sweep, lease, patient=False)
    assert read_ends(sweep.run("seed1").ends_file) == []
