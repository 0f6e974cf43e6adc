"""Selection by similarity, beside the real clip_benchmark on the same pictures and on scores with ties."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from clip_benchmark.metrics import image_caption_selection
from hypothesis import given, settings
from hypothesis import strategies as st
from subjects import ONE, random_subject
from torch import Tensor

from evals.selection_sets import CREPE, GROUND, write_toy_sets
from mammut_clip.config.errors import InputError
from mammut_clip.evals.metrics.selection import selection_metrics
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.suite import open_suite, parse_suite
from mammut_clip.evals.tasks.selection import Selection


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_sets(tmp_path_factory.mktemp("sets"))


def open_task(sets: Path, keys: dict[str, Any], **more: Any) -> Selection:
    suite = parse_suite({"name": "one", "tasks": [{"kind": "selection"} | keys | more]}, "here")
    (entry,) = open_suite(suite, sets)
    assert isinstance(entry.task, Selection), entry.problem
    return entry.task


def peer(model: Any, batches: list[Any], tokenizer: Any) -> dict[str, float]:
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        return dict(image_caption_selection.evaluate(model, batches, tokenizer, "cpu", amp=False))


def batches_of(task: Selection, subject: Subject, size: int) -> list[Any]:
    """What clip_benchmark's loader gives: pictures [B, I, 3, S, S], or [B, 3, S, S] where there is one; captions."""
    samples = [task.dataset[number] for number in range(len(task))]
    pictures = [torch.stack([subject.batch([subject.pixels(i, "")])[0] for i in sample.images]) for sample in samples]
    whole = torch.stack(pictures)
    whole = whole[:, 0] if whole.shape[1] == 1 else whole
    captions = [list(sample.captions) for sample in samples]
    return [(whole[i : i + size], captions[i : i + size]) for i in range(0, len(task), size)]


@pytest.mark.parametrize("keys", [CREPE, GROUND], ids=["sugar_crepe", "winoground"])
@pytest.mark.parametrize("model", ["toy-XS", "mammut_toy-XS"])
def test_metrics_are_clip_benchmarks(sets: Path, model: str, keys: dict[str, Any]) -> None:
    task, subject = open_task(sets, keys, batch_size=7), random_subject(model, seed=1)
    expected = peer(subject.model, batches_of(task, subject, 8), subject.tokenizer)
    found = task.score(task.collect(subject), ONE.device)
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0 < found["text_acc"] < 1
    assert (task.benchmark_name, task.metric) == ("image_caption_selection", "acc")
    assert len(task) == (20 if keys is GROUND else 39)


class Looked:
    """Features for a model: pictures are their own, captions are numbers of rows."""

    def __init__(self, texts: Tensor) -> None:
        self.texts = texts

    def encode_image(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def encode_text(self, numbers: Tensor) -> Tensor:
        return self.texts[numbers]


@settings(max_examples=60)
@given(
    samples=st.integers(1, 6),
    images=st.integers(1, 4),
    captions=st.integers(1, 4),
    kinds=st.integers(1, 4),
    seed=st.integers(0, 10**6),
)
def test_metrics_are_clip_benchmarks_with_ties_too(
    samples: int, images: int, captions: int, kinds: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    some = torch.eye(4)[:kinds]  # few different features, and similarities that are exact
    of_images = some[torch.randint(kinds, (samples, images), generator=generator)]
    of_texts = some[torch.randint(kinds, (samples * captions,), generator=generator)]
    numbers = [[str(s * captions + c) for c in range(captions)] for s in range(samples)]
    batch = of_images.view(samples, images, 1, 2, 2), numbers
    expected = peer(Looked(of_texts), [batch], lambda texts: torch.tensor([int(text) for text in texts]))
    scores = of_images @ of_texts.view(samples, captions, 4).mT
    assert selection_metrics(scores) == pytest.approx(expected, abs=1e-6)


@given(samples=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_without_ties_the_scores_are_winogrounds(samples: int, seed: int) -> None:
    scores = torch.randint(0, 4, (samples, 2, 2), generator=torch.Generator().manual_seed(seed))
    right = []
    for (i0_c0, i0_c1), (i1_c0, i1_c1) in scores.tolist():
        text, image = i0_c0 > i0_c1 and i1_c1 > i1_c0, i0_c0 > i1_c0 and i1_c1 > i0_c1
        right.append([image, text, image and text])
    expected = dict(
        zip(("image_acc", "text_acc", "acc"), torch.tensor(right).double().mean(dim=0).tolist(), strict=True)
    )
    assert selection_metrics(scores, ties_fail=True) == pytest.approx(expected)


def test_a_model_without_features_is_told_so(sets: Path) -> None:
    task = open_task(sets, GROUND)
    assert task.unfit(random_subject("cap_toy-XS")) == "compares features, and this model has none"
    assert task.unfit(random_subject("coca_toy-XS")) is None


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    write_toy_sets(tmp_path)
    (tmp_path / "wds_crepe" / "images" / "17.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"swap_obj\.json: sample '17' .*17\.jpg"):
        open_task(tmp_path, CREPE).collect(random_subject())


def test_another_layout_is_refused(sets: Path) -> None:
    suite = parse_suite({"name": "one", "tasks": [{"kind": "selection", "name": "toy_pairs"}]}, "here")
    with pytest.raises(InputError, match="a task of kind selection reads sugar_crepe or winoground"):
        open_suite(suite, sets)
