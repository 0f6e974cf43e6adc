"""Losses on held-out pairs are the losses of training, at the batch size that the task names."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from subjects import ONE, random_subject

from evals.captioners import random_captioner
from mammut_clip.config.errors import InputError
from mammut_clip.data.toy_shards import write_toy_evals, write_toy_train
from mammut_clip.evals.metrics import losses as metrics
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.suite import open_suite, parse_suite
from mammut_clip.evals.tasks.losses import Losses, LossesConfig
from mammut_clip.losses import chunked_caption_loss, contrastive_loss, sigmoid_loss
from mammut_clip.models.output import make_captions

BOTH = ("contrastive", "caption")
MODELS = {
    "toy-XS": BOTH[:1],
    "toy-XS-SigLIP": BOTH[:1],
    "mammut_toy-XS": BOTH,
    "coca_toy-XS": BOTH,
    "cap_toy-XS": BOTH[1:],
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_toy_evals(folder, pairs_per_class=1, retrieval=40, segmentation=1)
    return folder


def open_task(sets: Path, **keys: Any) -> Losses:
    entry = {"name": "toy_retrieval", "kind": "losses", "batch_size": 7, "loss_batch_size": 20} | keys
    (opened,) = open_suite(parse_suite({"name": "one", "tasks": [entry]}, "here"), sets)
    assert isinstance(opened.task, Losses), opened.problem
    return opened.task


def measure(task: Losses, subject: Subject) -> dict[str, float]:
    return task.score(task.collect(subject), ONE.device)


def some_subject(model: str, seed: int = 0) -> Subject:
    return random_captioner(model, seed) if "caption" in MODELS[model] else random_subject(model, seed)


def of_training(task: Losses, subject: Subject, numbers: range) -> tuple[float, float, int]:
    """Contrastive loss, sum of the captions' token losses and number of tokens, of one batch, by training's losses."""
    samples = [task.dataset[number] for number in numbers]
    images = subject.batch([subject.pixels(sample.image, "") for sample in samples])
    ids = subject.tokenizer([sample.target[0] for sample in samples])  # type: ignore[index]
    captions = make_captions(ids) if subject.writes_captions else None
    with torch.no_grad():
        output = subject.model(
            images, ids if subject.has_features else None, captions, None if captions is None else chunked_caption_loss
        )
        pairs = math.nan
        if output.logit_bias is not None:
            features = output.image_features, output.text_features
            pairs = sigmoid_loss(*features, output.logit_scale, output.logit_bias).loss.item()
        elif output.image_features is not None:
            pairs = contrastive_loss(output.image_features, output.text_features, output.logit_scale).loss.item()
    return (
        pairs,
        math.nan if captions is None else output.caption_loss_sum.item(),
        len(captions.labels) if captions else 0,
    )


@pytest.mark.parametrize("model", MODELS)
def test_losses_are_those_of_training(sets: Path, model: str) -> None:
    subject, task = some_subject(model), open_task(sets, losses=MODELS[model])
    found = measure(task, subject)
    first, second = (of_training(task, subject, numbers) for numbers in (range(20), range(20, 40)))
    assert found.pop("pairs") == 40
    expected = {}
    if "contrastive" in MODELS[model]:
        expected["contrastive_loss"] = (first[0] + second[0]) / 2
    if "caption" in MODELS[model]:
        expected["caption_loss"] = (first[1] + second[1]) / (first[2] + second[2])
    assert found == pytest.approx(expected, rel=1e-6, abs=0)
    assert task.metric in found


def test_one_of_two_losses_can_be_asked_for(sets: Path) -> None:
    subject = some_subject("mammut_toy-XS")
    both = measure(open_task(sets), subject)
    for name in BOTH:
        task = open_task(sets, losses=[name])
        assert measure(task, subject) == pytest.approx({key: both[key] for key in (f"{name}_loss", "pairs")}, rel=1e-6)
        assert task.metric == f"{name}_loss"


def test_pairs_behind_the_last_whole_batch_are_left_out(sets: Path) -> None:
    subject = some_subject("mammut_toy-XS")
    task = open_task(sets, loss_batch_size=15)
    found = measure(task, subject)
    parts = [of_training(task, subject, range(start, start + 15)) for start in (0, 15)]
    assert (found["pairs"], len(task)) == (30, 40)
    assert found["contrastive_loss"] == pytest.approx((parts[0][0] + parts[1][0]) / 2, rel=1e-6)
    assert found["caption_loss"] == pytest.approx(sum(p[1] for p in parts) / sum(p[2] for p in parts), rel=1e-6)


def test_the_contrastive_loss_is_that_of_its_batch_size(sets: Path) -> None:
    subject = some_subject("toy-XS")
    at = {size: measure(open_task(sets, loss_batch_size=size, losses=["contrastive"]), subject) for size in (4, 40)}
    for size, found in at.items():  # an untrained model tells nothing apart
        assert found["contrastive_loss"] == pytest.approx(math.log(size), abs=0.4)


def test_training_shards_hold_pairs_as_well(tmp_path: Path) -> None:
    write_toy_train(tmp_path / "held_out", 48, samples_per_shard=20)
    subject = some_subject("mammut_toy-XS")
    task = open_task(tmp_path, layout="shards", folder="held_out", loss_batch_size=24)
    found = measure(task, subject)
    parts = [of_training(task, subject, range(start, start + 24)) for start in (0, 24)]
    assert found["contrastive_loss"] == pytest.approx((parts[0][0] + parts[1][0]) / 2, rel=1e-6)
    assert found["pairs"] == 48


@pytest.mark.parametrize("pairs", [1, 2, 13])
@given(seed=st.integers(0, 10**6), scale=st.floats(1, 100), bias=st.floats(-12, 3), at_once=st.integers(1, 200))
def test_losses_over_pairs_are_their_definitions(
    pairs: int, seed: int, scale: float, bias: float, at_once: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images, texts = (F.normalize(torch.randn(pairs, 6, generator=generator), dim=1) for _ in range(2))
    logits = scale * images.double() @ texts.double().T
    own, signs = torch.arange(pairs), 2 * torch.eye(pairs, dtype=torch.float64) - 1
    softmax = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    sigmoid = -F.logsigmoid(signs * (logits + bias)).sum() / pairs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_LOGITS_AT_ONCE", at_once)
        assert metrics.softmax_pair_loss(images, texts, scale) == pytest.approx(softmax.item(), rel=1e-9, abs=1e-12)
        found = metrics.sigmoid_pair_loss(images, texts, scale, bias)
        assert found == pytest.approx(sigmoid.item(), rel=1e-9, abs=1e-12)


def test_models_that_cannot_are_told_why(sets: Path) -> None:
    task = open_task(sets)
    assert "this model has none (losses = [contrastive]" in str(task.unfit(random_subject("toy-XS")))
    assert "this model has none (losses = [caption]" in str(task.unfit(random_subject("cap_toy-XS")))
    assert task.unfit(random_subject("coca_toy-XS")) is None
    without_scale = replace(random_subject("toy-XS"), model=torch.nn.Identity())  # as a model of another package
    reason = open_task(sets, losses=["contrastive"]).unfit(without_scale)
    assert reason == "takes the contrastive loss with the model's own logit_scale, and this model has none"


def test_too_few_pairs_and_no_batch_size_are_refused(sets: Path) -> None:
    with pytest.raises(InputError, match=r"loss_batch_size = 41: .*wds_toy_retrieval has only 40 pairs"):
        open_task(sets, loss_batch_size=41)
    with pytest.raises(InputError, match="a classification dataset, and task toy_pairs asks for retrieval"):
        open_task(sets, name="toy_pairs")
    with pytest.raises(ValidationError, match="loss_batch_size"):
        LossesConfig(name="x", kind="losses")  # type: ignore[call-arg]
