"""Classification metrics, from features or logits and labels. Definitions are CLIP_benchmark's."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 1 << 24
"""Logits held at once by what works in blocks (64 MiB of float32)."""
_TOP = 5


@dataclass(frozen=True)
class Predictions:
    """The classes that were chosen for n pictures."""

    best: Tensor
    """[n] int64: the class with the highest logit, the first of several that are equal."""
    ranked: Tensor
    """[n, 5] int64: the five highest, in order; [n, 1] where there are fewer than five classes. Among equal logits
    topk chooses, so that its first is not always `best`."""
    classes: int
    """How many there were to choose from."""


def predictions(logits: Tensor) -> Predictions:
    """The choice by logits [n, C], with the calls of CLIP_benchmark: which of equal logits comes first is then the
    same as there."""
    classes = logits.shape[1]
    ranked = logits.topk(_TOP if classes >= _TOP else 1, dim=1).indices
    return Predictions(logits.argmax(dim=1), ranked, classes)


def nearest_classes(images: Tensor, classes: Tensor, device: torch.device, block: int = BLOCK) -> Predictions:
    """The choice by 100 x cosine, for features [n, E] and [C, E] of unit length, `block` logits at a time."""
    parts = [predictions(logits) for logits in logits_of_rows(images, classes, device, block)]
    best, ranked = (torch.cat([getattr(part, name).cpu() for part in parts]) for name in ("best", "ranked"))
    return Predictions(best, ranked, len(classes))


def logits_of_rows(images: Tensor, classes: Tensor, device: torch.device, block: int = BLOCK) -> Iterator[Tensor]:
    """Logits [b, C] of successive rows of `images`, on the device; b is at least 1."""
    columns = classes.to(device).T
    for rows in images.split(max(1, block // len(classes))):
        yield 100.0 * rows.to(device) @ columns


def prediction_metrics(chosen: Predictions, labels: Tensor) -> dict[str, float]:
    """acc1, acc5 and mean_per_class_recall for labels [n], n >= 1.

    With fewer than five classes there is no acc5, where CLIP_benchmark has NaN. Classes without a picture do not count
    in mean_per_class_recall, which is scikit-learn's balanced_accuracy_score.
    """
    labels = labels.cpu()
    hits = chosen.ranked.cpu() == labels[:, None]
    metrics = {"acc1": hits[:, 0].double().mean().item()}
    if chosen.classes >= _TOP:
        metrics["acc5"] = hits.any(dim=1).double().mean().item()
    found = labels[chosen.best.cpu() == labels].bincount(minlength=chosen.classes)
    there = labels.bincount(minlength=chosen.classes)
    return metrics | {"mean_per_class_recall": (found / there.double())[there > 0].mean().item()}


def classification_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """As `prediction_metrics`, from logits [n, C]."""
    return prediction_metrics(predictions(logits), labels)
