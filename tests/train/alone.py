"""A run trained in the process of the test, and what it left."""

import torch

from mammut_clip.distributed import Process
from mammut_clip.models import build_model
from mammut_clip.models.sharded import read_sharded
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.trainer import Trainer

ONE = Process(0, 1, 0, torch.device("cpu"))


def train(run: RunDir) -> None:
    Trainer(run, ONE).train()


def losses(run: RunDir) -> list[tuple[int, float]]:
    return [(row["samples_seen"], row["loss"]) for row in run.metrics]


def weights(run: RunDir) -> dict[str, torch.Tensor]:
    model = build_model(run.config.model.architecture)
    read_sharded(model, run.checkpoints[-1].path)
    return model.state_dict()
