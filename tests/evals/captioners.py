"""Captioners under evaluation that tell texts apart without having been trained."""

import torch
from subjects import random_subject
from torch import nn

from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Subject
from mammut_clip.models.generate import Captioner


def random_captioner(model: str, seed: int = 0, shared: Shared | None = None) -> Subject:
    """As `random_subject`, with a vocabulary head that is not zero."""
    subject = random_subject(model, seed, shared)
    assert isinstance(subject.model, Captioner)
    head = subject.model.caption_decoder().text_projection
    nn.init.normal_(head, std=0.3, generator=torch.Generator().manual_seed(seed))
    return subject
