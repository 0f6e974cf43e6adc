"""Runs whose gradients are spoilt at chosen samples: skipped, rewound, stopped, resumed."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mammut_clip.distributed import Process
from mammut_clip.models import build_model
from mammut_clip.models.sharded import read_sharded
from mammut_clip.runs.layout import RunDir
from mammut_clip.train import trainer
from mammut_clip.train.step import compute_gradients
from mammut_clip.train.trainer import Trainer
from mammut_clip.train.update import LossIsNotFiniteError

MakeRun = Callable[..., RunDir]
ONE = Process(0, 1, 0, torch.device("cpu"))
BATCH = 32


def train(run: RunDir, monkeypatch: pytest.MonkeyPatch, spoilt: Collection[int]) -> None:
    """Train; gradients of the steps that begin at the samples `spoilt` have one NaN in them."""

    def spoil(model: nn.Module, inputs: Any, *rest: Any) -> Any:
        losses = compute_gradients(model, inputs, *rest)
        if inputs.micro_batches[0].positions.start in spoilt:
            parameter = next(p for p in model.parameters() if p.grad is not None)
            assert parameter.grad is not None
            parameter.grad.view(-1)[0] = torch.nan
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "compute_gradients", spoil)
        Trainer(run, ONE).train()


def weights(run: RunDir, samples_seen: int) -> dict[str, torch.Tensor]:
    model = build_model(run.config.model.architecture)
    read_sharded(model, run.checkpoint(samples_seen).path)
    return model.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def steps(*numbers: int) -> set[int]:
    """Where the steps of these numbers begin, from 0."""
    return {number * BATCH for number in numbers}


def test_a_single_bad_step_changes_nothing_but_the_count(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(checkpoint={"every": BATCH, "keep_last": 20}, samples_seen=8 * BATCH)
    train(run, monkeypatch, steps(3))
    assert [row["skipped_steps"] for row in run.metrics] == [0, 0, 0, 1, 0, 0, 0, 0]
    assert run.metrics[3]["grad_norm"] is None
    # nothing is saved while gradients are bad; what is due then is saved after the next good step
    assert [c.samples_seen // BATCH for c in run.checkpoints] == [1, 2, 3, 5, 6, 7, 8]
    assert run.status.state == "finished"


def test_too_many_in_a_row_go_back_and_on_with_the_following_samples(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(
        checkpoint={"every": 4 * BATCH, "keep_last": 20},
        samples_seen=12 * BATCH,
        non_finite={"in_a_row": 3},
    )
    train(run, monkeypatch, steps(5, 6, 7))
    assert "weights of 128 samples seen, going on at 256" in capsys.readouterr().err
    assert [row["samples_seen"] for row in run.metrics] == [BATCH * step for step in range(1, 13)]
    assert sum(row["skipped_steps"] for row in run.metrics) == 3
    assert same(weights(run, 4 * BATCH), weights(run, 8 * BATCH))
    assert not same(weights(run, 8 * BATCH), weights(run, 12 * BATCH))


def test_an_attempt_after_a_rewind_ends_as_if_it_had_not_stopped(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "checkpoint": {"every": 4 * BATCH, "keep_last": 20},
        "samples_seen": 12 * BATCH,
        "non_finite": {"in_a_row": 3},
    }
    whole, stopped = make_run(name="whole", **settings), make_run(name="stopped", **settings)
    train(whole, monkeypatch, steps(5, 6, 7))
    train(stopped, monkeypatch, steps(5, 6, 7))
    stopped.remove_checkpoint(stopped.checkpoints[-1])
    stopped.status_file.unlink()
    assert stopped.checkpoints[-1].samples_seen == 8 * BATCH
    train(stopped, monkeypatch, ())  # the spoilt samples are behind it
    assert same(weights(whole, 12 * BATCH), weights(stopped, 12 * BATCH))


@pytest.mark.parametrize(
    ("non_finite", "checkpoints", "spoilt", "reason"),
    [
        ({"in_a_row": 2, "then": "stop"}, True, range(6, 12), "the gradients of the last 2 steps before 256 "),
        ({"in_a_row": 2, "rewinds": 1}, True, range(6, 12), "after 1 rewinds"),
        ({"in_a_row": 2}, False, range(6, 12), "there is no checkpoint to go back to"),
    ],
)
def test_what_cannot_be_mended_ends_the_run(
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
    non_finite: dict[str, Any],
    checkpoints: bool,
    spoilt: range,
    reason: str,
) -> None:
    every = {"every": 4 * BATCH} if checkpoints else {}
    run = make_run(checkpoint=every, samples_seen=12 * BATCH, non_finite=non_finite)
    with pytest.raises(LossIsNotFiniteError, match=r"optimizer\.lr"):
        train(run, monkeypatch, steps(*spoilt))
    assert run.status.state == "failed"
    assert reason in (run.status.last_error or "")


def test_rows_stay_readable_while_the_loss_is_not_a_number(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(optimizer={"lr": 1e30, "clip_grad_norm": None}, schedule={"kind": "const"})
    with pytest.raises(LossIsNotFiniteError):
        Trainer(run, ONE).train()
    lines = run.metrics_file.read_text().splitlines()
    assert json.loads(lines[-1])["loss"] is None
    assert "NaN" not in run.metrics_file.read_text()
