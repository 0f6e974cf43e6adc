"""status.json says of which kind a failure was, also another rank's; and a run that was out of memory goes on with
smaller micro-batches to the same weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from alone import losses, train, weights

from mammut_clip.config.errors import InputError
from mammut_clip.runs.adjustments import Adjustments
from mammut_clip.runs.failures import ErrorKind
from mammut_clip.runs.layout import RunDir
from mammut_clip.train import trainer
from mammut_clip.train.attempt import PeerFailedError
from mammut_clip.train.watch import Limits
from mammut_clip.train.watch.judge import Judge
from mammut_clip.train.watch.report import Report

MakeRun = Callable[..., RunDir]


def no_room(*_: Any) -> Any:
    return torch.empty(2**55, dtype=torch.uint8)  # what the allocator says, it says itself


def test_a_step_without_memory(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    monkeypatch.setattr(trainer, "compute_gradients", no_room)
    with pytest.raises(RuntimeError):
        train(run)
    assert (run.status.state, run.status.error_kind, run.status.total_samples) == ("failed", "out_of_memory", 512)


def test_input_that_is_missing(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(data={"train": [str(tmp_path / "gone")]})
    with pytest.raises(InputError):
        train(run)
    assert (run.status.state, run.status.error_kind) == ("failed", "bad_input")


def test_any_other_error_and_the_end_of_a_run(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(samples_seen=64)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "compute_gradients", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(run)
    assert (run.status.state, run.status.error_kind) == ("failed", "crash")
    train(run)
    assert (run.status.state, run.status.error_kind, run.status.last_error) == ("finished", None, None)
    assert run.status.total_samples == run.status.samples_seen == 64


REPORT = Report(1, "n2", 100, 64, "computing")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"failure": "rank 1: OutOfMemoryError: x", "failure_kind": "out_of_memory"}, "out_of_memory"),
        ({"failure": "rank 1: ValueError: x", "failure_kind": "crash"}, "crash"),
        ({"hung": True}, "hung"),
        (None, "crash"),
    ],
)
def test_all_ranks_hear_of_which_kind_anothers_failure_is(changes: dict[str, Any] | None, kind: ErrorKind) -> None:
    judge = Judge(2, 600.0, Limits())
    judge.hear(replace(REPORT, rank=0), 0.0)
    judge.hear(replace(REPORT, **(changes or {})), 0.0)
    if changes is None:
        judge.lose(1, "ended without a word")
    judge.decide(0.0)
    order = judge.decide(60.0)
    assert order is not None and order.verdict is not None
    assert order.kind == kind
    assert PeerFailedError(order.verdict, order.kind).error_kind == kind


def test_smaller_micro_batches_are_taken_up_and_lead_to_the_same(
    make_run: MakeRun, capfd: pytest.CaptureFixture[str]
) -> None:
    plain, small = make_run(name="plain", samples_seen=128), make_run(name="small", samples_seen=128)
    Adjustments(micro_batch_size=8, why="out of memory: x", since=1.0).write(small.adjustments_file)
    train(plain)
    assert "micro_batch" not in capfd.readouterr().err
    train(small)
    said = "parallel.micro_batch_size is 8 here: out of memory: x"
    assert said in capfd.readouterr().err
    assert said in (small.logs / "attempt-1-rank-0.log").read_text()
    assert small.config.parallel.micro_batch_size is None
    assert [loss for _, loss in losses(small)] == pytest.approx([loss for _, loss in losses(plain)], abs=2e-4)
    expected, found = weights(plain), weights(small)
    assert all(torch.allclose(value, expected[key], atol=2e-3) for key, value in found.items())
    # the sums were taken in another order, so the change has been taken up
    assert not all(torch.equal(value, expected[key]) for key, value in found.items())
