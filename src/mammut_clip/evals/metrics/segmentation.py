"""Segmentation metrics, from confusion matrices, which add up over pictures and processes."""

import torch
from torch import Tensor

from mammut_clip.data.evalsets import IGNORED


def confusion_matrix(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """[C, C] int64: how many pixels of the class of the row were given the class of the column.

    `truth` and `predicted` are class numbers of any one shape; pixels whose truth is IGNORED are not counted.
    """
    counted = truth != IGNORED
    pairs = truth[counted].long() * classes + predicted[counted].long()
    return torch.bincount(pairs, minlength=classes * classes).view(classes, classes)


def segmentation_metrics(confusion: Tensor) -> dict[str, float]:
    """mIoU, mAcc and aAcc of a confusion matrix [C, C], as mmsegmentation computes them over a whole set.

    mIoU is the mean of intersection over union, over the classes that occur in the truth or among the predictions;
    mAcc the mean share of right pixels, over the classes that occur in the truth; aAcc the share over all pixels.
    """
    confusion = confusion.double()
    hits, true, predicted = confusion.diagonal(), confusion.sum(dim=1), confusion.sum(dim=0)
    return {
        "mIoU": (hits / (true + predicted - hits)).nanmean().item(),  # 0 / 0 where a class occurs nowhere
        "mAcc": (hits / true).nanmean().item(),
        "aAcc": (hits.sum() / true.sum()).item(),
    }
