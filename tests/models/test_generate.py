"""Captions that models write, against search without a cache, brute force, and transformers' beam search."""

import bisect
import itertools
import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from tiny_captioners import FAMILIES, pictures, tiny
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mammut_clip.config.captioning import Beam, Greedy, Method, Nucleus
from mammut_clip.config.errors import InputError
from mammut_clip.config.towers import TextConfig
from mammut_clip.models.blocks import CrossAttentionBlock
from mammut_clip.models.generate import Captioner
from mammut_clip.models.search import draw

METHODS = (Greedy(), Nucleus(top_p=0.95, temperature=1.3), Beam(beams=3))


def log_probabilities(model: Captioner, images: Tensor, ids: Tensor) -> Tensor:
    """[B, L, V] of the token after each of ids [B, L], from one pass over the whole text."""
    with torch.no_grad():
        padded = torch.cat([ids, torch.ones_like(ids[:, :1])], dim=1)  # caption_logits leaves the last one out
        return model.caption_logits(images, padded).log_softmax(dim=-1)  # type: ignore[operator]


def greedy_without_cache(model: Captioner, images: Tensor, longest: int, beginning: list[int]) -> list[list[int]]:
    """Everything is computed again for every token, one picture at a time."""
    rows = []
    for image in images:
        row = list(beginning)
        while len(row) < longest and row[-1] != end(model):
            scores = log_probabilities(model, image[None], torch.tensor([row]))[0, -1]
            scores[[0, start(model)]] = -torch.inf
            row.append(int(scores.argmax()))
        rows.append(row)
    return rows


def text_config(model: Captioner) -> TextConfig:
    assert isinstance(model.config.text_cfg, TextConfig)
    return model.config.text_cfg


def start(model: Captioner) -> int:
    return text_config(model).start_id


def end(model: Captioner) -> int:
    return text_config(model).end_id


def unpadded(ids: Tensor) -> list[list[int]]:
    """The rows without their padding, which must not stand between tokens."""
    rows = [[token for token in row if token != 0] for row in ids.tolist()]
    assert all(row == padded[: len(row)] for row, padded in zip(rows, ids.tolist(), strict=True))
    return rows


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), longest=st.integers(2, 9))
def test_greedy_captions_are_those_of_search_without_a_cache(family: str, seed: int, longest: int) -> None:
    model, images = tiny(family, seed), pictures(3, seed)
    ids = model.generate(images, max_length=longest)
    assert ids.dtype == torch.long
    assert unpadded(ids) == greedy_without_cache(model, images, longest, [start(model)])


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_token_by_token_are_those_of_one_pass(family: str) -> None:
    model, images = tiny(family, seed=4), pictures(3)
    ids = torch.randint(1, 10, (3, 8), generator=torch.Generator().manual_seed(0))
    expected = log_probabilities(model, images, ids)
    with torch.no_grad():
        cache = model.start_captions(images, longest=8)
        first = model.next_logits(ids[:, :3], cache)
        later = [model.next_logits(ids[:, place, None], cache) for place in range(3, 8)]
    steps = torch.stack([first, *later], dim=1).log_softmax(dim=-1)
    torch.testing.assert_close(steps.float(), expected[:, 2:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_is_gone_on_from(family: str) -> None:
    model, images = tiny(family, seed=3), pictures(4)
    ids = model.generate(images, prompt=torch.tensor([5, 2, 7]))
    assert unpadded(ids) == greedy_without_cache(model, images, 9, [start(model), 5, 2, 7])
    for method in METHODS[1:]:
        assert model.generate(images, method=method, prompt=torch.tensor([5, 2])).tolist()[0][:3] == [10, 5, 2]


@settings(max_examples=30, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    seed=st.integers(0, 10**6),
    method=st.sampled_from(METHODS),
    longest=st.integers(2, 9),
)
def test_every_method_keeps_the_rules(family: str, seed: int, method: Method, longest: int) -> None:
    model = tiny(family, seed)
    rows = unpadded(model.generate(pictures(4, seed), method=method, max_length=longest))
    for row in rows:
        assert row[0] == start(model) and start(model) not in row[1:]
        assert end(model) not in row[:-1]
        assert len(row) == longest or row[-1] == end(model)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_pictures_of_a_batch_do_not_influence_each_other(method: Method) -> None:
    model, images = tiny(seed=8), pictures(6)
    together = unpadded(model.generate(images, method=method, first_row=20))
    assert len({tuple(row) for row in together}) > 3
    for row, image in enumerate(images):
        alone = model.generate(image[None], method=method, first_row=20 + row)
        assert unpadded(alone) == [together[row]]


def always_ending(model: Captioner, bias: float) -> None:
    """Make the end of text the likeliest token always (bias > 0) or never."""
    with torch.no_grad():
        model.text.ln_final.weight.zero_()  # type: ignore[union-attr, operator]
        model.text.ln_final.bias.fill_(1.0)  # type: ignore[union-attr, operator]
        model.text.text_projection.zero_()  # type: ignore[union-attr, operator]
        model.text.text_projection[:, end(model)] = bias  # type: ignore[union-attr, index]


@pytest.mark.parametrize("method", [Greedy(), Nucleus(top_p=0.1), Beam(beams=1)], ids=lambda m: type(m).__name__)
def test_writing_stops_when_every_caption_has_ended(method: Method) -> None:
    model = tiny()
    always_ending(model, 1.0)
    assert model.generate(pictures(2), method=method).tolist() == [[10, 11]] * 2
    always_ending(model, -1.0)
    assert model.generate(pictures(2), method=method, max_length=5).shape == (2, 5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_token_costs_one_position_and_an_image_is_read_once(family: str) -> None:
    model, images = tiny(family, context=24), pictures(2)
    last = model.text_decoder if family == "coca" else model.text
    last.text_projection.data[:, end(model)] = 0
    last.ln_final.bias.data.zero_()
    with FlopCounterMode(display=False) as cached:
        ids = model.generate(images, max_length=24)
    assert ids.shape == (2, 24)
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        model.caption_logits(images, ids)
    assert cached.get_total_flops() <= whole.get_total_flops()

    read: list[int] = []
    for block in model.modules():
        if isinstance(block, CrossAttentionBlock):
            block.ln_1_kv.register_forward_hook(lambda _, inputs, __: read.append(len(inputs[0])))
    model.generate(images, method=Beam(beams=4))
    assert read == [2, 2]  # two blocks, each once, for two pictures and not for eight beams


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("family", FAMILIES)
def test_captions_in_bf16(family: str, method: Method) -> None:
    model, images = tiny(family).float(), pictures(3).float()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = unpadded(model.generate(images, method=method))
    half = unpadded(model.bfloat16().generate(images.bfloat16(), method=method))
    for row in (*mixed, *half):
        assert row[0] == start(model)
        assert len(row) == 9 or row[-1] == end(model)


def test_what_does_not_fit_is_refused() -> None:
    model = tiny()
    for wrong in (0, 1, 10):
        with pytest.raises(InputError, match=f"max_length = {wrong}: expected 2 to 9"):
            model.generate(pictures(1), max_length=wrong)
    with pytest.raises(InputError, match="start of text and the prompt take 4"):
        model.generate(pictures(1), max_length=4, prompt=torch.tensor([1, 2, 3]))
    for token in (0, 10, 11):
        with pytest.raises(InputError, match="expected ids from 1 to 9"):
            model.generate(pictures(1), prompt=torch.tensor([3, token]))


# nucleus


@pytest.mark.parametrize(("top_p", "temperature"), [(1.0, 1.0), (1.0, 2.0), (0.7, 1.0), (0.5, 1.5)])
def test_drawn_captions_follow_the_models_probabilities(top_p: float, temperature: float) -> None:
    model, image, rows = tiny(seed=2, vocabulary=7, spread=0.25), pictures(1, seed=1), 20_000
    method = Nucleus(top_p=top_p, temperature=temperature, seed=4)
    drawn = model.generate(image.expand(rows, -1, -1, -1), method=method, max_length=3)

    def next_token(beginning: list[int]) -> dict[int, float]:
        scores = log_probabilities(model, image, torch.tensor([beginning]))[0, -1]
        allowed = {token: math.exp(float(scores[token]) / temperature) for token in (1, 2, 3, 4, 6)}
        return nucleus(allowed, top_p)

    expected = {
        (first, second): one * two
        for first, one in next_token([5]).items()
        for second, two in (next_token([5, first]) if first != 6 else {0: 1.0}).items()
    }
    counts = Counter(tuple(row[1:]) for row in drawn.tolist())
    assert counts.keys() <= expected.keys()
    assert len(expected) > 3 and min(expected.values()) * rows > 5  # the test of the counts needs some of each
    shares = [rows * probability for probability in expected.values()]
    assert chisquare([counts[pair] for pair in expected], shares).pvalue > 1e-3


def nucleus(weights: dict[int, float], top_p: float) -> dict[int, float]:
    """The probabilities of the fewest likeliest tokens that make up `top_p` of the whole."""
    total, kept = sum(weights.values()), dict[int, float]()
    for token in sorted(weights, key=lambda token: -weights[token]):
        if sum(kept.values()) >= top_p * total:
            break
        kept[token] = weights[token]
    return {token: weight / sum(kept.values()) for token, weight in kept.items()}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-160, 160), min_size=2, max_size=12, unique=True),
    st.floats(0, 1, exclude_max=True, width=32),
    st.floats(0.01, 1),
)
def test_no_number_draws_a_token_outside_the_nucleus(eighths: list[int], number: float, top_p: float) -> None:
    logits = [value / 8 for value in eighths]  # apart from each other in float32 too
    never = [*logits, -math.inf]
    token = int(draw(torch.tensor([never]), torch.tensor([number]), top_p))
    top = max(logits)
    kept = nucleus({token: math.exp(logit - top) for token, logit in enumerate(logits)}, min(1.0, top_p + 1e-5))
    assert token in kept


@pytest.mark.parametrize("peak", [0.0, 4.0], ids=["flat", "peaked"])  # more and less than is looked at first
def test_draws_from_a_large_vocabulary(peak: float) -> None:
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(0)) * peak
    logits += torch.linspace(0, 0.1, 5000)  # no two alike
    numbers = (torch.arange(200) + 0.5) / 200
    tokens = draw(logits.expand(200, -1), numbers, top_p=0.9)
    kept = nucleus(dict(enumerate(logits.double().exp().tolist())), top_p=0.9)
    assert (len(kept) > 1024) == (peak == 0)
    bounds = list(itertools.accumulate(kept.values()))
    expected = [list(kept)[bisect.bisect(bounds, float(number))] for number in numbers]
    agreeing = sum(token == other for token, other in zip(tokens.tolist(), expected, strict=True))
    assert agreeing >= 198  # a number next to a bound may fall on either side in float32


def test_a_small_nucleus_and_a_low_temperature_are_greedy() -> None:
    model, images = tiny(seed=5), pictures(8)
    greedy = model.generate(images)
    assert torch.equal(model.generate(images, method=Nucleus(top_p=1e-6)), greedy)
    assert torch.equal(model.generate(images, method=Nucleus(top_p=1.0, temperature=1e-6)), greedy)


def test_the_seed_decides() -> None:
    model, images = tiny(seed=6), pictures(8)
    first, other = Nucleus(seed=1), Nucleus(seed=2)
    assert torch.equal(model.generate(images, method=first), model.generate(images, method=first))
    assert not torch.equal(model.generate(images, method=first), model.generate(images, method=other))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model.generate(images, method=first)
    assert torch.equal(torch.get_rng_state(), before)


# beam search


def best_of_all(model: Captioner, image: Tensor, longest: int, penalty: float) -> list[int]:
    """The caption of the largest score, found by scoring every caption there is."""
    words = range(1, start(model))
    best, best_score = [], -math.inf
    for count in range(longest):
        last = [] if count == longest - 1 else [end(model)]
        ids = torch.tensor([[start(model), *middle, *last] for middle in itertools.product(words, repeat=count)])
        logp = log_probabilities(model, image.expand(len(ids), *image.shape), ids)[:, :-1]
        scores = logp.gather(-1, ids[:, 1:, None]).sum(dim=(1, 2)) / (count + len(last)) ** penalty
        if scores.max() > best_score:
            best, best_score = ids[int(scores.argmax())].tolist(), float(scores.max())
    return best


@pytest.mark.parametrize(("family", "penalty"), [("mammut", 0.0), ("cap", 0.7), ("coca", 1.0), ("mammut", 2.0)])
def test_a_wide_beam_finds_the_best_of_all_captions(family: str, penalty: float) -> None:
    for seed in range(3):
        model, images = tiny(family, seed, vocabulary=6, context=5), pictures(2, seed)
        ids = model.generate(images, method=Beam(beams=200, length_penalty=penalty))
        assert unpadded(ids) == [best_of_all(model, image, 5, penalty) for image in images]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(FAMILIES), st.integers(0, 10**6), st.floats(0, 2))
def test_one_beam_is_greedy(family: str, seed: int, penalty: float) -> None:
    model, images = tiny(family, seed), pictures(3, seed)
    beam = model.generate(images, method=Beam(beams=1, length_penalty=penalty))
    assert torch.equal(beam, model.generate(images))


@pytest.mark.parametrize("beams", [2, 3, 4])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 1.7])
def test_beam_search_is_that_of_transformers(beams: int, penalty: float) -> None:
    differs = 0
    for seed in range(4):
        model, images = tiny(FAMILIES[seed % 3], seed, vocabulary=14, context=8), pictures(3, seed)
        ours = unpadded(model.generate(images, method=Beam(beams=beams, length_penalty=penalty)))
        assert ours == searched_by_transformers(model, images, beams, penalty)
        differs += ours != unpadded(model.generate(images))
    assert differs


def searched_by_transformers(model: Captioner, images: Tensor, beams: int, penalty: float) -> list[list[int]]:
    from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import CausalLMOutput

    class Wrapped(PreTrainedModel, GenerationMixin):
        config_class = PretrainedConfig
        main_input_name = "input_ids"

        def __init__(self, config: PretrainedConfig) -> None:
            super().__init__(config)
            self.inner = model
            self.post_init()

        def _init_weights(self, module: nn.Module) -> None:
            pass

        def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Tensor]:
            return {"input_ids": input_ids, "images": kwargs["images"]}

        def forward(self, input_ids: Tensor, images: Tensor, **_: Any) -> CausalLMOutput:
            return CausalLMOutput(logits=log_probabilities(self.inner, images, input_ids))

    text = text_config(model)
    wrapped = Wrapped(PretrainedConfig(vocab_size=text.vocab_size)).eval()
    settings = GenerationConfig(
        max_length=text.context_length,
        num_beams=beams,
        length_penalty=penalty,
        early_stopping=True,
        do_sample=False,
        use_cache=False,
        pad_token_id=0,
        bos_token_id=text.start_id,
        eos_token_id=text.end_id,
        suppress_tokens=[0, text.start_id],
    )
    ids = torch.full((len(images), 1), text.start_id)
    rows = wrapped.generate(ids, images=images, generation_config=settings).tolist()
    return [row[: row.index(text.end_id) + 1] if text.end_id in row else row for row in rows]  # it pads with the end
