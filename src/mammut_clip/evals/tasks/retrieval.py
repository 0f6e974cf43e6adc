"""Zero-shot retrieval: finding a picture by its caption and a caption by its picture, as CLIP_benchmark counts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import EvalSet, Target, open_eval_set
from mammut_clip.distributed.collectives import from_main
from mammut_clip.evals.metrics.retrieval import retrieval_metrics
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics

_CAPTIONS_AT_ONCE = 1024


class RetrievalConfig(TaskConfig):
    """Pictures with one caption or several each."""

    kind: Literal["retrieval"]
    """Zero-shot retrieval: recall at 1, 5 and 10 both ways, and mean_recall@1 of both."""
    recall_at: tuple[PositiveInt, ...] = (1, 5, 10)
    """The k of recall@k."""


@dataclass(frozen=True)
class Pairs:
    """Features of pictures and their captions; on ranks other than 0 without rows."""

    images: Tensor
    """[I, E], unit length."""
    texts: Tensor
    """[J, E], unit length."""
    owners: Tensor
    """[J] int64: the picture that each caption belongs to."""


@dataclass(frozen=True)
class Retrieval:
    """Pictures with their captions."""

    config: RetrievalConfig
    dataset: EvalSet
    benchmark_name: str = "zeroshot_retrieval"

    @property
    def metric(self) -> str:
        """As Task: image_retrieval_recall@5, or the first of `recall_at` where 5 is not among them."""
        ks = self.config.recall_at
        return f"image_retrieval_recall@{5 if 5 in ks else ks[0]}"

    def __len__(self) -> int:
        return len(self.dataset)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        return subject.lacks_features()

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return {}

    def collect(self, subject: Subject) -> Pairs:
        """As Task."""
        captions = self._captions(subject)
        texts = [caption for own in captions for caption in own]
        owners = torch.arange(len(captions)).repeat_interleave(torch.tensor([len(own) for own in captions]))

        def load(number: int) -> Tensor:
            return subject.pixels(self.dataset[number].image, self.dataset.where(number))

        def compute(batch: list[Tensor]) -> dict[str, Tensor]:
            return {"images": subject.encode_images(batch)}

        images = subject.shared.rows(len(self.dataset), self.config.batch_size, load, compute)["images"]
        return Pairs(images, subject.text_features(texts, self.config.batch_size), owners)

    def _captions(self, subject: Subject) -> list[list[str]]:
        """Of all pictures, on every rank: each file is read by one of them."""

        def compute(batch: list[Target]) -> list[list[str]]:
            return [own for own in batch if isinstance(own, list)]

        captions = subject.shared.objects(len(self.dataset), _CAPTIONS_AT_ONCE, self.dataset.target, compute)
        return from_main(captions)

    def score(self, collected: Pairs, device: torch.device) -> Metrics:
        """As Task."""
        return retrieval_metrics(collected.images, collected.texts, collected.owners, device, self.config.recall_at)


def _open(config: RetrievalConfig, folder: Path) -> Retrieval:
    dataset = open_eval_set(config, folder)
    if dataset.type != "retrieval":
        raise InputError(f"{folder}: a {dataset.type} dataset, and task {config.name} asks for retrieval")
    return Retrieval(config, dataset)


KIND = Kind(RetrievalConfig, _open)
