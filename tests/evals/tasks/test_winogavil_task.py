"""WinoGAViL: DataComp's procedure, one sample and one picture at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evals.small_clip import small_clip
from evals.tasks.zero_shot_sets import open_task, write_winogavil
from mammut_clip.data.evalsets import WinogavilSet
from mammut_clip.evals.tasks.winogavil import prompt


def test_equal_to_one_sample_at_a_time(tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    subject = small_clip()
    folder = write_winogavil(tmp_path / "winogavil")
    task = open_task(folder, "winogavil", batch_size=9)
    found = task.score(task.collect(subject), torch.device("cpu"))
    scores: dict[int, list[float]] = {5: [], 6: [], 10: [], 12: []}
    for sample in WinogavilSet.open(folder, "test"):
        images = torch.cat([subject.encode_images([subject.pixels(image, "")]) for image in sample.images])
        logits = (subject.encode_texts([prompt(sample.cue)]) @ images.T)[0].cpu().numpy()
        truth = np.isin(np.arange(len(images)), sample.associations)
        chosen = np.isin(np.arange(len(images)), np.argsort(logits)[-truth.sum() :])
        scores[len(images)].append(metrics.jaccard_score(truth, chosen))
    expected = {f"jaccard_score_{n}": np.mean(some) for n, some in scores.items()}
    expected |= {"jaccard_score_5-6": np.mean(scores[5] + scores[6])}
    expected |= {"jaccard_score_10-12": np.mean(scores[10] + scores[12])}
    expected |= {"avg_jaccard_score": np.mean([score for some in scores.values() for score in some])}
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0 < found[task.metric] < 1


@pytest.mark.parametrize(("cue", "text"), [("Flea", "A flea"), ("ear", "An ear"), ("Umbrella", "An umbrella")])
def test_prompts_are_datacomps(cue: str, text: str) -> None:
    assert prompt(cue) == text
