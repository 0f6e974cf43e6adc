"""Selection among a few pictures and captions by a captioner's likelihood (Lin et al. 2024, arXiv:2306.01879, call the
score VisualGPTScore).

text_acc compares captions beside one picture, where a likely sentence has an advantage whatever the picture shows;
image_acc compares pictures for one caption, where that cancels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mammut_clip.data.evalsets import SelectionSet
from mammut_clip.evals.likelihood import LikelihoodConfig, caption_scores, no_decoder
from mammut_clip.evals.metrics.selection import selection_metrics
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics
from mammut_clip.evals.tasks.selection import Choice, open_choices, scores_of_choices


class LikelihoodSelectionConfig(LikelihoodConfig):
    """Each picture goes to its likeliest caption, and each caption to the picture that makes it likeliest."""

    kind: Literal["likelihood_selection"]
    """Selection by caption likelihood: text_acc, image_acc, acc (both)."""


@dataclass(frozen=True)
class LikelihoodSelection:
    """Samples of a few pictures and captions each."""

    config: LikelihoodSelectionConfig
    dataset: SelectionSet
    benchmark_name: str = "likelihood_selection"
    metric: str = "acc"

    def __len__(self) -> int:
        return len(self.dataset)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        return no_decoder(subject)

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return {}

    def collect(self, subject: Subject) -> Tensor:
        """As Task: scores [n, I, C] on rank 0."""

        def scores(choices: list[Choice]) -> Tensor:
            ids = subject.tokenizer([caption for choice in choices for caption in choice.captions])
            ids = ids.unflatten(0, (len(choices), -1))  # [b, C, T]
            pixels = [picture for choice in choices for picture in choice.pixels]
            pictures = len(pixels) // len(choices)
            own = ids.repeat_interleave(pictures, dim=0)  # [b * I, C, T]
            return caption_scores(subject, pixels, own, self.config).unflatten(0, (len(choices), pictures))

        return scores_of_choices(subject, self.dataset, self.config.batch_size, scores)

    def score(self, collected: Tensor, device: torch.device) -> Metrics:
        """As Task. Ties fail: an untrained decoder finds all captions of a length equally likely."""
        return selection_metrics(collected, ties_fail=True)


def _open(config: LikelihoodSelectionConfig, folder: Path) -> LikelihoodSelection:
    return LikelihoodSelection(config, open_choices(config, folder))


KIND = Kind(LikelihoodSelectionConfig, _open)
