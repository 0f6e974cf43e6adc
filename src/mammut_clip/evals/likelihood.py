"""Scores of candidate captions by a captioner's likelihood, as the tasks of that kind use them."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from mammut_clip.config.evals import TaskConfig
from mammut_clip.evals.subject import Subject
from mammut_clip.models.generate import Captioner
from mammut_clip.models.likelihood import caption_log_likelihoods, label_counts


class LikelihoodConfig(TaskConfig):
    """How a likelihood becomes a score."""

    normalize: Literal["none", "tokens"] = "none"
    """none takes log p(caption | picture) as it is, tokens divides it by the number of tokens that are predicted."""


def no_decoder(subject: Subject) -> str | None:
    """Why a model cannot score captions; None where it can."""
    return None if subject.writes_captions else "scores captions by a decoder, and this model has none"


def caption_scores(subject: Subject, pixels: Sequence[Tensor], ids: Tensor, config: LikelihoodConfig) -> Tensor:
    """Pixels of B pictures, and ids on the CPU: [K, T] for all of them or [B, K, T] for each -> [B, K] float32 on the
    CPU, higher for likelier captions."""
    assert isinstance(subject.model, Captioner)
    with subject.computing():
        scores = caption_log_likelihoods(subject.model, subject.batch(pixels), ids).float().cpu()
    return scores / label_counts(ids).clamp(min=1) if config.normalize == "tokens" else scores
