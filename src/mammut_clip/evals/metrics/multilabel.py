"""Multi-label classification: mean average precision, as CLIP_benchmark has it from torchnet."""

import torch
from torch import Tensor

from mammut_clip.evals.metrics.classification import BLOCK


def average_precisions(scores: Tensor, truth: Tensor) -> Tensor:
    """[C] float64, for scores [n, C] and truth [n, C] bool.

    The mean, over a class's pictures, of the precision among all that score as high or higher; no interpolation, and
    pictures with equal scores count one after the other in their order (scikit-learn counts them as one). A class
    without pictures has 0 and counts in the mean.
    """
    order = scores.sort(dim=0, descending=True, stable=True).indices
    sorted_truth = truth.gather(0, order).double()
    ranks = torch.arange(1, len(scores) + 1, dtype=torch.float64, device=scores.device)
    precisions = sorted_truth.cumsum(dim=0) / ranks[:, None]
    return (precisions * sorted_truth).sum(dim=0) / sorted_truth.sum(dim=0).clamp(min=1)


def multilabel_metrics(
    images: Tensor, classes: Tensor, truth: Tensor, device: torch.device, block: int = BLOCK
) -> dict[str, float]:
    """mean_average_precision for features [n, E] and [C, E] of unit length and truth [n, C] bool; `block` scores are
    held at once, or those of one class."""
    images = images.to(device)
    width = max(1, block // len(images))
    columns = zip(classes.split(width), truth.split(width, dim=1), strict=True)
    found = [average_precisions(100.0 * images @ some.to(device).T, true.to(device)).cpu() for some, true in columns]
    return {"mean_average_precision": torch.cat(found).mean().item()}
