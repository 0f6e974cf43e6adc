"""WinoGAViL's index beside scikit-learn's, chosen as DataComp chooses."""

import numpy as np
import pytest
import torch

from mammut_clip.evals.metrics.jaccard import jaccard_index, jaccard_metrics


def test_equal_to_datacomps_choice_and_scikit_learns_score() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    found = set()
    for _ in range(50):
        n = int(generator.choice([5, 6, 10, 12]))
        truth = np.isin(np.arange(n), generator.choice(n, generator.integers(1, n), replace=False))
        scores = generator.normal(size=n) + truth
        picked = np.isin(np.arange(n), np.argsort(scores)[-truth.sum() :])
        index = jaccard_index(torch.tensor(scores), torch.tensor(truth))
        assert index == pytest.approx(metrics.jaccard_score(truth, picked), abs=1e-6)
        found.add(round(index, 3))
    assert len(found) > 5


def test_of_equal_scores_the_earlier_counts() -> None:
    assert jaccard_index(torch.zeros(4), torch.tensor([True, True, False, False])) == 1.0
    assert jaccard_index(torch.zeros(4), torch.tensor([False, False, True, True])) == 0.0


def test_averages_by_the_number_of_candidates() -> None:
    found = jaccard_metrics([0.1, 0.3, 0.5, 0.9], [5, 6, 10, 10])
    assert found == pytest.approx(
        {
            "avg_jaccard_score": 0.45,
            "jaccard_score_5": 0.1,
            "jaccard_score_6": 0.3,
            "jaccard_score_10": 0.7,
            "jaccard_score_5-6": 0.2,
            "jaccard_score_10-12": 0.7,
        }
    )
