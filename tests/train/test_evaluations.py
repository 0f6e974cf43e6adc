"""Evaluation on the clock: when the trainer calls for it, with which model, and what an interruption leaves to do."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.records import EvalRecord
from mammut_clip.train.trainer import Trainer

MakeRun = Callable[..., RunDir]
ONE = Process(0, 1, 0, torch.device("cpu"))


class Evaluation:
    """Writes a result at each point, as the real one does; fails once where asked."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.points: list[int] = []
        self._fails_at = fails_at

    def __call__(self, run: RunDir, model: nn.Module, samples_seen: int, process: Process) -> None:
        assert not model.training
        assert not torch.is_grad_enabled()
        if samples_seen == self._fails_at:
            raise OSError("the data set is out of reach")
        self.points.append(samples_seen)
        record = EvalRecord(dataset="d", model="m", pretrained="p", task="t", metrics={"acc1": 1.0})
        record.write(run.eval_file(samples_seen, "task"))


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
