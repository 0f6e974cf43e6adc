"""Zero-shot classification by a captioner: a picture goes to the class whose prompts are likeliest to be its captions.

The one zero-shot classification that a Cap model can do; MaMMUT and CoCa do it beside the one by features (figure 11 of
Nezhurina et al. 2025, arXiv:2506.04598, compares Cap and MaMMUT so).

Each picture is scored against each prompt of each class, by a pass of the decoder over the prompt: with C classes, P
templates and N pictures that is N x C x P texts of 8 to 16 tokens, where classification by features encodes N pictures
and C x P texts. The 80 templates of ImageNet over its 1,000 classes and 50,000 pictures would be 4 billion texts.
Therefore `max_templates` is 1 unless the task says more.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from mammut_clip.config.evals import PromptedTaskConfig
from mammut_clip.data.evalsets import EvalSet
from mammut_clip.evals.likelihood import LikelihoodConfig, caption_scores, no_decoder
from mammut_clip.evals.metrics.classification import classification_metrics
from mammut_clip.evals.prompts import Prompts
from mammut_clip.evals.sharing import Rows
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics
from mammut_clip.evals.tasks.classification import open_described


class LikelihoodClassificationConfig(LikelihoodConfig, PromptedTaskConfig):
    """Each picture goes to the class whose prompts have the highest mean log-likelihood."""

    kind: Literal["likelihood_classification"]
    """Zero-shot classification by caption likelihood: acc1, acc5, mean_per_class_recall."""
    max_templates: int | None = Field(1, ge=1)
    """How many templates are used, the first ones; null takes all. The work grows with them."""


@dataclass(frozen=True)
class Scored:
    """Scores of classes for pictures; on ranks other than 0 without rows."""

    logits: Tensor
    """[n, C], the mean score of each class's prompts."""
    labels: Tensor
    """[n] int64."""


@dataclass(frozen=True)
class LikelihoodClassification:
    """A set of pictures with one label each, and prompts for the labels."""

    config: LikelihoodClassificationConfig
    dataset: EvalSet
    prompts: Prompts
    benchmark_name: str = "likelihood_classification"
    metric: str = "acc1"

    def __len__(self) -> int:
        return len(self.dataset)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        return no_decoder(subject)

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return self.prompts.to_json_dict()

    def collect(self, subject: Subject) -> Scored:
        """As Task."""
        ids, classes = subject.tokenizer(self.prompts.texts()), len(self.prompts.classnames)

        def load(number: int) -> tuple[Tensor, int]:
            sample = self.dataset[number]
            assert isinstance(sample.target, int)
            return subject.pixels(sample.image, self.dataset.where(number)), sample.target

        def compute(batch: list[tuple[Tensor, int]]) -> Rows:
            scores = caption_scores(subject, [pixels for pixels, _ in batch], ids, self.config)
            means = scores.view(len(batch), classes, -1).mean(dim=2)
            return {"logits": means, "labels": torch.tensor([label for _, label in batch])}

        rows = subject.shared.rows(len(self.dataset), self.config.batch_size, load, compute)
        return Scored(rows["logits"], rows["labels"])

    def score(self, collected: Scored, device: torch.device) -> Metrics:
        """As Task."""
        return classification_metrics(collected.logits, collected.labels)


def _open(config: LikelihoodClassificationConfig, folder: Path) -> LikelihoodClassification:
    dataset, prompts = open_described(config, folder, "classification")
    return LikelihoodClassification(
        config, dataset, replace(prompts, templates=prompts.templates[: config.max_templates])
    )


KIND = Kind(LikelihoodClassificationConfig, _open)
