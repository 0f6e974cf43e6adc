"""Zero-shot segmentation: each patch is compared with the class names (Zhou et al. 2022, MaskCLIP)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from mammut_clip.config.evals import PromptedTaskConfig
from mammut_clip.data.evalsets import EvalSet
from mammut_clip.distributed.collectives import from_main
from mammut_clip.evals.metrics.segmentation import segmentation_metrics
from mammut_clip.evals.prompts import Prompts, class_embeddings, find_prompts
from mammut_clip.evals.segmentation.dense import Variant, patch_embedder, patch_embeddings, whole_patches
from mammut_clip.evals.segmentation.measure import measure
from mammut_clip.evals.segmentation.pictures import open_pictures
from mammut_clip.evals.segmentation.windows import Windows
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics
from mammut_clip.models.vision import VisionTower


class ZeroshotSegmentationConfig(PromptedTaskConfig):
    """Each pixel goes to the class whose mean prompt embedding is nearest to the features of its place."""

    kind: Literal["zeroshot_segmentation"]
    """Zero-shot segmentation: mIoU, mAcc, aAcc. `batch_size` are windows, or texts, per forward pass of one process.
    Every class counts as it is named, a class `background` too."""
    variant: Variant = "maskclip"
    """What stands for a patch: the last layer's token where tokens attend to themselves alone (maskclip), or the token
    as it is (plain)."""
    window: int | None = Field(None, ge=1)
    """Height and width in pixels of what the tower sees at once, rounded up to whole patches; null is the size that it
    was trained with."""
    shorter_side: int | None = Field(None, ge=1)
    """Pixels that the shorter side of pictures is resized to; null is one and a half windows."""
    stride: int | None = Field(None, ge=1)
    """Pixels from window to window; null is half a window."""


@dataclass(frozen=True)
class ZeroshotSegmentation:
    """Pictures with masks, and prompts for their classes."""

    config: ZeroshotSegmentationConfig
    dataset: EvalSet
    prompts: Prompts
    benchmark_name: str = "zeroshot_segmentation"
    metric: str = "mIoU"

    def __len__(self) -> int:
        return len(self.dataset)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        if not subject.has_features:
            return "compares features, and this model has none"
        if not isinstance(getattr(subject.model, "visual", None), VisionTower):
            return "compares single patches with texts, which this model's image tower does not embed"
        return None

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return self.prompts.to_json_dict()

    def collect(self, subject: Subject) -> Tensor:
        """As Task: a confusion matrix [C, C]."""
        tower, batch_size = subject.model.visual, self.config.batch_size
        assert isinstance(tower, VisionTower)
        windows = self.windows(subject.image_size, tower.config.patch_size)
        embedder = patch_embedder(tower, windows.size, self.config.variant)
        classes = from_main(class_embeddings(subject, self.prompts, batch_size)).to(subject.device)

        def predict(images: Tensor) -> Tensor:
            embeddings = patch_embeddings(embedder, images)
            with torch.autocast(subject.device.type, enabled=False):
                return (embeddings @ classes.T).permute(0, 3, 1, 2)

        return measure(self.dataset, len(classes), subject, windows, predict, batch_size)

    def windows(self, image_size: int, patch_size: int) -> Windows:
        """How pictures are cut for a tower of this size."""
        size = whole_patches(self.config.window or image_size, patch_size)
        return Windows(size, self.config.shorter_side or size * 3 // 2, self.config.stride or max(1, size // 2))

    def score(self, collected: Tensor, device: torch.device) -> Metrics:
        """As Task."""
        return segmentation_metrics(collected)


def _open(config: ZeroshotSegmentationConfig, folder: Path) -> ZeroshotSegmentation:
    dataset = open_pictures(config, folder)
    return ZeroshotSegmentation(config, dataset, find_prompts(config, dataset))


KIND = Kind(ZeroshotSegmentationConfig, _open)
