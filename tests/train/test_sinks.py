"""What Weights & Biases, TensorBoard and the terminal show of metrics.jsonl, over several attempts."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.runs import metrics
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.sinks import BestEffort, Sink, check_sinks, open_sinks
from mammut_clip.train.sinks.terminal import Pace
from mammut_clip.train.sinks.wandb_log import history_steps, records

MakeRun = Callable[..., RunDir]
BOTH = {"every": 32, "wandb_project": "test", "wandb_mode": "offline", "tensorboard": True}


@pytest.fixture(autouse=True)
def quiet_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB__SERVICE_WAIT", "300")  # its own process may be slow to start
    monkeypatch.delenv("WANDB_MODE", raising=False)


def row(samples: int, loss: float) -> dict[str, Any]:
    return {
        "samples_seen": samples,
        "step": samples // 32,
        "loss": loss,
        "caption_loss": None,
        "samples_per_second": 10.0,
        "data_wait": 0.0,
        "time": 1e9 + samples,
    }


def attempt(run: RunDir, start: int, end: int, loss: float, completed: bool = True) -> None:
    """Rows from `start` to `end`, with a loss of its own."""
    sinks = open_sinks(run, run.config, start)
    for samples in range(start + 32, end + 1, 32):
        for sink in sinks:
            sink.write(row(samples, loss))
    for sink in sinks:
        sink.close(completed)
    if "wandb" in sys.modules:  # as at the end of a process: files are written, settings forgotten
        sys.modules["wandb"].teardown()


def killed_attempt(run: RunDir, start: int, end: int, loss: float, flushed: bool = False) -> None:
    """As `attempt`, in a process that is killed by force after its last row; `flushed`: once wandb's files have it."""
    code = (
        "import os, signal, sys, time, test_sinks as t; run = t.RunDir(t.Path(sys.argv[1]))\n"
        f"sinks = t.open_sinks(run, run.config, {start})\n"
        f"for samples in range({start} + 32, {end} + 1, 32):\n"
        f"    for sink in sinks: sink.write(t.row(samples, {loss}))\n"
        f"while {flushed} and {end} not in t.all_steps(run): time.sleep(0.05)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": paths, "WANDB__TRANSACTION_LOG_FLUSH_INTERVAL": "0.1"}
    if not flushed:
        env["WANDB__TRANSACTION_LOG_FLUSH_INTERVAL"] = "1000"
    done = subprocess.run([sys.executable, "-c", code, str(run.path)], env=env, capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def another_second() -> None:
    """TensorBoard reads files in the order of the seconds in their names, then of numbers as text (9 after 10)."""
    time.sleep(1.1)


def wandb_files(run: RunDir) -> list[Path]:
    """One for each attempt, of one id, in the order in which they would be uploaded."""
    files = sorted(run.path.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    assert len({file.name for file in files}) <= 1
    return files


def all_steps(run: RunDir) -> list[int]:
    return [step for file in wandb_files(run) for step in history_steps(file)]


def wandb_rows(run: RunDir) -> list[dict[str, Any]]:
    from wandb.proto.wandb_internal_pb2 import Record

    found = (Record.FromString(data) for file in wandb_files(run) for data in records(file.read_bytes()))
    rows = (record.history.item for record in found if record.WhichOneof("record_type") == "history")
    return [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in items} for items in rows]


def in_wandb(run: RunDir) -> list[tuple[int, float]]:
    return [(found["samples_seen"], found["loss"]) for found in wandb_rows(run)]


def in_tensorboard(run: RunDir, tag: str = "loss") -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def in_metrics(run: RunDir) -> list[tuple[int, float]]:
    return [(found["samples_seen"], found["loss"]) for found in run.metrics]


def expected_losses(**ends: int) -> list[tuple[int, float]]:
    """Rows with loss 1 until the first end, then 2, then 3."""
    losses = [sum(samples > end for end in ends.values()) + 1.0 for samples in range(32, 257, 32)]
    return list(zip(range(32, 257, 32), losses, strict=True))


def test_tensorboard_shows_what_metrics_hold_after_a_kill_and_two_resumes(make_run: MakeRun) -> None:
    run = make_run(logging={"every": 32, "tensorboard": True})
    killed_attempt(run, 0, 160, loss=1.0)
    another_second()
    attempt(run, 64, 96, loss=2.0, completed=False)
    another_second()
    attempt(run, 96, 256, loss=3.0)
    assert in_metrics(run) == in_tensorboard(run) == expected_losses(first=64, second=96)


@pytest.mark.parametrize("flushed", [False, True])
def test_wandb_gets_each_row_once_whatever_a_kill_took_along(make_run: MakeRun, flushed: bool) -> None:
    """Until its files are flushed, wandb holds rows in the memory of a process that dies with the run."""
    run = make_run(logging={"every": 32, "wandb_project": "test", "wandb_mode": "offline"})
    killed_attempt(run, 0, 160, 1.0, flushed)
    assert all_steps(run) == ([32, 64, 96, 128, 160] if flushed else [])
    attempt(run, 64, 96, loss=2.0, completed=False)
    attempt(run, 96, 256, loss=3.0)
    assert in_metrics(run) == expected_losses(first=64, second=96)
    assert in_wandb(run) == (expected_losses(first=160, second=160) if flushed else in_metrics(run))


def test_rows_that_were_written_but_not_handed_over_come_with_the_next_attempt(make_run: MakeRun) -> None:
    run = make_run(logging=BOTH)
    attempt(run, 0, 64, loss=1.0)
    for samples in (96, 128, 160):  # the process died between metrics.jsonl and the others
        metrics.append(run.metrics_file, row(samples, 2.0))
    another_second()
    attempt(run, 128, 192, loss=3.0)
    expected = [(32, 1.0), (64, 1.0), (96, 2.0), (128, 2.0), (160, 3.0), (192, 3.0)]
    assert in_metrics(run) == in_wandb(run) == in_tensorboard(run) == expected


def test_a_row_is_shown_with_its_fields_and_time(make_run: MakeRun) -> None:
    run = make_run(logging=BOTH)
    attempt(run, 0, 64, loss=1.5)
    assert in_tensorboard(run, "samples_per_second") == [(32, 10.0), (64, 10.0)]
    assert in_tensorboard(run, "step") == [(32, 1.0), (64, 2.0)]
    first = wandb_rows(run)[0]
    assert first["_step"] == 32
    assert {name: value for name, value in first.items() if not name.startswith("_")} == {
        name: value for name, value in row(32, 1.5).items() if value is not None
    }


def test_a_disabled_wandb_counts_nothing_as_sent(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(logging={"every": 32, "wandb_project": "test"})
    monkeypatch.setenv("WANDB_MODE", "disabled")
    attempt(run, 0, 64, loss=1.0)
    monkeypatch.setenv("WANDB_MODE", "offline")
    attempt(run, 64, 96, loss=1.0)
    assert in_wandb(run) == in_metrics(run) == [(32, 1.0), (64, 1.0), (96, 1.0)]


def test_a_server_that_cannot_be_reached_ends_nothing(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    run = make_run(logging={"every": 32, "wandb_project": "test", "wandb_mode": "online"})
    attempt(run, 0, 128, loss=1.0)
    assert len(run.metrics) == 4
    said = capfd.readouterr().err
    assert said.count("training goes on without it") == 1
    assert said.count("Weights & Biases: ") == 1


def test_a_folder_that_cannot_be_made_ends_nothing(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(logging={"every": 32, "tensorboard": True})
    (run.path / "tensorboard").write_text("in the way")
    attempt(run, 0, 96, loss=1.0)
    assert len(run.metrics) == 3
    assert capsys.readouterr().err.count("TensorBoard: ") == 1


class Breaks:
    """Takes two rows, and no more."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def write(self, row: dict[str, Any]) -> None:
        if len(self.rows) == 2:
            raise ConnectionError("gone")
        self.rows.append(row["samples_seen"])

    def close(self, completed: bool) -> None:
        raise ConnectionError("still gone")


def test_a_sink_that_breaks_on_the_way_is_heard_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    inner = Breaks()
    sink: Sink = BestEffort("The other one", lambda: inner)
    for samples in (32, 64, 96, 128):
        sink.write(row(samples, 1.0))
    sink.close(completed=True)
    assert inner.rows == [32, 64]
    said = capsys.readouterr().err
    assert said == "The other one: gone; training goes on without it, metrics.jsonl has every row\n"


def test_no_optional_sink_is_there_unless_asked_for(make_run: MakeRun) -> None:
    run = make_run()
    attempt(run, 0, 64, loss=1.0)
    assert not (run.path / "tensorboard").exists()
    assert not (run.path / "wandb").exists()


@pytest.mark.parametrize(
    ("package", "logging", "advice"),
    [
        ("tensorboard", {"tensorboard": True}, r"logging.tensorboard: .* pip install 'mammut-clip\[tensorboard\]'"),
        ("wandb", {"wandb_project": "x"}, "logging.wandb_project: .* pip install wandb"),
    ],
)
def test_a_missing_package_is_said_before_anything_starts(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, package: str, logging: dict[str, Any], advice: str
) -> None:
    asks, does_not = make_run(logging=logging).config, make_run(name="plain").config
    check_sinks(asks)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not there
    with pytest.raises(InputError, match=advice):
        check_sinks(asks)
    check_sinks(does_not)


def test_lines_say_where_the_run_is_and_what_is_the_matter(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(samples_seen=64)
    sinks = open_sinks(run, run.config, 0)
    for sink in sinks:
        sink.write(row(32, 1.25))
        sink.write(row(64, 1.0) | {"loss": None, "data_wait": 0.5, "skipped_steps": 3, "bad_samples": 7, "mfu": 0.41})
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("a-run  32 of 64 samples  loss 1.2500  10 samples/s  ")
    assert first.endswith(" left")
    assert second == (
        "a-run  64 of 64 samples  loss not finite  10 samples/s  MFU 41%  waits 50% for data  "
        "skipped 3 step(s)  bad 7  0:00:00 left"
    )


def test_who_watches_sees_a_bar(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        attempt(make_run(samples_seen=64, name="seen"), 0, 64, loss=1.25)
        monkeypatch.undo()
    shown = _read_all(ours)
    assert "seen" in shown
    assert "loss 1.2500" in shown
    assert "100%" in shown
    assert "0:00:00 left" in shown


def _read_all(descriptor: int) -> str:
    """What a terminal got, until it is closed."""
    found = io.BytesIO()
    try:
        while part := os.read(descriptor, 4096):
            found.write(part)
    except OSError:  # Linux's way to say that nobody writes to it any more
        pass
    os.close(descriptor)
    return found.getvalue().decode()


def test_the_rest_at_a_steady_pace_takes_what_is_left_of_it() -> None:
    pace = Pace(start=1000, total=2000, now=50.0)
    for samples in range(1010, 2000, 10):
        assert pace.remaining(samples, 50.0 + (samples - 1000) / 4) == pytest.approx((2000 - samples) / 4)
    assert pace.remaining(2000, 300.0) == 0


def test_the_pace_follows_what_happens_and_forgets() -> None:
    """10 samples/s, then 1: a pause moves the end at once, and the old speed is forgotten within the hour."""
    pace = Pace(start=0, total=1_000_000, now=0.0)
    fast = [pace.remaining(10 * now, now) for now in range(10, 610, 10)][-1]
    after_pause = pace.remaining(6010, 660.0)
    assert fast < after_pause < 2 * fast
    slow = [pace.remaining(6010 + now, 660.0 + now) for now in range(10, 3610, 10)][-1]
    assert slow == pytest.approx((1_000_000 - 9610) / 1, rel=0.01)


def test_the_note_of_what_was_handed_over_survives_a_cut_off_line(make_run: MakeRun) -> None:
    run = make_run(logging={"every": 32, "wandb_project": "test", "wandb_mode": "offline"})
    attempt(run, 0, 64, loss=1.0)
    note = run.path / "wandb" / "handed.jsonl"
    with note.open("a") as file:
        file.write('{"samples_se')
    attempt(run, 64, 96, loss=1.0)
    assert in_wandb(run) == [(32, 1.0), (64, 1.0), (96, 1.0)]
    assert [json.loads(line)["samples_seen"] for line in note.read_text().splitlines()] == [0, 64, 96]
