"""The same checkpoint on the same pictures through our tasks and through clip_benchmark's own command line: its
loader, its transforms and tokenizer (open_clip's), its metrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_benchmark_peer import run_clip_benchmark
from evals.small_clip import SMALL_CLIP, small_clip
from evals.tasks.zero_shot_sets import open_task
from mammut_clip.convert import convert
from mammut_clip.data.evalsets import EvalSet, TarEvalSet
from mammut_clip.evals.subject import Subject
from mammut_clip.models.exchange import save_weights
from real_pictures import (
    PROMPTS,
    write_digit_captions,
    write_digit_labels,
    write_digits,
    write_emoji_captions,
    write_emoji_labels,
    write_garments,
)

WRITERS: dict[str, Callable[[Path], Path]] = {
    "digits": write_digits,
    "digit_labels": write_digit_labels,
    "digit_captions": write_digit_captions,
    "garments": write_garments,
    "emoji_labels": write_emoji_labels,
    "emoji_captions": write_emoji_captions,
}


def _captions(dataset: EvalSet) -> list[str]:
    """A caption for each picture."""
    found = []
    for number in range(len(dataset)):
        target: Any = dataset.target(number)
        if dataset.type == "retrieval":
            found.append(target[-1])
            continue
        shown = [target] if dataset.type == "classification" else target.nonzero()[0]
        found.append(PROMPTS[0].replace("{c}", " and ".join(dataset.classnames[c] for c in shown)))
    return found


def _fit_projections(subject: Subject, dataset: EvalSet) -> None:
    """Take out of both towers' projections what all pictures or captions of a set have in common, and make that of
    pictures the ridge regression to the features of their captions. Such a model is far from chance, and from
    perfect, and takes no training."""
    model: Any = subject.model
    model.visual.proj.data = torch.eye(len(model.visual.proj))
    with subject.computing():
        pixels = [subject.pixels(sample.image, sample.key) for sample in dataset]
        given = model.encode_image(subject.batch(pixels), normalize=False)
        wanted = model.encode_text(subject.tokenizer(_captions(dataset)), normalize=False)
    particular, rest = _projector(wanted), _projector(given)
    given, wanted = given @ rest, wanted @ particular
    ridge = 0.03 * (given**2).sum() / given.shape[1] * torch.eye(given.shape[1])
    model.text_projection.data = model.text_projection.data @ particular
    model.visual.proj.data = rest @ torch.linalg.solve(given.T @ given + ridge, given.T @ wanted)


def _projector(features: Tensor) -> Tensor:
    """[E, E], what takes the mean's direction out of features [n, E]."""
    mean = F.normalize(features.mean(dim=0), dim=0)
    return torch.eye(len(mean)) - mean[:, None] * mean


@pytest.fixture(scope="module", params=list(WRITERS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, Path, Path]:
    """A model that knows a set a little, the folder that open_clip reads it from, and the set."""
    folder = tmp_path_factory.mktemp(request.param)
    dataset = WRITERS[request.param](folder)
    subject = small_clip()
    _fit_projections(subject, TarEvalSet.open(dataset))
    save_weights(subject.model, folder / "weights.safetensors")
    (folder / "model.yaml").write_text(str(SMALL_CLIP))
    convert(folder / "weights.safetensors", folder / "model", str(folder / "model.yaml"))
    return subject, folder / "model", dataset


def test_every_metric_equals_clip_benchmarks(case: tuple[Subject, Path, Path]) -> None:
    subject, model, folder = case
    task = open_task(folder)
    ours = task.score(task.collect(subject), torch.device("cpu"))
    theirs = run_clip_benchmark(model, folder, task.benchmark_name, "--recall_k", "1", "5", "10")
    if task.benchmark_name == "zeroshot_retrieval":
        theirs["mean_recall@1"] = (theirs["image_retrieval_recall@1"] + theirs["text_retrieval_recall@1"]) / 2
    assert ours == pytest.approx(theirs, abs=1e-6, rel=0)
    assert 0.2 < ours[task.metric] < 0.95, "a model at chance, or perfect, would hide differences"


def test_features_do_not_depend_on_the_batch_size(case: tuple[Subject, Path, Path]) -> None:
    subject, _, folder = case
    by_64, by_17 = open_task(folder).collect(subject), open_task(folder, batch_size=17).collect(subject)
    for name in vars(by_64):
        torch.testing.assert_close(getattr(by_17, name), getattr(by_64, name), atol=2e-6, rtol=0)
