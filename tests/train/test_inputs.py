"""A step's inputs: what changes nothing is left out, what counts stays."""

from typing import Any

import pytest
import torch

from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.data.stream import Batch
from mammut_clip.models import build_model
from mammut_clip.train.inputs import MicroBatch, StepInputs, prepare


def step_inputs(model: Any, lengths: list[int], size: int | None = None, **loss: float) -> StepInputs:
    """The inputs of a batch whose captions have these lengths, start and end token included, of 20 positions; `size`
    rows at a time."""
    ids = torch.zeros(len(lengths), 20, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, 0], ids[row, length - 1] = 94, 95
        ids[row, 1 : length - 1] = torch.arange(2, length)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(lengths), 3, 32, 32), generator=generator, dtype=torch.uint8)
    values = {
        "name": "x",
        "model": model,
        "samples_seen": 64,
        "global_batch_size": 4,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
        "loss": loss,
        "parallel": {"micro_batch_size": size},
    }
    batch = Batch(images, ids, range(8, 8 + len(lengths)))
    return prepare(batch, validate(RunConfig, values, "test"), torch.device("cpu"))


def prepared(model: Any, lengths: list[int], **loss: float) -> MicroBatch:
    """The same, all at a time."""
    (rows,) = step_inputs(model, lengths, **loss).micro_batches
    return rows


@pytest.mark.parametrize(("lengths", "kept"), [([3, 8], 8), ([3, 9], 16), ([20], 20), ([17], 20)])
def test_clip_text_is_cut_behind_the_longest_caption_without_effect(lengths: list[int], kept: int) -> None:
    cut, whole = prepared("toy-XS", lengths).ids, prepared("mammut_toy-XS", lengths).ids
    assert cut is not None and whole is not None
    assert cut.shape == (len(lengths), kept)
    assert whole.shape == (len(lengths), 20), "MaMMUT averages over all positions"
    model = build_model(load_model_config("toy-XS")).eval()
    torch.testing.assert_close(model.encode_text(cut), model.encode_text(whole), atol=1e-6, rtol=1e-6)


def test_passes_of_weight_zero_are_not_made() -> None:
    both = prepared("mammut_toy-XS", [3, 8])
    assert both.ids is not None and both.captions is not None
    assert both.captions.ids.shape == (2, 8)
    assert len(both.captions.labels) == 2 + 7
    assert prepared("mammut_toy-XS", [3, 8], caption=0).captions is None
    assert prepared("mammut_toy-XS", [3, 8], contrastive=0).ids is None
    assert prepared("toy-XS", [3, 8]).captions is None


def clip_that_drops_patches() -> dict[str, Any]:
    values = load_model_config("toy-XS").model_dump()
    values["vision_cfg"]["patch_dropout"] = 0.5
    return values


def test_patches_are_dropped_where_the_model_says_so() -> None:
    assert prepared("toy-XS", [3, 8]).kept_patches is None
    values = clip_that_drops_patches()
    kept = prepared(values, [3, 8]).kept_patches
    assert kept is not None
    config = load_model_config(values).vision_cfg
    assert kept.shape == (2, config.patches // 2)


@pytest.mark.parametrize(("size", "sizes"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (4, [4, 1]), (5, [5]), (9, [5])])
def test_micro_batches_together_are_the_batch(size: int, sizes: list[int]) -> None:
    lengths = [3, 8, 20, 5, 12]
    parts = step_inputs(clip_that_drops_patches(), lengths, size).micro_batches
    whole = prepared(clip_that_drops_patches(), lengths)
    assert [len(part.positions) for part in parts] == sizes
    assert [position for part in parts for position in part.positions] == list(whole.positions)
    for part in parts:
        assert len(part.tensors()) == 3
        # several wait as bytes, to be normalised when it is their turn
        assert part.images.dtype == (torch.uint8 if len(sizes) > 1 else torch.float32)
    assert torch.equal(torch.cat([part.normalized_images() for part in parts]), whole.normalized_images())
    assert whole.kept_patches is not None
    assert torch.equal(torch.cat([part.kept_patches for part in parts]), whole.kept_patches)  # type: ignore[arg-type]


def test_each_micro_batch_is_as_long_as_its_own_captions() -> None:
    """What the longest caption of the batch would add to the others is padding."""
    inputs = step_inputs("mammut_toy-XS", [3, 4, 20, 18, 5], 2)
    captions = [part.captions for part in inputs.micro_batches if part.captions is not None]
    assert [task.ids.shape[1] for task in captions] == [8, 19, 8]
    labels = torch.cat([task.labels for task in captions])
    assert torch.equal(labels, prepared("mammut_toy-XS", [3, 4, 20, 18, 5]).captions.labels)  # type: ignore[union-attr]
    assert inputs.caption_tokens == len(labels) == 2 + 3 + 19 + 17 + 4
    assert step_inputs("toy-XS", [3, 4], 1).caption_tokens == 0
