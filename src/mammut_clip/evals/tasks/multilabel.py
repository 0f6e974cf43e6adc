"""Zero-shot multi-label classification, such as VOC2007's, as CLIP_benchmark computes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from mammut_clip.config.evals import PromptedTaskConfig
from mammut_clip.data.evalsets import EvalSample
from mammut_clip.evals.metrics.multilabel import multilabel_metrics
from mammut_clip.evals.sharing import Rows
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics
from mammut_clip.evals.tasks.classification import Described, PromptedTask, describe, open_described


class MultilabelConfig(PromptedTaskConfig):
    """Pictures that show several classes each, or none, are ranked for each class by its mean prompt embedding."""

    kind: Literal["multilabel"]
    """Zero-shot multi-label classification: mean_average_precision."""


@dataclass(frozen=True)
class Multilabel(PromptedTask[MultilabelConfig]):
    """A set of pictures with any number of labels each."""

    benchmark_name: str = "zeroshot_classification"
    metric: str = "mean_average_precision"

    def collect(self, subject: Subject) -> Described:
        """As Task."""
        return describe(subject, self.dataset, self.prompts, self.config.batch_size, _labels)

    def score(self, collected: Described, device: torch.device) -> Metrics:
        """As Task."""
        return multilabel_metrics(collected.images, collected.classes, collected.truth["labels"], device)


def _labels(sample: EvalSample) -> Rows:
    return {"labels": torch.as_tensor(sample.target)}


def _open(config: MultilabelConfig, folder: Path) -> Multilabel:
    return Multilabel(config, *open_described(config, folder, "multilabel"))


KIND = Kind(MultilabelConfig, _open)
