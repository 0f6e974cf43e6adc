"""The tasks. Each has two methods: `collect` runs the model (on all ranks), `score` turns features into metrics."""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalset import EvalSet
from mammut_clip.evals.encode import Encoder
from mammut_clip.evals.metrics import classification_metrics, retrieval_metrics

Features = dict[str, Tensor]


class Task(Protocol):
    """What every task offers."""

    benchmark_name: str
    """CLIP_benchmark's name for this kind of task."""

    def collect(self, encoder: Encoder) -> Features:
        """Run the model; collective over ranks."""
        ...

    def score(self, features: Features) -> dict[str, float]:
        """Metrics from what was collected, without the model."""
        ...


@dataclass
class ZeroShotClassification:
    """Each picture goes to the class whose mean prompt embedding is nearest (Radford et al. 2021, section 3.1)."""

    dataset: EvalSet
    classnames: list[str]
    templates: list[str]
    benchmark_name: str = "zeroshot_classification"

    def collect(self, encoder: Encoder) -> Features:
        pictures, labels = [], []
        for sample in self.dataset:
            pictures.append(sample.image)
            labels.append(sample.target)
        return {
            "images": encoder.images(pictures),
            "classes": self._classes(encoder),
            "labels": torch.tensor(labels),
        }

    def _classes(self, encoder: Encoder) -> Tensor:
        """[C, E]: each prompt normalised, averaged over templates, normalised again."""
        prompts = [template.replace("{c}", name) for name in self.classnames for template in self.templates]
        features = encoder.texts(prompts).view(len(self.classnames), len(self.templates), -1)
        return F.normalize(features.mean(dim=1), dim=-1)

    def score(self, features: Features) -> dict[str, float]:
        return classification_metrics(100.0 * features["images"] @ features["classes"].T, features["labels"])


@dataclass
class ZeroShotRetrieval:
    """Finding a picture by its caption and a caption by its picture."""

    dataset: EvalSet
    benchmark_name: str = "zeroshot_retrieval"

    def collect(self, encoder: Encoder) -> Features:
        pictures, texts, owners = [], [], []
        for index, sample in enumerate(self.dataset):
            assert isinstance(sample.target, list)  # EvalSet.open checked the kind
            pictures.append(sample.image)
            texts += sample.target
            owners += [index] * len(sample.target)
        return {
            "images": encoder.images(pictures),
            "texts": encoder.texts(texts),
            "owners": torch.tensor(owners),
        }

    def score(self, features: Features) -> dict[str, float]:
        return retrieval_metrics(features["images"], features["texts"], features["owners"])


def open_task(config: TaskConfig, dataset: EvalSet) -> Task:
    """The task of a suite's entry. Raises InputError where the dataset is of another kind."""
    if dataset.type != config.kind:
        raise InputError(f"{dataset.folder}: a {dataset.type} dataset, and task {config.name} asks for {config.kind}")
    if config.kind == "retrieval":
        return ZeroShotRetrieval(dataset)
    # Read now: a missing list of classes or prompts must not come to light after hours of training.
    return ZeroShotClassification(dataset, dataset.classnames, dataset.templates)
