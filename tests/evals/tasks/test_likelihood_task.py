"""Tasks by caption likelihood: against one text beside one picture at a time, and the same on several processes."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from subjects import ONE, random_subject
from torch import Tensor

from evals.captioners import random_captioner
from evals.selection_sets import CREPE, GROUND, write_toy_sets
from gloo_processes import Results, run_processes
from mammut_clip.distributed import Process
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.suite import open_suite, parse_suite

FAMILIES = ("mammut_toy-XS", "coca_toy-XS", "cap_toy-XS")
CLASSES = {"name": "toy_pairs", "kind": "likelihood_classification", "batch_size": 12}
CHOICES: dict[str, Any] = {"kind": "likelihood_selection", "batch_size": 7}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_sets(tmp_path_factory.mktemp("sets"))


def open_task(sets: Path, keys: dict[str, Any], **more: Any) -> Any:
    (entry,) = open_suite(parse_suite({"name": "one", "tasks": [keys | more]}, "here"), sets)
    assert entry.task is not None, entry.problem
    return entry.task


def by_all_logits(subject: Subject, image: bytes, texts: list[str], per_token: bool = False) -> Tensor:
    """[K] of one picture, by the logits of every position."""
    model: Any = subject.model
    ids = subject.tokenizer(texts)
    pixels = subject.batch([subject.pixels(image, "")]).expand(len(ids), -1, -1, -1)
    with torch.no_grad():
        logits = model.caption_logits(pixels, ids).double()
    losses = F.cross_entropy(logits.mT, ids[:, 1:], ignore_index=0, reduction="none").sum(dim=1)
    return -losses / (ids[:, 1:] != 0).sum(dim=1) if per_token else -losses


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("normalize", ["none", "tokens"])
def test_pictures_and_captions_are_told_apart_by_likelihood(sets: Path, model: str, normalize: str) -> None:
    subject = random_captioner(model)
    for keys in (CREPE, GROUND):
        task = open_task(sets, CHOICES | keys, normalize=normalize)
        found = task.collect(subject)
        for scores, sample in zip(found, task.dataset, strict=True):
            expected = [
                by_all_logits(subject, image, list(sample.captions), normalize == "tokens") for image in sample.images
            ]
            torch.testing.assert_close(scores.double(), torch.stack(expected), rtol=1e-5, atol=1e-5)
        metrics = task.score(found, ONE.device)
        right = (found.diagonal(dim1=1, dim2=2)[:, :, None] >= found).sum(dim=2)[:, : found.shape[1]] == found.shape[2]
        assert metrics["text_acc"] == pytest.approx(right.all(dim=1).double().mean().item())
    assert task.benchmark_name == "likelihood_selection"


def test_an_untrained_decoder_chooses_nothing(sets: Path) -> None:
    task = open_task(sets, CHOICES | GROUND, normalize="tokens")
    assert task.score(task.collect(random_subject("cap_toy-XS")), ONE.device)["acc"] == 0


@pytest.mark.parametrize("model", FAMILIES)
def test_classes_are_chosen_by_the_mean_likelihood_of_their_prompts(sets: Path, model: str) -> None:
    subject, task = random_captioner(model), open_task(sets, CLASSES, max_templates=2)
    found = task.collect(subject)
    names, templates = task.dataset.classnames, task.dataset.templates[:2]
    assert len(task.dataset.templates) > 2
    assert found.logits.shape == (64, 32)
    for number in (0, 13, 63):
        sample = task.dataset[number]
        means = torch.zeros(len(names), dtype=torch.float64)
        for template in templates:
            means += by_all_logits(subject, sample.image, [template.replace("{c}", name) for name in names]) / 2
        torch.testing.assert_close(found.logits[number].double(), means, rtol=1e-5, atol=1e-5)
        assert found.labels[number] == sample.target
    metrics = task.score(found, ONE.device)
    right = (found.logits.argmax(dim=1) == found.labels).double().mean().item()
    assert metrics["acc1"] == pytest.approx(right)
    assert set(metrics) == {"acc1", "acc5", "mean_per_class_recall"}


def test_one_template_is_used_unless_the_task_says_more(sets: Path) -> None:
    used = {most: open_task(sets, CLASSES, max_templates=most).definition()["templates"] for most in (1, 3, None)}
    assert open_task(sets, CLASSES).definition()["templates"] == used[1] == used[None][:1]
    assert used[3] == used[None][:3]
    assert len(used[None]) > 3
    given = open_task(sets, CLASSES, templates=["only {c}"], max_templates=None)
    assert given.definition()["templates"] == ["only {c}"]


def test_a_model_without_a_decoder_is_told_so(sets: Path) -> None:
    for keys in (CLASSES, CHOICES | GROUND):
        task = open_task(sets, keys)
        assert task.unfit(random_subject("toy-XS")) == "scores captions by a decoder, and this model has none"
        assert task.unfit(random_subject("cap_toy-XS")) is None


TASKS = {
    "crepe": CHOICES | CREPE,
    "ground": CHOICES | GROUND | {"normalize": "tokens"},
    "similarity": {"kind": "selection", "batch_size": 5} | GROUND,
    "classes": CLASSES,
    "losses": {"name": "toy_retrieval", "kind": "losses", "loss_batch_size": 12, "batch_size": 5},
}


def everything(sets: Path, shared: Shared) -> Results:
    """All that the tasks collect, and on rank 0 what they make of it."""
    results: Results = {}
    for model in ("mammut_toy-XS", "coca_toy-XS"):
        subject = random_captioner(model, shared=shared)
        for name, keys in TASKS.items():
            task = open_task(sets, keys)
            collected = task.collect(subject)
            tensors = {"scores": collected} if isinstance(collected, Tensor) else vars(collected)
            tensors = tensors.get("rows", tensors)
            results |= {f"{model} {name} {key}": value for key, value in tensors.items()}
            if shared.process.is_main:
                metrics = task.score(collected, ONE.device)
                results[f"{model} {name} metrics"] = torch.tensor(list(metrics.values()), dtype=torch.float64)
    return results


def rank_main(rank: int, sets: Path) -> Results:
    """Everything on one rank of several."""
    world = torch.distributed.get_world_size()
    return everything(sets, Shared(Process(rank, world, rank, ONE.device), threads=2))


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_results_are_the_same_to_the_last_bit_on_several_processes(sets: Path, tmp_path: Path, world: int) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes have
    alone = everything(sets, Shared(ONE))
    torch.set_num_threads(threads)
    main, *others = run_processes(partial(rank_main, sets=sets), world, tmp_path)
    assert set(main) == set(alone)
    assert len(alone) == 2 * (3 * 2 + 3 + 5)
    assert all(torch.equal(main[name], alone[name]) for name in alone)
    assert all(len(rows) == 0 for other in others for rows in other.values())
