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
from mammut_clip.losses import chunked_caption_loss, contrastive_loss, sigmoid_loss
from mammut_clip.models import build_model
from mammut_clip.models.output import Captions, make_captions
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


FAMILIES = ["toy-S", "toy-S-SigLIP", "mammut_toy-S", "coca_toy-S", "cap_toy-S"]


def outputs(name: str, device: str) -> list[torch.Tensor]:
    """Everything that a forward pass of both tasks gives, and the gradients, on the CPU."""
    config = load_model_config(name)
    model = build_model(config, seed=1).to(device)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 32, 32, generator=generator).to(device)
    ids = torch.randint(2, 90, (8, config.text_cfg.context_length), generator=generator)
    captions = Captions(*(part.to(device) for part in make_captions(ids))) if config.writes_captions else None
    features = ids.to(device) if config.has_features else None
    output = model(images, features, captions, None if captions is None else chunked_caption_loss)
    found = [part for part in output if part is not None]
    pair = sigmoid_loss if output.logit_bias is not None else contrastive_loss
    total = sum((part.sum() for part in found[-1:]), torch.zeros((), device=device))
    if output.image_features is not None:
        bias = () if output.logit_bias is None else (output.logit_bias,)
        total = total + pair(output.image_features, output.text_features, output.logit_scale, *bias).loss
    total.backward()
    found += [parameter.grad for parameter in model.parameters()]
    return [part.detach().cpu() for part in (*found, total)]


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_losses_and_gradients_equal_the_cpus(name: str) -> None:
    for there, here in zip(outputs(name, "cuda"), outputs(name, "cpu"), strict=True):
        scale = float(here.abs().max())
        torch.testing.assert_close(there, here, atol=1e-4 * max(scale, 1e-3), rtol=1e-3)


@pytest.mark.parametrize("name", ["mammut_toy-S", "coca_toy-S", "cap_toy-S"])
def test_captions_are_written_there(name: str) -> None:
    model = build_model(load_model_config(name), seed=1).cuda().eval()
    ids = model.generate(torch.randn(4, 3, 32, 32, device="cuda"))
    assert ids.device.type == "cuda"
    assert ids.shape[0] == 4


def test_losses_follow_the_cpus(train: Train) -> None:
    assert train("cuda") == pytest.approx(train("cpu"), abs=2e-3)


def test_bf16_stays_near_fp32(train: Train) -> None:
    exact = train("cuda")
    rounded = train("cuda", name="bf16", parallel={"precision": "bf16"})
    assert rounded == pytest.approx(exact, abs=0.1)


@pytest.mark.parametrize("choice", [{"recompute": "selective"}, {"recompute": "full"}, {"compile": True}])
def test_recomputed_and_compiled_blocks_give_the_same_losses(train: Train, choice: dict[str, Any]) -> None:
    assert train("cuda", name="choice", parallel=choice) == pytest.approx(train("cuda"), abs=2e-3)


def test_a_run_moves_from_gpu_to_cpu(train: Train, tmp_path: Path) -> None:
    whole = train("cuda")
    run = RunDir.at(tmp_path / "single" / "on-cuda")
    run.remove_checkpoint(run.checkpoints[-1])
    run.status_file.unlink()
    Trainer(run, CPU).train()
    assert [row["loss"] for row in run.metrics] == pytest.approx(whole, abs=2e-3)
