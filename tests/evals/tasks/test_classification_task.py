"""Zero-shot classification on handwritten digits; test_clip_benchmark.py has what its results must be."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from subjects import random_subject

from evals.small_clip import small_clip
from evals.tasks.zero_shot_sets import open_task
from mammut_clip.config.errors import InputError
from mammut_clip.evals.subject import Subject
from real_pictures import DIGITS, digits, encoded, write_digit_captions, write_digits, write_set

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def subject() -> Subject:
    return small_clip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits"), 60)


def test_a_model_that_knows_each_class_is_always_right(subject: Subject, folder: Path) -> None:
    """The features are the prompts' own: the scoring is not what limits it."""
    task = open_task(folder)
    found = task.collect(subject)
    known = replace(found, images=found.classes[found.truth["labels"]])
    assert task.score(known, CPU) == {"acc1": 1.0, "acc5": 1.0, "mean_per_class_recall": 1.0}


def test_few_classes_have_no_acc5(subject: Subject, tmp_path: Path) -> None:
    pictures, labels = digits()
    few = [n for n in range(60) if labels[n] < 4]
    samples = [encoded(pictures[n], n) | {"cls": str(labels[n]).encode()} for n in few]
    task = open_task(write_set(tmp_path, samples, classnames=DIGITS[:4]))
    assert set(task.score(task.collect(subject), CPU)) == {"acc1", "mean_per_class_recall"}


def test_bad_samples_are_named(subject: Subject, tmp_path: Path) -> None:
    pictures, labels = digits()
    samples = [encoded(pictures[n], n) | {"cls": str(labels[n]).encode()} for n in range(8)]
    beyond = write_set(tmp_path / "beyond", [*samples[:5], samples[5] | {"cls": b"10"}], classnames=DIGITS)
    with pytest.raises(InputError, match=r"beyond/test/0\.tar: sample 's0000005': label '10'.*from 0 to 9"):
        open_task(beyond).collect(subject)
    broken = write_set(tmp_path / "broken", [*samples[:7], {"png": b"no picture", "cls": b"1"}], classnames=DIGITS)
    with pytest.raises(InputError, match=r"broken/test/0\.tar: sample 's0000007'"):
        open_task(broken).collect(subject)


def test_a_set_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = write_digit_captions(tmp_path, 8)
    for kind, type_ in (("classification",) * 2, ("multilabel",) * 2, ("grouped_classification", "classification")):
        with pytest.raises(InputError, match=f"a retrieval dataset, and task test asks for {type_}"):
            open_task(folder, kind)
    with pytest.raises(InputError, match="a classification dataset, and task test asks for retrieval"):
        open_task(write_digits(tmp_path, 8), "retrieval")


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA"])
def test_transparency_and_palettes_go_before_resizing(subject: Subject, mode: str) -> None:
    """As in CLIP_benchmark's readers; PIL would interpolate such pictures in ways of its own."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 4), np.uint8)
    picture = Image.fromarray(noise).convert(mode)
    files = [io.BytesIO(), io.BytesIO()]
    for file, image in zip(files, (picture, picture.convert("RGB")), strict=True):
        image.save(file, "PNG")
    given, expected = (subject.pixels(file.getvalue(), mode) for file in files)
    assert torch.equal(given, expected)


def test_a_model_without_features_is_unfit(folder: Path) -> None:
    task = open_task(folder)
    assert task.unfit(random_subject("cap_toy-XS")) == "compares features, and this model has none"
    assert task.unfit(random_subject("mammut_toy-XS")) is None
