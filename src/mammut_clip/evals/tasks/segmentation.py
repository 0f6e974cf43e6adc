"""Segmentation by fine-tuning: the image tower with a linear head is trained on a set's training split, and labels the
pixels of its test split.

The recipe is that of Kerssies et al. 2024, "How to Benchmark Vision Foundation Models for Semantic Segmentation?"
(docs/evaluation-segmentation.md says what speaks for it). Unlike all other tasks, this one is equal on different
numbers of processes to rounding only: their gradients are added up in another order, and thousands of steps enlarge
what that changes. Testing adds counts, and is exact.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import EvalSet
from mammut_clip.evals.metrics.segmentation import segmentation_metrics
from mammut_clip.evals.segmentation.dense import at_size, whole_patches
from mammut_clip.evals.segmentation.finetune import finetune
from mammut_clip.evals.segmentation.measure import measure
from mammut_clip.evals.segmentation.pictures import open_pictures
from mammut_clip.evals.segmentation.recipe import Recipe
from mammut_clip.evals.segmentation.segmenter import Segmenter
from mammut_clip.evals.segmentation.windows import Windows
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics
from mammut_clip.models.vision import VisionTrunk


class SegmentationConfig(TaskConfig):
    """Each pixel goes to the class that a linear head on the fine-tuned image tower gives it."""

    kind: Literal["segmentation"]
    """Segmentation after fine-tuning: mIoU, mAcc, aAcc. `batch_size` are crops per forward pass of one process."""
    train_split: str = "train"
    """The split that is trained on; `split` is tested."""
    recipe: Recipe = Recipe()
    """How it is trained."""
    stride: int | None = Field(None, ge=1)
    """Pixels from window to window in testing, where pictures are resized to a shorter side of `recipe.crop_size`; null
    takes as few windows as cover a picture, at even distances."""


@dataclass(frozen=True)
class Segmentation:
    """Pictures with masks, to train on and to test on."""

    config: SegmentationConfig
    training: EvalSet
    dataset: EvalSet
    classnames: tuple[str, ...]
    benchmark_name: str = "segmentation"
    metric: str = "mIoU"

    def __len__(self) -> int:
        return len(self.dataset)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        if isinstance(getattr(subject.model, "visual", None), VisionTrunk):
            return None
        return "fine-tunes a vision transformer of this package, and this model has another image tower"

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return {"classnames": list(self.classnames), "training_pictures": len(self.training)}

    def collect(self, subject: Subject) -> Tensor:
        """As Task: a confusion matrix [C, C]. A copy of the tower is trained; the model stays as it is."""
        recipe, batch_size = self.config.recipe, self.config.batch_size
        tower = subject.model.visual
        assert isinstance(tower, VisionTrunk)
        size = whole_patches(recipe.crop_size, recipe.patch_size or tower.config.patch_size)
        resized = at_size(tower, size, recipe.patch_size)
        classes = len(self.classnames)
        segmenter = Segmenter(resized, classes, recipe.seed, freeze_encoder=recipe.freeze_encoder)
        finetune(segmenter, self.training, recipe, subject, batch_size)
        windows = Windows(size, size, self.config.stride)
        return measure(self.dataset, classes, subject, windows, segmenter, batch_size)

    def score(self, collected: Tensor, device: torch.device) -> Metrics:
        """As Task."""
        return segmentation_metrics(collected)


def _open(config: SegmentationConfig, folder: Path) -> Segmentation:
    dataset = open_pictures(config, folder)
    training = open_pictures(config.model_copy(update={"split": config.train_split}), folder)
    # The names are read now: a missing list must not come to light after hours of training.
    return Segmentation(config, training, dataset, tuple(dataset.classnames))


KIND = Kind(SegmentationConfig, _open)
