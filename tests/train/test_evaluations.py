"""Evaluation on the clock: when the trainer calls for it, with which model, and what an interruption leaves to do."""

import os
import signal
from collections.abc import Callable

import pytest
import torch
from torch import nn

from mammut_clip.config.errors import RunInterruptedError
from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.records import EvalRecord
from mammut_clip.train.trainer import Trainer

MakeRun = Callable[..., RunDir]
ONE = Process(0, 1, 0, torch.device("cpu"))


class Evaluation:
    """Writes two results at each point, and leaves out those that are there, as the real one does.

    Fails at one point, or is sent a signal there during the first of the two, where asked.
    """

    def __init__(self, fails_at: int | None = None, signal_at: int | None = None) -> None:
        self.measured: list[tuple[int, str]] = []
        self._fails_at, self._signal_at = fails_at, signal_at

    @property
    def points(self) -> list[int]:
        return sorted({at for at, _ in self.measured})

    def __call__(
        self, run: RunDir, model: nn.Module, samples_seen: int, process: Process, stop: Callable[[], bool]
    ) -> None:
        assert not model.training
        assert not torch.is_grad_enabled()
        if samples_seen == self._fails_at:
            raise OSError("the data set is out of reach")
        for task in ("first", "second"):
            if (samples_seen, task) in run.evals:
                continue
            if stop():
                return
            self.measured.append((samples_seen, task))
            record = EvalRecord(dataset="d", model="m", pretrained="p", task="t", metrics={"acc1": 1.0})
            record.write(run.eval_file(samples_seen, task))
            if samples_seen == self._signal_at:
                os.kill(os.getpid(), signal.SIGTERM)


def test_at_every_point_and_at_the_end(make_run: MakeRun) -> None:
    run, evaluation = make_run(evaluation={"every": 192}), Evaluation()
    Trainer(run, ONE, evaluation).train()
    assert evaluation.points == [192, 384, 512]


def test_at_the_end_alone_unless_points_are_given(make_run: MakeRun) -> None:
    evaluation = Evaluation()
    Trainer(make_run(), ONE, evaluation).train()
    assert evaluation.points == [512]


@pytest.mark.parametrize("point", [256, 512])
def test_what_an_attempt_did_not_measure_the_next_one_does(make_run: MakeRun, point: int) -> None:
    run = make_run(evaluation={"every": 256})  # checkpoints stand every 128
    with pytest.raises(OSError, match="out of reach"):
        Trainer(run, ONE, Evaluation(fails_at=point)).train()
    assert run.status.state == "failed"
    assert run.checkpoints[-1].samples_seen == point
    again = Evaluation()
    Trainer(run, ONE, again).train()
    assert again.points == [at for at in (256, 512) if at >= point]
    assert run.status.state == "finished"


@pytest.mark.parametrize("point", [256, 384, 512])
def test_a_signal_during_an_evaluation_leaves_the_rest_to_the_next_attempt(make_run: MakeRun, point: int) -> None:
    run = make_run(evaluation={"every": 128})
    first = Evaluation(signal_at=point)
    with pytest.raises(RunInterruptedError) as stop:
        Trainer(run, ONE, first).train()
    assert stop.value.exit_code == 128 + signal.SIGTERM
    assert run.status.state == "interrupted"
    assert first.measured[-1] == (point, "first")
    assert run.checkpoints[-1].samples_seen == point
    again = Evaluation()
    Trainer(run, ONE, again).train()
    assert again.measured[0] == (point, "second")
    assert run.status.state == "finished"
    assert set(run.evals) == {(at, task) for at in (128, 256, 384, 512) for task in ("first", "second")}
