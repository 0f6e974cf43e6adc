"""Multi-label classification of pictures of four digits; test_clip_benchmark.py has what its results must be."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evals.small_clip import small_clip
from evals.tasks.zero_shot_sets import open_task
from mammut_clip.config.errors import InputError
from mammut_clip.evals.subject import Subject
from real_pictures import DIGITS, digits, encoded, npy_bytes, tiles, write_digit_labels, write_set


@pytest.fixture(scope="module")
def subject() -> Subject:
    return small_clip()


def test_the_truth_is_that_of_the_files_and_the_score_scikit_learns(subject: Subject, tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    task = open_task(write_digit_labels(tmp_path, 50))
    found = task.collect(subject)
    shown = [sorted(set(labels)) for _, labels in tiles(50)]
    assert [row.nonzero()[:, 0].tolist() for row in found.truth["labels"]] == shown
    expected = metrics.average_precision_score(found.truth["labels"], found.images @ found.classes.T, average="macro")
    score = task.score(found, torch.device("cpu"))
    assert score == {"mean_average_precision": pytest.approx(expected, abs=1e-6)}


def test_labels_for_another_number_of_classes_are_named(subject: Subject, tmp_path: Path) -> None:
    samples = [encoded(digits()[0][n], n) | {"npy": npy_bytes(np.arange(9 if n == 3 else 10) < 1)} for n in range(6)]
    task = open_task(write_set(tmp_path, samples, dataset_type="multilabel", classnames=DIGITS))
    with pytest.raises(InputError, match=r"0\.tar: sample 's0000003': labels for 9 classes.*10"):
        task.collect(subject)
