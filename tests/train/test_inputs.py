"""A step's inputs: what changes nothing is left out, what counts stays."""

from typing import Any

import pytest
import torch

from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.data.stream import Batch
from mammut_clip.models import build_model
from mammut_clip.train.inputs import StepInputs, prepare


def prepared(model: Any, lengths: list[int], **loss: float) -> StepInputs:
    """The inputs of a batch whose captions have these lengths, start and end token included, of 20 positions."""
    ids = torch.zeros(len(lengths), 20, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, 0], ids[row, length - 1] = 94, 95
        ids[row, 1 : length - 1] = torch.arange(2, length)
    images = torch.zeros(len(lengths), 3, 32, 32, dtype=torch.uint8)
    values = {
        "name": "x",
        "model": model,
        "samples_seen": 64,
        "global_batch_size": 4,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
        "loss": loss,
    }
    batch = Batch(images, ids, range(8, 8 + len(lengths)))
    return prepare(batch, validate(RunConfig, values, "test"), torch.device("cpu"))


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


def test_patches_are_dropped_where_the_model_says_so() -> None:
    assert prepared("toy-XS", [3, 8]).kept_patches is None
    values = load_model_config("toy-XS").model_dump()
    values["vision_cfg"]["patch_dropout"] = 0.5
    kept = prepared(values, [3, 8]).kept_patches
    assert kept is not None
    config = load_model_config(values).vision_cfg
    assert kept.shape == (2, config.patches // 2)
