"""Likelihoods of captions, against the logits of all positions, the sum over all texts, and the released code."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from tiny_captioners import FAMILIES, pictures, tiny
from torch import Tensor, nn

from live_memory import LiveMemory
from mammut_clip.config.model import load_model_config
from mammut_clip.models import build_model, from_published
from mammut_clip.models.blocks import Attention
from mammut_clip.models.likelihood import caption_log_likelihoods, label_counts, token_log_likelihoods

CONTEXT = 20


def texts(count: int, seed: int = 0, vocabulary: int = 12) -> Tensor:
    """Ids [count, T] of all lengths, padded; id 0 stands inside some of them."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocabulary - 2, (count, CONTEXT), generator=generator)
    ids[:, 0] = vocabulary - 2
    for row, length in zip(ids, torch.randint(2, CONTEXT + 1, (count,), generator=generator).tolist(), strict=True):
        row[length - 1], row[length:] = vocabulary - 1, 0
    return ids


def from_all_logits(model: Any, images: Tensor, ids: Tensor) -> Tensor:
    """Images [B], ids [B, K, T] -> [B, K], one text beside one image at a time, by the logits of every position."""
    rows = []
    with torch.no_grad():
        for image, candidates in zip(images, ids, strict=True):
            logits = [model.caption_logits(image[None], text[None])[0] for text in candidates]
            pairs = zip(logits, candidates, strict=True)
            rows.append([-F.cross_entropy(each, text[1:], ignore_index=0, reduction="sum") for each, text in pairs])
    return torch.tensor(rows)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), images=st.integers(1, 3), count=st.integers(1, 5), at_once=st.integers(1, 300))
def test_likelihoods_are_those_of_all_logits(family: str, seed: int, images: int, count: int, at_once: int) -> None:
    model, ids = tiny(family, seed, context=CONTEXT), texts(count, seed)
    shared = caption_log_likelihoods(model, pictures(images), ids, at_once)
    expected = from_all_logits(model, pictures(images), ids.expand(images, -1, -1))
    torch.testing.assert_close(shared.float(), expected, rtol=1e-5, atol=1e-5)
    own = torch.stack([texts(count, seed + 1 + image) for image in range(images)])
    expected = from_all_logits(model, pictures(images), own)
    found = caption_log_likelihoods(model, pictures(images), own, at_once)
    torch.testing.assert_close(found.float(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_models_of_the_toy_world_in_float32(family: str) -> None:
    model: Any = build_model(load_model_config(f"{family}_toy-XS"))
    nn.init.normal_(model.caption_decoder().text_projection, std=0.3, generator=torch.Generator().manual_seed(1))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ids = torch.randint(1, 90, (4, 20), generator=torch.Generator().manual_seed(0))
    ids[1, 5:] = 0
    found = caption_log_likelihoods(model, images, ids)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, from_all_logits(model, images, ids.expand(2, -1, -1)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_of_all_texts_of_a_length_sum_to_one(family: str) -> None:
    model = tiny(family, vocabulary=6, context=4, spread=1.0)
    decoder = model.caption_decoder()
    with torch.no_grad():  # id 0 is no label, so it must have no probability
        decoder.ln_final.weight[0], decoder.ln_final.bias[0], decoder.text_projection[0] = 0.0, 1.0, 0.0
        decoder.text_projection[:, 0] = 0.0
        decoder.text_projection[0, 0] = -1e4
    ids = torch.tensor([[4, *labels] for labels in itertools.product(range(1, 6), repeat=3)])
    sums = caption_log_likelihoods(model, pictures(3), ids, tokens_at_once=100).exp().sum(dim=1)
    torch.testing.assert_close(sums, torch.ones(3, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_last_token_is_likelier_than_the_one_that_search_chose(family: str) -> None:
    model, images = tiny(family, seed=3), pictures(4)
    written = model.generate(images, max_length=6)
    for image, row in zip(images, written, strict=True):
        last = int(label_counts(row))
        others = [token for token in range(1, 12) if token not in (row[last], 10)]  # never padding, nor start of text
        edited = row.repeat(len(others), 1)
        edited[:, last] = torch.tensor(others)
        chosen, *rest = caption_log_likelihoods(model, image[None], torch.cat([row[None], edited]))[0].tolist()
        assert chosen > max(rest)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=10)
@given(seed=st.integers(0, 999), order=st.permutations(range(6)), batch=st.permutations(range(3)))
def test_neither_order_nor_company_matters(family: str, seed: int, order: list[int], batch: list[int]) -> None:
    model, images, ids = tiny(family, context=CONTEXT), pictures(3, seed), texts(6, seed)
    together = caption_log_likelihoods(model, images, ids)
    moved = caption_log_likelihoods(model, images[batch], ids[order])
    torch.testing.assert_close(moved, together[batch][:, order], rtol=1e-9, atol=1e-9)
    alone = caption_log_likelihoods(model, images[1:2], ids[order[0]][None])
    torch.testing.assert_close(alone, together[1:2, order[0], None], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["no_mlp", "mlp"])
def test_the_released_code_has_the_same_loss(name: str, shared_dir: Path) -> None:
    with safe_open(shared_dir / f"golden/mammut_tiny_{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        config = json.loads(file.metadata()["config"])
    model: Any = build_model(load_model_config({"family": "mammut", **config}))
    weights = {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}
    model.load_state_dict(from_published(weights))
    ids = tensors["in.text"]
    found = caption_log_likelihoods(model, tensors["in.image"], ids[:, None])
    mean = -found.sum() / label_counts(ids).sum()
    torch.testing.assert_close(mean, tensors["out.caption_loss"], rtol=1e-5, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_is_encoded_once_and_its_keys_are_made_once(family: str) -> None:
    model, towers, contexts = tiny(family, context=CONTEXT), [], []
    model.visual.register_forward_hook(lambda *_: towers.append(1))
    keys_values = Attention.keys_values

    def counted(self: Attention, context: Tensor) -> tuple[Tensor, Tensor]:
        contexts.append(len(context))
        return keys_values(self, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Attention, "keys_values", counted)
        caption_log_likelihoods(model, pictures(2), texts(30), tokens_at_once=64)
    assert towers == [1]
    # one per cross-attention block, and for coca one of the pooler in its image tower
    assert contexts == [2] * (len(model.caption_decoder().cross_attn) + (family == "coca"))


def test_logits_are_never_held_for_all_tokens() -> None:
    vocabulary = 4000
    model, ids = tiny(vocabulary=vocabulary, context=CONTEXT), texts(60, vocabulary=vocabulary)
    whole = 4 * int(label_counts(ids).sum()) * vocabulary * 8
    with LiveMemory() as memory:
        caption_log_likelihoods(model, pictures(4), ids)
    assert whole > 8e7
    assert memory.largest <= 768 * vocabulary * 8
    assert memory.peak < whole


@pytest.mark.parametrize("family", FAMILIES)
def test_autocast_computes_in_bfloat16_and_sums_in_float32(family: str) -> None:
    model, images, ids = tiny(family, context=CONTEXT, spread=0.2).float(), pictures(3).float(), texts(5)
    exact = caption_log_likelihoods(model, images, ids)
    with torch.autocast("cpu", torch.bfloat16):
        found = caption_log_likelihoods(model, images, ids)
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.05)


@given(count=st.integers(0, 2000), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_token_scores_are_log_softmax_in_chunks(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden, head = (torch.randn(shape, generator=generator) for shape in ((count, 5), (5, 9)))
    labels = torch.randint(0, 9, (count,), generator=generator)
    expected = (hidden @ head).log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(token_log_likelihoods(hidden, head, labels), expected)


def test_a_text_of_padding_alone_is_certain() -> None:
    ids = texts(2)
    ids[1, 1:] = 0
    found = caption_log_likelihoods(tiny(context=CONTEXT), pictures(2), ids)
    assert found[:, 1].tolist() == [0.0, 0.0]
    assert (found[:, 0] < 0).all()
    assert label_counts(ids).tolist()[1] == 0


def test_shapes_that_do_not_fit_are_refused() -> None:
    model = tiny(context=CONTEXT)
    for wrong in (texts(3)[0], texts(6).view(3, 2, -1), texts(3)[:0]):
        with pytest.raises(ValueError, match=r"expected ids \[K, T\] or \[2, K, T\], got"):
            caption_log_likelihoods(model, pictures(2), wrong)
