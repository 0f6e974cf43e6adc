"""Both kinds of segmentation as tasks of a suite, from entry to metrics."""

import copy
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from subjects import random_subject

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.data.evalsets import IGNORED
from mammut_clip.data.images import normalize, open_picture, to_tensor
from mammut_clip.data.shards.shard_writer import ShardSetWriter, eval_key, eval_shard_name, write_eval_description
from mammut_clip.data.toy_shards import write_toy_evals
from mammut_clip.data.toy_words import SHAPES
from mammut_clip.evals.metrics.segmentation import confusion_matrix
from mammut_clip.evals.prompts import Prompts, class_embeddings
from mammut_clip.evals.segmentation.dense import patch_embedder, patch_embeddings
from mammut_clip.evals.suite import parse_suite
from mammut_clip.evals.task import Task
from mammut_clip.evals.tasks import kinds
from mammut_clip.evals.tasks.zeroshot_segmentation import ZeroshotSegmentation
from mammut_clip.models.vision import VisionTower

RECIPE = {"steps": 2, "warmup": 1, "crop_size": 32, "pictures_per_step": 4}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy_evals(folder, pairs_per_class=1, retrieval=1, segmentation=6)
    return folder / "wds_toy_segmentation"


def open_task(kind: str, folder: Path, **keys: Any) -> Task[Any]:
    entry = parse_suite({"name": "s", "tasks": [{"name": "toy", "kind": kind} | keys]}, "s.yaml").tasks[0]
    return kinds()[kind].open(entry, folder)


def metrics_of(task: Task[Any], model: str = "toy-XS", **subject: Any) -> dict[str, float]:
    return task.score(task.collect(replace(random_subject(model), **subject)), torch.device("cpu"))


@pytest.mark.parametrize("model", ["toy-XS", "mammut_toy-XS", "coca_toy-XS", "cap_toy-XS"])
def test_every_vision_transformer_can_be_fine_tuned(model: str, toy: Path) -> None:
    task = open_task("segmentation", toy, recipe=RECIPE)
    assert task.unfit(random_subject(model)) is None
    assert (len(task), task.benchmark_name, task.metric) == (6, "segmentation", "mIoU")
    found = metrics_of(task, model)
    assert set(found) == {"mIoU", "mAcc", "aAcc"} and all(0 <= value <= 1 for value in found.values())


def test_all_pixels_are_counted_once(toy: Path) -> None:
    for kind, keys in (("segmentation", {"recipe": RECIPE}), ("zeroshot_segmentation", {})):
        task = open_task(kind, toy, **keys)
        assert task.collect(random_subject()).sum() == 6 * 32 * 32


def test_zero_shot_is_a_single_pass_where_a_window_is_the_picture(toy: Path) -> None:
    task, subject = open_task("zeroshot_segmentation", toy, shorter_side=32), random_subject("mammut_toy-XS")
    assert isinstance(task, ZeroshotSegmentation)
    tower = subject.model.visual
    assert isinstance(tower, VisionTower)
    classes = class_embeddings(subject, task.prompts, 64)
    expected = torch.zeros(13, 13, dtype=torch.int64)
    for sample in task.dataset:
        images = normalize(to_tensor(open_picture(sample.image))[None])
        with torch.no_grad():
            embedded = patch_embeddings(patch_embedder(tower, 32, "maskclip"), images)
        logits = F.interpolate((embedded @ classes.T).permute(0, 3, 1, 2), (32, 32), mode="bilinear")
        assert isinstance(sample.target, np.ndarray)
        expected += confusion_matrix(torch.from_numpy(sample.target.astype("int64")), logits[0].argmax(dim=0), 13)
    found = task.collect(subject)
    assert (found - expected).abs().sum() <= 4  # pixels on the border between two classes
    assert torch.equal(found.sum(dim=1), expected.sum(dim=1))


def test_windows_of_zero_shot_follow_the_model(toy: Path) -> None:
    task = open_task("zeroshot_segmentation", toy)
    assert isinstance(task, ZeroshotSegmentation)
    windows = task.windows(224, 16)
    assert (windows.size, windows.shorter_side, windows.stride) == (224, 336, 112)
    chosen = open_task("zeroshot_segmentation", toy, window=225, shorter_side=300, stride=10)
    assert isinstance(chosen, ZeroshotSegmentation)
    windows = chosen.windows(224, 14)
    assert (windows.size, windows.shorter_side, windows.stride) == (238, 300, 10)


def test_variants_and_prompts_change_what_is_found(toy: Path) -> None:
    subject = random_subject("toy-XS")
    names = ["nothing", *reversed(SHAPES)]
    entries = ({}, {"variant": "plain"}, {"templates": ["a photo of two {c}s"]}, {"classnames": names}, {"window": 16})
    found = [open_task("zeroshot_segmentation", toy, **entry).collect(subject) for entry in entries]
    assert len({tuple(matrix.flatten().tolist()) for matrix in found}) == len(entries)
    definitions = [open_task("zeroshot_segmentation", toy, **entry).definition() for entry in entries]
    assert definitions[3]["classnames"] == names and definitions[2]["templates"] == ["a photo of two {c}s"]


def test_embeddings_of_other_pixels_find_the_class_of_their_words(toy: Path) -> None:
    """Classes whose words mean what one patch shows are found there: with texts replaced by embeddings of patches."""
    task, subject = open_task("zeroshot_segmentation", toy, shorter_side=32), random_subject("toy-XS")
    assert isinstance(task, ZeroshotSegmentation)
    tower = subject.model.visual
    assert isinstance(tower, VisionTower)
    images = normalize(to_tensor(open_picture(task.dataset[0].image))[None])
    with torch.no_grad():
        embedded = patch_embeddings(patch_embedder(tower, 32, "maskclip"), images)[0]
    logits = embedded @ embedded.flatten(0, 1).T
    assert torch.equal(logits.argmax(dim=-1), torch.arange(16).view(4, 4))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_nearly_the_same_in_float32(precision: str, toy: Path) -> None:
    whole, half = random_subject("mammut_toy-XS"), replace(random_subject("mammut_toy-XS"), precision=precision)
    tower = whole.model.visual
    assert isinstance(tower, VisionTower)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    embedder = patch_embedder(tower, 32, "maskclip")
    with half.computing():
        embedded = patch_embeddings(embedder, images)
    assert embedded.dtype == torch.float32
    with whole.computing():
        torch.testing.assert_close(embedded, patch_embeddings(embedder, images), rtol=0, atol=0.03)
    for kind, keys in (("segmentation", {"recipe": RECIPE}), ("zeroshot_segmentation", {})):
        task = open_task(kind, toy, **keys)
        found, expected = task.collect(half), task.collect(whole)
        assert found.sum() == expected.sum()
        assert (found - expected).abs().sum() < 0.2 * expected.sum()


def test_who_cannot_take_part_is_told_why(toy: Path) -> None:
    zero_shot, tuned = open_task("zeroshot_segmentation", toy), open_task("segmentation", toy, recipe=RECIPE)
    assert "has none" in (zero_shot.unfit(random_subject("cap_toy-XS")) or "")
    assert "single patches" in (zero_shot.unfit(random_subject("coca_toy-XS")) or "")
    assert zero_shot.unfit(random_subject("toy-XS")) is None
    other = copy.copy(random_subject("toy-XS"))
    other.model.visual = torch.nn.Identity()
    assert "another image tower" in (tuned.unfit(other) or "") and zero_shot.unfit(other) is not None


def test_entries_that_do_not_fit_are_refused(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="warmup 1500 is not below steps 10"):
        open_task("segmentation", toy, recipe={"steps": 10})
    with pytest.raises(ConfigError, match="variant"):
        open_task("zeroshot_segmentation", toy, variant="sclip")
    with pytest.raises(InputError, match=r"'training'.*splits that are there: test, train"):
        open_task("segmentation", toy, recipe=RECIPE, train_split="training")
    with pytest.raises(InputError, match=r"a classification dataset.*asks for segmentation"):
        open_task("zeroshot_segmentation", toy.parent / "wds_toy_pairs")


def picture(height: int, width: int, seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_mask_of_another_size_names_its_picture(tmp_path: Path) -> None:
    with ShardSetWriter(tmp_path / "test", 1, eval_shard_name) as writer:
        mask = io.BytesIO()
        np.save(mask, np.zeros((20, 30), dtype=np.uint8))
        writer.add(eval_key(7), {"png": picture(30, 20, 0), "npy": mask.getvalue()})
    write_eval_description(tmp_path, "test", 1, dataset_type="segmentation", classnames=["a"], templates=["a {c}"])
    with pytest.raises(InputError, match=r"s0000007.*mask of \[20, 30\].*\[30, 20\]"):
        open_task("zeroshot_segmentation", tmp_path).collect(random_subject())


@pytest.fixture
def ade(tmp_path: Path) -> Iterator[Path]:
    """ADE20K's folders with pictures of several shapes; the pixel value 0 of a mask is no class."""
    for split, count in (("training", 5), ("validation", 3)):
        images, masks = tmp_path / "images" / split, tmp_path / "annotations" / split
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for number in range(count):
            height, width = 30 + 7 * number, 50 - 9 * number
            (images / f"{number}.png").write_bytes(picture(height, width, number))
            values = np.random.default_rng(number).integers(0, 4, (height, width), dtype=np.uint8)
            Image.fromarray(values).save(masks / f"{number}.png")
    (tmp_path / "classnames.txt").write_text("wall\nsky\ntree\n")
    (tmp_path / "zeroshot_classification_templates.txt").write_text("a photo of {c}\n")
    yield tmp_path


def test_ade20ks_folders_and_pixels_without_a_class(ade: Path) -> None:
    where = {"layout": "ade20k", "split": "validation"}
    tuned = open_task("segmentation", ade, recipe=RECIPE, train_split="training", **where)
    for task in (tuned, open_task("zeroshot_segmentation", ade, **where)):
        found = task.collect(random_subject("mammut_toy-XS"))
        labelled = sum(int((sample.target != IGNORED).sum()) for sample in task.dataset)  # type: ignore[attr-defined]
        assert found.shape == (3, 3) and found.sum() == labelled
    assert tuned.definition() == {"classnames": ["wall", "sky", "tree"], "training_pictures": 5}


def test_prompts_are_the_sets_own(toy: Path) -> None:
    task = open_task("zeroshot_segmentation", toy)
    assert isinstance(task, ZeroshotSegmentation) and isinstance(task.prompts, Prompts)
    assert list(task.prompts.classnames) == ["background", *SHAPES]
