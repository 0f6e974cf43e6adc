"""Worst groups and macro averages beside scikit-learn's, with groups of very unequal size."""

import numpy as np
import pytest
import torch

from mammut_clip.config.errors import InputError
from mammut_clip.evals.metrics.classification import Predictions, predictions
from mammut_clip.evals.metrics.groups import group_metrics, macro_metrics


@pytest.fixture(scope="module")
def chosen() -> tuple[Predictions, torch.Tensor, torch.Tensor]:
    """1000 pictures of 30 classes, of which 20 occur, in the groups 0, 2, 3 and 7; group 7 has 6 pictures."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 20, (1000,), generator=generator)
    groups = torch.tensor([0, 2, 3])[torch.randint(0, 3, (1000,), generator=generator)]
    groups[::180] = 7
    logits = torch.randn(1000, 30, generator=generator)
    logits[torch.arange(1000), labels] += 0.5 * groups.clamp(max=3) + 0.5
    return predictions(logits), labels, groups


def test_macro_averages_equal_scikit_learns(chosen: tuple[Predictions, torch.Tensor, torch.Tensor]) -> None:
    """With labels=those that occur, as WILDS calls it."""
    metrics = pytest.importorskip("sklearn.metrics")
    predicted, labels, _ = chosen
    there = np.unique(labels)
    expected = {
        "recall-macro_all": metrics.recall_score(labels, predicted.best, average="macro", labels=there),
        "F1-macro_all": metrics.f1_score(labels, predicted.best, average="macro", labels=there),
    }
    assert macro_metrics(predicted.best, labels) == pytest.approx(expected, abs=1e-12)
    assert not set(predicted.best.tolist()) <= set(there.tolist()), "some predictions must be classes without pictures"


def test_groups_equal_accuracies_of_their_parts(chosen: tuple[Predictions, torch.Tensor, torch.Tensor]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    predicted, labels, groups = chosen
    found = group_metrics(predicted, labels, groups, "region")
    accuracies = {g: metrics.accuracy_score(labels[groups == g], predicted.best[groups == g]) for g in (0, 2, 3, 7)}
    in_top5 = [label in row for row, label in zip(predicted.ranked.tolist(), labels.tolist(), strict=True)]
    top5 = {g: float(np.mean(np.array(in_top5)[groups == g])) for g in (0, 2, 3, 7)}
    expected = {f"acc_region:{g}": value for g, value in accuracies.items()}
    expected |= {f"acc_top5_region:{g}": value for g, value in top5.items()}
    expected |= {f"count_region:{g}": float((groups == g).sum()) for g in (0, 2, 3, 7)}
    expected |= {"acc_wg": min(accuracies.values()), "acc_worst_region": min(accuracies.values())}
    expected |= {"acc_top5_wg": min(top5.values()), "acc_avg": metrics.accuracy_score(labels, predicted.best)}
    expected |= {"acc_top5_avg": float(np.mean(in_top5))}
    assert found == pytest.approx(expected, abs=1e-12)
    assert found["acc_wg"] < found["acc_avg"] < found["acc_top5_avg"]


def test_a_group_left_out_is_not_the_worst(chosen: tuple[Predictions, torch.Tensor, torch.Tensor]) -> None:
    predicted, labels, groups = chosen
    every = group_metrics(predicted, labels, groups, "region")
    worst = min((0, 2, 3, 7), key=lambda g: every[f"acc_region:{g}"])
    rest = group_metrics(predicted, labels, groups, "region", left_out=[worst, 99])
    assert rest["acc_wg"] == min(every[f"acc_region:{g}"] for g in {0, 2, 3, 7} - {worst}) > every["acc_wg"]
    assert rest[f"acc_region:{worst}"] == every[f"acc_region:{worst}"], "it is still reported"
    with pytest.raises(InputError, match=r"groups \[0, 2, 3, 7\]: all are left out"):
        group_metrics(predicted, labels, groups, "region", left_out=[0, 2, 3, 7])


def test_groups_can_have_names(chosen: tuple[Predictions, torch.Tensor, torch.Tensor]) -> None:
    predicted, labels, groups = chosen
    numbered = group_metrics(predicted, labels, groups, "region", left_out=[2])
    names = ["Asia", "", "Africa", "Americas", "", "", "", "Other"]
    named = group_metrics(predicted, labels, groups, "region", names, left_out=["Africa"])
    assert named["acc_region:Americas"] == numbered["acc_region:3"] > 0
    assert named["acc_wg"] == numbered["acc_wg"]


def test_without_groups_and_with_few_classes_there_are_averages_alone() -> None:
    found = group_metrics(predictions(torch.eye(4)), torch.tensor([0, 1, 2, 0]), None, "group")
    assert found == {"acc_avg": 0.75}
