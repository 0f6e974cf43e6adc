"""What the benchmark of starts, kills and checkpoints sees of a training: steps, saves, and that all of it is dead."""

import os
import sys
import time
from pathlib import Path

import pytest
from benchmarks.attempts import attempt
from benchmarks.peers import FOLDER
from benchmarks.processes import ChildFailedError
from benchmarks.result import Settings

from benchmarks import train_events

TRAINER = """
import subprocess, sys, threading, time, torch
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.AdamW([weight])
def save(name):
    torch.save(weight, sys.argv[1] + name)
for step in range(int(sys.argv[2])):
    weight.grad = torch.ones(2)
    optimizer.step()
    if step == 1:
        save("main")
        other = threading.Thread(target=save, args=("other",))
        other.start()
        other.join()
    time.sleep(0.05)
child.kill()
sys.exit("no steps are left")
"""


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str | Path]:
    """A command that trains one parameter; the number of its steps is to be added."""
    (tmp_path / "a_trainer.py").write_text(TRAINER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).resolve().parents[2]}")
    return [sys.executable, "-m", "a_trainer", f"{tmp_path}/"]


def is_alive(pid: int) -> bool:
    """A killed process that nobody has waited for yet is dead."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_an_attempt_notes_steps_and_saves_and_leaves_nothing_alive(trainer: list[str | Path], tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = attempt([*trainer, "100000"], 4, log, {})
    child = int(log.read_text().split()[1])
    deadline = time.monotonic() + 120
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)
    assert (tmp_path / "main").is_file() and (tmp_path / "other").is_file()
    assert len(found.saves) == 1, "a save beside the training counts as standing still"
    assert 4 <= len(found.steps) < 100_000
    assert found.began < found.steps[0] < found.steps[1] < found.steps[-1] <= found.killed


def test_an_attempt_that_ends_by_itself_is_an_error(trainer: list[str | Path], tmp_path: Path) -> None:
    with pytest.raises(ChildFailedError, match=r"exit code 1 before step 4:(.|\n)*no steps are left"):
        attempt([*trainer, "3"], 4, tmp_path / "log", {})


@pytest.mark.slow
@pytest.mark.skipif(not (FOLDER / ".installed").is_file(), reason="the peers' environment is not there: make bench")
def test_train_events_has_rows_of_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, steps in {"EVERY": 4, "CHECKPOINTS": 2, "BEYOND": 3}.items():
        monkeypatch.setattr(train_events, name, steps)
    found = train_events.measure(Settings(repeats=1))
    assert len(found.rows) == 8
    for row in found.rows:
        assert row.ours[0] > 0 and row.theirs[0] > 0, row
    again = next(row for row in found.rows if row.unit == "samples trained again")
    assert again.ours[0] >= 3 * 64 and again.theirs[0] >= 3 * 64
