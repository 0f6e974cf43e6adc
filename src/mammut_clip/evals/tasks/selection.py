"""Selection among a few pictures and captions by similarity, as CLIP_benchmark counts: SugarCrepe (Hsieh et al. 2023)
and Winoground (Thrush et al. 2022)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import SelectionSet, open_selection_set
from mammut_clip.evals.metrics.selection import selection_metrics
from mammut_clip.evals.sharing import Rows
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics


class SelectionConfig(TaskConfig):
    """Each picture goes to the caption whose feature is nearest, and each caption to the nearest picture."""

    kind: Literal["selection"]
    """Selection by similarity: text_acc, image_acc, acc (both)."""


class Choice(NamedTuple):
    """One sample: pictures and captions to be told apart."""

    pixels: list[Tensor]
    """I pictures, each [3, S, S]."""
    captions: tuple[str, ...]
    """C of them."""


@dataclass(frozen=True)
class Selection:
    """Samples of a few pictures and captions each."""

    config: SelectionConfig
    dataset: SelectionSet
    benchmark_name: str = "image_caption_selection"
    metric: str = "acc"

    def __len__(self) -> int:
        return len(self.dataset)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        return subject.lacks_features()

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return {}

    def collect(self, subject: Subject) -> Tensor:
        """As Task: similarities [n, I, C] on rank 0."""

        def similarities(choices: list[Choice]) -> Tensor:
            images = subject.encode_images([pixels for choice in choices for pixels in choice.pixels])
            texts = subject.encode_texts([caption for choice in choices for caption in choice.captions])
            return images.unflatten(0, (len(choices), -1)) @ texts.unflatten(0, (len(choices), -1)).mT

        return scores_of_choices(subject, self.dataset, self.config.batch_size, similarities)

    def score(self, collected: Tensor, device: torch.device) -> Metrics:
        """As Task."""
        return selection_metrics(collected)


def scores_of_choices(
    subject: Subject, dataset: SelectionSet, batch_size: int, compute: Callable[[list[Choice]], Tensor]
) -> Tensor:
    """What `compute` makes of samples, [b, I, C], for all of them: [n, I, C] on rank 0, no rows on others. Collective;
    no more than `batch_size` pictures or captions at a time, but one sample."""

    def load(number: int) -> Choice:
        sample, where = dataset[number], dataset.where(number)
        return Choice([subject.pixels(image, where) for image in sample.images], sample.captions)

    def compute_rows(choices: list[Choice]) -> Rows:
        return {"scores": compute(choices)}

    first = dataset[0]
    samples = max(1, batch_size // max(len(first.images), len(first.captions)))
    return subject.shared.rows(len(dataset), samples, load, compute_rows)["scores"]


def open_choices(config: TaskConfig, folder: Path) -> SelectionSet:
    """The dataset of a task of selection. Raises InputError where it is not there, or empty."""
    dataset = open_selection_set(config, folder)
    if not len(dataset):
        raise InputError(f"{folder}: split {config.split} has no samples; expected one or more")
    return dataset


def _open(config: SelectionConfig, folder: Path) -> Selection:
    return Selection(config, open_choices(config, folder))


KIND = Kind(SelectionConfig, _open)
