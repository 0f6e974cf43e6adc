"""Segmentation metrics against scikit-learn's, and as sums over pictures."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, jaccard_score, recall_score
from torch import Tensor

from mammut_clip.data.evalsets import IGNORED
from mammut_clip.evals.metrics.segmentation import confusion_matrix, segmentation_metrics


def random_masks(seed: int, classes: int) -> tuple[Tensor, Tensor]:
    """Truth with ignored pixels, and predictions; some classes occur in one of them alone, or nowhere."""
    generator = np.random.default_rng(seed)
    some = generator.choice(classes, size=max(1, classes // 2), replace=False)
    others = generator.choice(classes, size=max(1, classes // 2), replace=False)
    truth, predicted = generator.choice(some, (12, 15)), generator.choice(others, (12, 15))
    predicted = np.where(generator.random((12, 15)) < 0.5, truth, predicted)
    truth = np.where(generator.random((12, 15)) < 0.2, IGNORED, truth)
    truth[0, 0] = some[0]  # at least one pixel counts
    return torch.from_numpy(truth), torch.from_numpy(predicted)


@given(st.integers(0, 10**6), st.integers(1, 20))
def test_metrics_are_those_of_scikit_learn(seed: int, classes: int) -> None:
    truth, predicted = random_masks(seed, classes)
    ours = segmentation_metrics(confusion_matrix(truth, predicted, classes))
    counted = (truth != IGNORED).numpy()
    true, given_ = truth.numpy()[counted], predicted.numpy()[counted]
    either, in_truth = np.union1d(true, given_), np.unique(true)
    assert ours == pytest.approx(
        {
            "mIoU": jaccard_score(true, given_, labels=either, average=None, zero_division=0).mean(),
            "mAcc": recall_score(true, given_, labels=in_truth, average=None, zero_division=0).mean(),
            "aAcc": accuracy_score(true, given_),
        }
    )


@given(st.integers(0, 10**6))
def test_confusion_matrices_add_up(seed: int) -> None:
    truth, predicted = random_masks(seed, 7)
    whole = confusion_matrix(truth, predicted, 7)
    parts = [confusion_matrix(truth[rows], predicted[rows], 7) for rows in (slice(0, 5), slice(5, 12))]
    assert torch.equal(whole, parts[0] + parts[1])
    assert whole.sum() == (truth != IGNORED).sum()
    assert whole.dtype == torch.int64
