"""Fine-tuning a segmenter: it learns, leaves the model alone, and sees the same on any number of processes."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from subjects import ONE, random_subject
from torch.optim.lr_scheduler import LambdaLR, PolynomialLR, SequentialLR

from gloo_processes import Results, run_processes
from mammut_clip.config.errors import InputError
from mammut_clip.data.evalsets import EvalSet, TarEvalSet
from mammut_clip.data.shards.shard_writer import ShardSetWriter, eval_key, eval_shard_name, write_eval_description
from mammut_clip.data.toy_shards import write_toy_evals
from mammut_clip.distributed import Process
from mammut_clip.evals.metrics.segmentation import segmentation_metrics
from mammut_clip.evals.segmentation.dense import at_size
from mammut_clip.evals.segmentation.finetune import finetune, picture_numbers
from mammut_clip.evals.segmentation.measure import measure
from mammut_clip.evals.segmentation.recipe import Recipe
from mammut_clip.evals.segmentation.segmenter import Segmenter
from mammut_clip.evals.segmentation.windows import Windows
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Subject
from mammut_clip.models.vision import VisionTrunk

QUICK: dict[str, Any] = {"crop_size": 32, "patch_size": 4, "lr": 3e-3, "encoder_lr_factor": 1.0, "warmup": 0}
CPU = torch.device("cpu")


def toy_set(folder: Path, split: str = "train") -> TarEvalSet:
    write_toy_evals(folder, pairs_per_class=1, retrieval=1, segmentation=4)
    return TarEvalSet.open(folder / "wds_toy_segmentation", split)


def segmenter_of(subject: Subject, recipe: Recipe, classes: int = 13) -> Segmenter:
    tower = subject.model.visual
    assert isinstance(tower, VisionTrunk)
    resized = at_size(tower, recipe.crop_size, recipe.patch_size)
    return Segmenter(resized, classes, recipe.seed, freeze_encoder=recipe.freeze_encoder)


def trained(dataset: EvalSet, recipe: Recipe, batch_size: int = 64, shared: Shared | None = None) -> Segmenter:
    subject = random_subject("toy-XS", shared=shared)
    segmenter = segmenter_of(subject, recipe, len(dataset.classnames))
    finetune(segmenter, dataset, recipe, subject, batch_size)
    return segmenter


def weights(segmenter: Segmenter) -> Results:
    return {name: value.detach() for name, value in segmenter.named_parameters()}


@pytest.mark.parametrize("power", [0.9, 1.0, 0.0])
def test_the_learning_rate_is_that_of_torchs_schedulers(power: float) -> None:
    recipe = Recipe(steps=20, warmup=6, decay_power=power)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    rise = LambdaLR(optimizer, lambda step: step / 6 if step < 6 else 1.0)
    fall = PolynomialLR(optimizer, total_iters=14, power=power)
    schedule = SequentialLR(optimizer, [rise, fall], milestones=[6])
    for step in range(20):
        assert recipe.rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        schedule.step()


@given(st.integers(1, 50), st.integers(1, 40), st.integers(0, 9))
def test_each_pass_sees_every_picture_once_in_its_own_order(count: int, pictures: int, seed: int) -> None:
    recipe = Recipe(pictures_per_step=pictures, seed=seed)
    steps = -(-3 * count // pictures)
    seen = [number for step in range(steps) for number in picture_numbers(recipe, count, step)]
    passes = [seen[start : start + count] for start in range(0, 3 * count, count)]
    assert all(sorted(order) == list(range(count)) for order in passes)
    if count > 20:
        assert passes[0] != passes[1] != passes[2]


def test_recipes_that_contradict_themselves_are_refused() -> None:
    for values in ({"steps": 5, "warmup": 5}, {"scale": (2.0, 0.5)}, {"steps": 0}, {"lr": 0.0}, {"momentum": 0.9}):
        with pytest.raises(ValidationError):
            Recipe.model_validate({"warmup": 0} | values)


def test_it_learns_what_it_sees_and_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    dataset, subject = toy_set(tmp_path, "test"), random_subject("mammut_toy-XS")
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    recipe = Recipe(steps=80, pictures_per_step=4, scale=(1, 1), colour_jitter=False, flip=False, **QUICK)
    told: list[tuple[int, int]] = []
    watched = random_subject(
        "mammut_toy-XS", shared=Shared(ONE, progress=lambda done, total: told.append((done, total)))
    )
    segmenter = segmenter_of(subject, recipe)
    untrained = measure(dataset, 13, subject, Windows(32, 32), segmenter, 64)
    finetune(segmenter, dataset, recipe, watched, 64)
    after = measure(dataset, 13, subject, Windows(32, 32), segmenter, 64)
    # all background would be 0.8 of the pixels, and a mIoU of 0.8 over the classes that there are
    assert segmentation_metrics(untrained)["mIoU"] < 0.1
    assert segmentation_metrics(after)["mIoU"] > 0.4
    assert segmentation_metrics(after)["aAcc"] > 0.85
    assert told == [(step, 80) for step in range(1, 81)]
    assert all(torch.equal(value, before[name]) for name, value in subject.model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["toy-XS", "mammut_toy-XS"])
def test_it_labels_pictures_that_it_never_saw(model: str, tmp_path: Path) -> None:
    write_toy_evals(tmp_path, pairs_per_class=1, retrieval=1, segmentation=200)
    train, test = (TarEvalSet.open(tmp_path / "wds_toy_segmentation", split) for split in ("train", "test"))
    subject = random_subject(model)
    recipe = Recipe(steps=300, scale=(1, 1.5), colour_jitter=False, **QUICK)
    segmenter = segmenter_of(subject, recipe)
    finetune(segmenter, train, recipe, subject, 64)
    found = segmentation_metrics(measure(test, 13, subject, Windows(32, 32), segmenter, 64))
    assert found["mIoU"] > 0.085 and found["mAcc"] > 0.11  # all background gives 0.062 and 0.077


def test_a_frozen_encoder_stays_and_the_head_learns(tmp_path: Path) -> None:
    recipe = Recipe(steps=3, pictures_per_step=4, freeze_encoder=True, **QUICK)
    before = weights(segmenter_of(random_subject("toy-XS"), recipe))
    after = weights(trained(toy_set(tmp_path), recipe))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"norm.weight", "norm.bias", "head.weight", "head.bias"}


def test_without_freezing_all_that_patches_depend_on_learns(tmp_path: Path) -> None:
    recipe = Recipe(steps=3, pictures_per_step=4, **QUICK)
    before = weights(segmenter_of(random_subject("toy-XS"), recipe))
    after = weights(trained(toy_set(tmp_path), recipe))
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {"tower.ln_post.weight", "tower.ln_post.bias", "tower.proj"}


def test_forward_passes_may_be_smaller_than_steps(tmp_path: Path) -> None:
    dataset = toy_set(tmp_path)
    recipe = Recipe(steps=3, pictures_per_step=8, **(QUICK | {"lr": 1e-4}))
    whole, parts = weights(trained(dataset, recipe)), weights(trained(dataset, recipe, batch_size=3))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=2e-5)


def test_weights_that_run_away_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="diverged with lr"):
        trained(toy_set(tmp_path), Recipe(steps=8, pictures_per_step=2, **(QUICK | {"lr": 1e30})))


def broken_set(folder: Path) -> TarEvalSet:
    """Of three pictures the last cannot be decoded."""
    with ShardSetWriter(folder / "train", 3, eval_shard_name) as writer:
        for number in range(3):
            picture, mask = io.BytesIO(), io.BytesIO()
            Image.new("RGB", (32, 32), (9, 9, 9)).save(picture, "PNG")
            np.save(mask, np.zeros((32, 32), dtype=np.uint8))
            png = picture.getvalue()
            writer.add(eval_key(number), {"png": png[:40] if number == 2 else png, "npy": mask.getvalue()})
    write_eval_description(folder, "train", 1, dataset_type="segmentation", classnames=["a"], templates=["a {c}"])
    return TarEvalSet.open(folder, "train")


def on_processes(rank: int, folder: Path) -> Results:
    """Fine-tuned weights, counts of an evaluation, and a bad picture, on one of several processes."""
    world = torch.distributed.get_world_size()
    shared = Shared(Process(rank, world, rank, CPU), threads=2)
    return everything(shared, folder)


SPLIT = Recipe(steps=4, pictures_per_step=3, **(QUICK | {"lr": 1e-4}))
SINGLE = SPLIT.model_copy(update={"pictures_per_step": 1})  # one process has nothing to do


def everything(shared: Shared, folder: Path) -> Results:
    segmenter = trained(toy_set(folder / "toy"), SPLIT, shared=shared)
    lonely = trained(toy_set(folder / "toy"), SINGLE, shared=shared)
    fresh = segmenter_of(random_subject("toy-XS"), SPLIT)
    subject = random_subject("toy-XS", shared=shared)
    counts = measure(toy_set(folder / "toy"), 13, subject, Windows(16, 20, 5), at_half(fresh), 7)
    try:
        trained(broken_set(folder / "broken"), SPLIT, shared=shared)
    except InputError as error:
        assert "s0000002" in str(error)
        single = {f"single {name}": value for name, value in weights(lonely).items()}
        return weights(segmenter) | single | {"counts": counts}
    raise AssertionError("the bad picture went unnoticed")


def at_half(segmenter: Segmenter) -> Segmenter:
    """The same for windows of half the size."""
    return Segmenter(at_size(segmenter.tower, 16), 13, 0)


@pytest.mark.slow
def test_two_processes_see_what_one_sees(tmp_path: Path) -> None:
    toy_set(tmp_path / "toy")
    broken_set(tmp_path / "broken")
    alone = everything(Shared(ONE), tmp_path)
    first, second = run_processes(partial(on_processes, folder=tmp_path), 2, tmp_path)
    assert torch.equal(first["counts"], alone["counts"])
    for name in alone:
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], alone[name], rtol=1e-3, atol=2e-5)
