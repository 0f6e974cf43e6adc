"""CLIP_benchmark's own functions on the same logits, and what blocks and rare classes may not change."""

import pytest
import torch
from torch import Tensor

from clip_benchmark_peer import clip_benchmark_classification
from mammut_clip.evals.metrics.classification import classification_metrics, nearest_classes, prediction_metrics

CPU = torch.device("cpu")


def clip_benchmarks(logits: Tensor, labels: Tensor) -> dict[str, float]:
    theirs = clip_benchmark_classification()
    acc1, acc5 = theirs.accuracy(logits, labels, topk=(1, 5))
    recall = theirs.balanced_accuracy_score(labels, logits.argmax(axis=1))
    return {"acc1": acc1, "acc5": acc5, "mean_per_class_recall": recall}


@pytest.mark.parametrize("classes", [5, 12, 200])
@pytest.mark.parametrize("ties", [False, True])
def test_equal_to_clip_benchmark(classes: int, ties: bool) -> None:
    """Unequal classes, some without a picture; with `ties` most pictures have several highest logits."""
    generator = torch.Generator().manual_seed(classes)
    labels = (torch.rand(500, generator=generator) ** 3 * classes).long()
    logits = torch.randn(500, classes, generator=generator)
    logits[torch.arange(500), labels] += 2
    if ties:
        logits = logits.round()
    expected = clip_benchmarks(logits, labels)
    assert classification_metrics(logits, labels) == pytest.approx(expected, abs=1e-7)
    assert 0.1 < expected["acc1"] < expected["acc5"] - 0.001 * (classes > 5)


def test_few_classes_have_no_acc5() -> None:
    """CLIP_benchmark's is NaN there, which JSON and averages cannot hold."""
    assert classification_metrics(torch.eye(4), torch.arange(4)) == {"acc1": 1.0, "mean_per_class_recall": 1.0}


@pytest.mark.parametrize("block", [1, 64, 40 * 7, 40 * 300])
def test_blocks_change_nothing(block: int) -> None:
    """From one picture at a time to all at once; small integers, so that products have no rounding."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(-3, 4, (300, 16), generator=generator).float()
    classes = torch.randint(-3, 4, (40, 16), generator=generator).float()
    labels = torch.randint(0, 40, (300,), generator=generator)
    found = prediction_metrics(nearest_classes(images, classes, CPU, block), labels)
    assert found == classification_metrics(100 * images @ classes.T, labels)
