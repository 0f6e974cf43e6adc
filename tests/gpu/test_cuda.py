"""What must hold on a CUDA device: the same model, losses near the CPU's, and a run that moves between the two."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.distributed import Process
from mammut_clip.models import build_model
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

CPU = Process(0, 1, 0, torch.device("cpu"))
Train = Callable[..., list[float]]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "train"
    write_toy_train(folder, 1024, samples_per_shard=256)
    return folder


@pytest.fixture
def train(tmp_path: Path, shards: Path) -> Train:
    """Losses of 16 steps on a device, in a run of its own."""

    def run(device: str, **changes: Any) -> list[float]:
        values = {
            "name": f"on-{device}",
            "model": "mammut_toy-S",
            "samples_seen": 1024,
            "global_batch_size": 64,
            "data": {"train": [str(shards)], "workers": 2},
            "optimizer": {"lr": 1e-3},
            "schedule": {"warmup": 256},
            "logging": {"every": 64},
            "checkpoint": {"every": 512},
        }
        directory = RunDir.create(tmp_path, validate(RunConfig, values | changes, "test"))
        Trainer(directory, Process(0, 1, 0, torch.device(device))).train()
        return [row["loss"] for row in directory.metrics]

    return run


@pytest.mark.parametrize("name", ["toy-S", "mammut_toy-S"])
def test_features_equal_the_cpus(name: str) -> None:
    config = load_model_config(name)
    model = build_model(config, seed=1).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 32, 32, generator=generator)
    ids = torch.randint(2, 90, (8, 20), generator=generator)
    with torch.no_grad():
        here = model(images, ids)
        there = model.cuda()(images.cuda(), ids.cuda())
    torch.testing.assert_close(there.image_features.cpu(), here.image_features, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(there.text_features.cpu(), here.text_features, atol=1e-4, rtol=1e-4)


def test_losses_follow_the_cpus(train: Train) -> None:
    assert train("cuda") == pytest.approx(train("cpu"), abs=2e-3)


def test_bf16_stays_near_fp32(train: Train) -> None:
    exact = train("cuda")
    rounded = train("cuda", name="bf16", parallel={"precision": "bf16"})
    assert rounded == pytest.approx(exact, abs=0.1)


def test_a_run_moves_from_gpu_to_cpu(train: Train, tmp_path: Path) -> None:
    whole = train("cuda")
    run = RunDir.at(tmp_path / "single" / "on-cuda")
    run.remove_checkpoint(run.checkpoints[-1])
    run.status_file.unlink()
    Trainer(run, CPU).train()
    assert [row["loss"] for row in run.metrics] == pytest.approx(whole, abs=2e-3)
