"""Mean average precision beside CLIP_benchmark's and scikit-learn's."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_benchmark_peer import clip_benchmark_classification
from mammut_clip.evals.metrics.multilabel import average_precisions, multilabel_metrics


@pytest.fixture(scope="module")
def scores_and_truth() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(400, 9, generator=generator) < torch.linspace(0, 0.6, 9)  # the first class has no picture
    return torch.randn(400, 9, generator=generator) + truth, truth


def test_equal_to_clip_benchmark(scores_and_truth: tuple[Tensor, Tensor]) -> None:
    theirs = clip_benchmark_classification()
    scores, truth = scores_and_truth
    expected = theirs.average_precision_per_class(scores, truth)
    torch.testing.assert_close(average_precisions(scores, truth).float(), expected, atol=1e-6, rtol=0)
    assert expected[0] == 0
    assert 0.05 < expected[1] < expected[8] < 0.95


def test_equal_to_scikit_learn_where_no_scores_are_equal(scores_and_truth: tuple[Tensor, Tensor]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores, truth = scores_and_truth
    expected = [metrics.average_precision_score(truth[:, c], scores[:, c]) for c in range(1, 9)]
    assert average_precisions(scores, truth)[1:].tolist() == pytest.approx(expected, abs=1e-12)


def test_equal_scores_count_in_their_order() -> None:
    truth = torch.tensor([[0, 1], [1, 0], [1, 0], [0, 0]]).bool()
    found = average_precisions(torch.zeros(4, 2), truth)
    assert found.tolist() == [pytest.approx((1 / 2 + 2 / 3) / 2), 1.0]


@pytest.mark.parametrize("block", [1, 400, 400 * 4, 400 * 9])
def test_blocks_of_classes_change_nothing(block: int) -> None:
    generator = torch.Generator().manual_seed(1)
    images, classes = (F.normalize(torch.randn(n, 8, generator=generator), dim=-1) for n in (400, 9))
    truth = torch.rand(400, 9, generator=generator) < 0.3
    expected = average_precisions(images.double() @ classes.double().T, truth).mean().item()
    found = multilabel_metrics(images, classes, truth, torch.device("cpu"), block)
    assert found == {"mean_average_precision": pytest.approx(expected, abs=1e-12)}
