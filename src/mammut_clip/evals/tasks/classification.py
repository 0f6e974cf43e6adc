"""Zero-shot classification (Radford et al. 2021, section 3.1), as CLIP_benchmark computes it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import PromptedTaskConfig
from mammut_clip.data.evalsets import EvalSample, EvalSet, EvalType, GroupField, open_eval_set
from mammut_clip.evals.metrics.classification import nearest_classes, prediction_metrics
from mammut_clip.evals.prompts import Prompts, class_embeddings, find_prompts
from mammut_clip.evals.sharing import Rows
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics


class ClassificationConfig(PromptedTaskConfig):
    """Each picture goes to the class whose mean prompt embedding is nearest."""

    kind: Literal["classification"]
    """Zero-shot classification: acc1, acc5 (with five classes or more), mean_per_class_recall."""


@dataclass(frozen=True)
class Described:
    """Features of pictures and classes, and what is true of the pictures; on ranks other than 0 without rows."""

    images: Tensor
    """[n, E], unit length."""
    classes: Tensor
    """[C, E], unit length."""
    truth: Rows
    """Labels and the like, each [n, ...]."""


C = TypeVar("C", bound=PromptedTaskConfig)


@dataclass(frozen=True)
class PromptedTask(Generic[C]):
    """What tasks on labelled pictures share: a set of them, and prompts for the labels."""

    config: C
    dataset: EvalSet
    prompts: Prompts

    def __len__(self) -> int:
        return len(self.dataset)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        return subject.lacks_features()

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return self.prompts.to_json_dict()


@dataclass(frozen=True)
class Classification(PromptedTask[ClassificationConfig]):
    """A set of pictures with one label each."""

    benchmark_name: str = "zeroshot_classification"
    metric: str = "acc1"

    def collect(self, subject: Subject) -> Described:
        """As Task."""
        return describe(subject, self.dataset, self.prompts, self.config.batch_size, _label)

    def score(self, collected: Described, device: torch.device) -> Metrics:
        """As Task."""
        chosen = nearest_classes(collected.images, collected.classes, device)
        return prediction_metrics(chosen, collected.truth["labels"])


def describe(
    subject: Subject, dataset: EvalSet, prompts: Prompts, batch_size: int, truth: Callable[[EvalSample], Rows]
) -> Described:
    """Features of all pictures and classes, with the tensors that `truth` makes of each sample. Collective."""

    def load(number: int) -> tuple[Tensor, Rows]:
        sample = dataset[number]
        return subject.pixels(sample.image, dataset.where(number)), truth(sample)

    def compute(batch: list[tuple[Tensor, Rows]]) -> Rows:
        stacked = {key: torch.stack([true[key] for _, true in batch]) for key in batch[0][1]}
        return {"images": subject.encode_images([pixels for pixels, _ in batch])} | stacked

    classes = class_embeddings(subject, prompts, batch_size)
    rows = subject.shared.rows(len(dataset), batch_size, load, compute)
    return Described(rows.pop("images"), classes, rows)


def open_described(
    config: PromptedTaskConfig, folder: Path, type_: EvalType, group_field: GroupField | None = None
) -> tuple[EvalSet, Prompts]:
    """A dataset of pictures with class names and prompts. Raises InputError where it is not of that type, and as
    open_eval_set and find_prompts."""
    dataset = open_eval_set(config, folder, group_field)
    if dataset.type != type_:
        raise InputError(f"{folder}: a {dataset.type} dataset, and task {config.name} asks for {type_}")
    # Read now: a missing list of classes or prompts must not come to light after hours of training.
    return dataset, find_prompts(config, dataset)


def _label(sample: EvalSample) -> Rows:
    return {"labels": torch.tensor(sample.target)}


def _open(config: ClassificationConfig, folder: Path) -> Classification:
    return Classification(config, *open_described(config, folder, "classification"))


KIND = Kind(ClassificationConfig, _open)
