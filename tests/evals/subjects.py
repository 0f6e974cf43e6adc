"""Small models under evaluation, for tests of tasks."""

import torch

from mammut_clip.config.model import load_model_config
from mammut_clip.distributed import Process
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Subject, make_subject
from mammut_clip.models import build_model

ONE = Process(rank=0, world_size=1, local_rank=0, device=torch.device("cpu"))


def random_subject(model: str = "toy-XS", seed: int = 0, shared: Shared | None = None) -> Subject:
    """A model of configs/models with random weights, alone in its process."""
    config = load_model_config(model)
    return make_subject(build_model(config, seed).eval(), config, shared or Shared(ONE))
