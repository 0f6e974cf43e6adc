import itertools
from collections.abc import Callable

import pytest
import torch

from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.trainer import Trainer

MakeRun = Callable[..., RunDir]
ONE = Process(0, 1, 0, torch.device("cpu"))


def test_rows_count_compute_and_time(make_run: MakeRun) -> None:
    run = make_run()
    Trainer(run, ONE).train()
    manifest = run.manifest
    assert manifest is not None
    rows = run.metrics
    assert [row["step"] for row in rows] == list(range(1, 17))
    assert all(later["train_seconds"] > earlier["train_seconds"] for earlier, later in itertools.pairwise(rows))
    for row in rows:
        expected = row["samples_per_second"] * manifest.gflops_per_sample_exact / 1e3
        assert row["tflops_per_second"] == pytest.approx(expected, abs=1e-5)
        assert row["loss"] == pytest.approx(row["contrastive_loss"] + 2 * row["caption_loss"], rel=1e-5)
    assert run.status.train_seconds == pytest.approx(rows[-1]["train_seconds"], abs=1e-3)


def test_wandb_gets_the_rows_too(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = make_run(logging={"every": 256, "wandb_project": "test"})
    Trainer(run, ONE).train()
    stored = list(run.path.glob("wandb/offline-run-*/*.wandb"))
    assert len(stored) == 1
    assert stored[0].stat().st_size > 1000
