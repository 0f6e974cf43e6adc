"""One process: training, resuming and stopping, from the run directory alone."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from alone import losses, train, weights

from mammut_clip.config.errors import InputError, RunInterruptedError
from mammut_clip.config.model import load_model_config
from mammut_clip.data.tokenizer_files import toy_tokenizer_json
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.models import build_model
from mammut_clip.runs import metrics
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.update import LossIsNotFiniteError

MakeRun = Callable[..., RunDir]


def stop_after(run: RunDir, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until the step that ends at `samples`, then deliver a real SIGTERM to this process."""
    original = metrics.append

    def append(path: Path, row: dict) -> None:
        original(path, row)
        if row["samples_seen"] == samples:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(metrics, "append", append)
        with pytest.raises(RunInterruptedError):
            train(run)


def test_losses_fall_and_the_records_are_complete(make_run: MakeRun) -> None:
    run = make_run(samples_seen=2048)
    train(run)
    values = [loss for _, loss in losses(run)]
    assert len(values) == 64
    assert sum(values[-8:]) / 8 < sum(values[:8]) / 8 - 0.5
    assert run.status.state == "finished"
    assert run.status.samples_seen == 2048
    assert run.manifest is not None
    assert run.manifest.parameters == sum(p.numel() for p in build_model(run.config.model.architecture).parameters())
    assert [c.samples_seen for c in run.checkpoints] == [1920, 2048]


def test_a_stopped_run_continues_bit_for_bit(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = make_run(name="whole"), make_run(name="stopped")
    train(whole)
    stop_after(stopped, 224, monkeypatch)  # between checkpoints
    assert stopped.status.state == "interrupted"
    assert stopped.checkpoints[-1].samples_seen == 224
    train(stopped)
    assert stopped.status.attempts == 2
    assert losses(stopped) == losses(whole)
    expected = weights(whole)
    assert all(torch.equal(value, expected[key]) for key, value in weights(stopped).items())


def test_a_killed_run_repeats_what_its_last_checkpoint_did_not_hold(make_run: MakeRun) -> None:
    whole, killed = make_run(name="whole"), make_run(name="killed")
    train(whole)
    train(killed)
    # As kill -9 at 500 samples would leave it: no final checkpoint, a half-written one, later metrics, no status.
    killed.remove_checkpoint(killed.checkpoints[-1])
    half = killed.path / "checkpoints" / ".512.unfinished"
    half.mkdir()
    (half / "__0_0.distcp").write_bytes(b"half")
    killed.status_file.write_text('{"state": "run')
    assert killed.checkpoints[-1].samples_seen == 384
    train(killed)
    assert losses(killed) == losses(whole)
    assert not half.exists()


def test_the_first_step_uses_the_first_positions_and_a_rate_of_zero(make_run: MakeRun) -> None:
    run = make_run()
    train(run)
    assert run.metrics[0]["lr"] == 0
    assert run.metrics[0]["samples_seen"] == 32


def test_a_loss_that_is_not_finite_ends_the_run_with_a_reason(make_run: MakeRun) -> None:
    run = make_run(optimizer={"lr": 1e30, "clip_grad_norm": None}, schedule={"kind": "const"})
    with pytest.raises(LossIsNotFiniteError, match=r"optimizer\.lr"):
        train(run)
    assert run.status.state == "failed"
    assert "LossIsNotFiniteError" in (run.status.last_error or "")
    log = run.logs / "attempt-1-rank-0.log"
    assert "Traceback" in log.read_text()


def test_a_missing_shard_is_named_before_training(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(data={"train": [str(tmp_path / "nowhere" / "{00000..00003}.tar")], "workers": 0})
    with pytest.raises(InputError, match=r"00000\.tar"):
        train(run)
    assert run.status.state == "failed"


def test_another_tokenizer_under_the_same_name_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    file = tmp_path / "words.json"
    file.write_text(toy_tokenizer_json())
    architecture = load_model_config("mammut_toy-XS").model_dump(mode="json")
    architecture["text_cfg"]["hf_tokenizer_name"] = str(file)
    run = make_run(model={"name": "mine", "architecture": architecture})
    train(run)
    file.write_text(toy_tokenizer_json() + " ")
    run.status_file.unlink()
    with pytest.raises(InputError, match=r"words\.json is not the one this run began with"):
        train(run)


def test_shards_with_other_numbers_of_samples_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    write_toy_train(shards, 128, samples_per_shard=64)
    run = make_run(data={"train": [str(shards)], "workers": 0})
    train(run)
    run.status_file.unlink()
    (shards / "toy.json").unlink()
    (shards / "00001.tar").unlink()
    with pytest.raises(InputError, match="hold other numbers of samples than when this run began"):
        train(run)


def test_bf16_trains_on_a_cpu_too(make_run: MakeRun) -> None:
    exact, rounded = make_run(name="fp32"), make_run(name="bf16", parallel={"threads": 1, "precision": "bf16"})
    train(exact)
    train(rounded)
    pairs = list(zip(losses(exact), losses(rounded), strict=True))
    assert all(abs(a[1] - b[1]) < 0.1 for a, b in pairs)
    assert any(a[1] != b[1] for a, b in pairs)


@pytest.mark.parametrize(
    "weights_of_losses", [{"contrastive": 0.0, "caption": 1.0}, {"contrastive": 1.0, "caption": 0}]
)
def test_a_loss_of_weight_zero_is_left_out(make_run: MakeRun, weights_of_losses: dict[str, float]) -> None:
    run = make_run(loss=weights_of_losses)
    train(run)
    row = run.metrics[-1]
    assert (row["contrastive_loss"] is None) == (weights_of_losses["contrastive"] == 0)
    assert (row["caption_loss"] is None) == (weights_of_losses["caption"] == 0)
