"""Retrieval of pictures of four digits; test_clip_benchmark.py has what its results must be."""

from pathlib import Path

import pytest
import torch

from evals.small_clip import small_clip
from evals.tasks.zero_shot_sets import open_task
from mammut_clip.data.evalsets import TarEvalSet
from mammut_clip.evals.subject import Subject
from real_pictures import write_digit_captions

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def subject() -> Subject:
    return small_clip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digit_captions(tmp_path_factory.mktemp("captions"), 60)


def test_captions_stand_beside_their_pictures(subject: Subject, folder: Path) -> None:
    found = open_task(folder, batch_size=7).collect(subject)
    dataset = TarEvalSet.open(folder)
    captions = [(number, caption) for number in range(len(dataset)) for caption in dataset.target(number)]  # type: ignore[union-attr]
    assert found.owners.tolist() == [number for number, _ in captions]
    assert len(found.images) == len(dataset) < len(captions) == len(found.texts)
    expected = subject.encode_texts([caption for _, caption in captions])
    torch.testing.assert_close(found.texts, expected, atol=2e-6, rtol=0)


def test_each_picture_is_read_once(subject: Subject, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = TarEvalSet.__getitem__

    def counted(self: TarEvalSet, number: int) -> object:
        read.append(number)
        return original(self, number)

    monkeypatch.setattr(TarEvalSet, "__getitem__", counted)
    task = open_task(folder)
    task.collect(subject)
    assert sorted(read) == list(range(len(task)))


def test_the_k_can_be_chosen(subject: Subject, folder: Path) -> None:
    task = open_task(folder, recall_at=[2, 1000])
    found = task.score(task.collect(subject), CPU)
    assert set(found) == {f"{what}_retrieval_recall@{k}" for what in ("image", "text") for k in (2, 1000)}
    assert found["image_retrieval_recall@1000"] == found["text_retrieval_recall@1000"] == 1
    assert task.metric == "image_retrieval_recall@2"
    assert open_task(folder).metric == "image_retrieval_recall@5"
