"""Gradients of a step on one process: what it says of itself, dropout, memory, and what is refused.

That micro-batches change nothing, on one process and on several: tests/distributed/test_accumulation.py.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from live_memory import LiveMemory
from mammut_clip.config.errors import ConfigError
from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.data.stream import Batch
from mammut_clip.distributed import Process
from mammut_clip.losses import contrastive_loss
from mammut_clip.train.inputs import prepare
from mammut_clip.train.parallel import build_parallel
from mammut_clip.train.step import LossTerms, compute_gradients

CPU = torch.device("cpu")
ALONE = Process(0, 1, 0, CPU)


def config_of(model: Any, rows: int = 8, micro_batch_size: int | None = None, **changes: Any) -> RunConfig:
    values = {
        "name": "x",
        "model": model,
        "samples_seen": 100 * rows,
        "global_batch_size": rows,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
        "parallel": {"micro_batch_size": micro_batch_size},
    }
    return validate(RunConfig, values | changes, "test")


def batch_of(rows: int, start: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (rows, 3, 32, 32), generator=generator, dtype=torch.uint8)
    ids = torch.randint(2, 50, (rows, 20), generator=generator)
    return Batch(images, ids, range(start, start + rows))


def build(config: RunConfig) -> nn.Module:
    return build_parallel(config.model.architecture, config, ALONE).train()


def step(model: nn.Module, config: RunConfig, start: int = 0) -> tuple[LossTerms, Tensor]:
    """What a step says, and its gradient in one piece."""
    model.zero_grad(set_to_none=True)
    losses = compute_gradients(model, prepare(batch_of(config.global_batch_size, start), config, CPU), config, ALONE)
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return losses, torch.cat(gradients)


@pytest.mark.parametrize("size", [None, 3])
def test_the_total_is_the_weighted_sum_of_the_terms(size: int | None) -> None:
    config = config_of("mammut_toy-XS", micro_batch_size=size, loss={"contrastive": 0.5, "caption": 3})
    losses, _ = step(build(config), config)
    assert losses.contrastive is not None and losses.caption is not None and losses.accuracy is not None
    torch.testing.assert_close(losses.total, 0.5 * losses.contrastive + 3 * losses.caption)
    assert all(term.shape == () and not term.requires_grad for term in vars(losses).values())


@pytest.mark.parametrize("size", [None, 3])
@pytest.mark.parametrize(
    ("weights", "absent"),
    [({"contrastive": 0}, {"contrastive", "accuracy"}), ({"caption": 0}, {"caption"})],
)
def test_a_term_of_weight_0_is_not_computed(size: int | None, weights: dict[str, float], absent: set[str]) -> None:
    config = config_of("mammut_toy-XS", micro_batch_size=size, loss=weights)
    losses, gradient = step(build(config), config)
    assert {name for name, term in vars(losses).items() if term is None} == absent
    assert gradient.isfinite().all() and gradient.any()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small BERT's config with much dropout."""
    from transformers import BertConfig

    folder = tmp_path_factory.mktemp("bert")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertConfig(vocab_size=60, hidden_dropout_prob=0.3, **sizes).save_pretrained(folder)
    return folder


def with_dropout(bert: Path, **options: Any) -> RunConfig:
    """A CLIP of our image tower and that BERT."""
    values = load_model_config("toy-XS").model_dump()
    text = {"hf_model_name": str(bert), "hf_tokenizer_name": str(bert), "context_length": 20}
    return config_of(values | {"text_cfg": text}, **options)


def test_dropout_depends_on_seed_and_position_and_not_on_what_ran_before(bert: Path) -> None:
    config = with_dropout(bert)
    model = build(config)
    _, first = step(model, config)
    torch.randn(3)
    _, again = step(model, config)
    _, elsewhere = step(model, config, start=8)
    assert torch.equal(first, again)
    assert not torch.allclose(first, elsewhere, rtol=0.1)


def test_both_passes_over_a_micro_batch_drop_the_same(bert: Path) -> None:
    """Against all micro-batches in one graph, each drawn once."""
    config = with_dropout(bert, micro_batch_size=3)
    model = build(config)
    losses, gradient = step(model, config)
    model.zero_grad(set_to_none=True)
    outputs = []
    for rows in prepare(batch_of(8), config, CPU).micro_batches:
        torch.manual_seed(hash((config.seed, rows.positions.start, 0)))
        outputs.append(model(rows.normalized_images(), rows.ids))
    images, texts = (torch.cat(features) for features in list(zip(*outputs, strict=True))[:2])
    loss = contrastive_loss(images, texts, outputs[0].logit_scale).loss
    loss.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
    torch.testing.assert_close(losses.total, loss.detach())
    assert (gradient - expected).norm() < 1e-5 * expected.norm()


def peak(config: RunConfig) -> int:
    """Most bytes that a step holds, beyond its parameters and inputs."""
    model = build(config)
    inputs = prepare(batch_of(config.global_batch_size), config, CPU)
    with LiveMemory() as memory:
        compute_gradients(model, inputs, config, ALONE)
    return memory.peak


@pytest.mark.parametrize("name", ["toy-XS", "mammut_toy-XS", "cap_toy-XS"])
def test_nothing_but_features_and_gradients_outlives_a_micro_batch(name: str) -> None:
    config = config_of(name, rows=64, micro_batch_size=8)
    model = build(config)
    gradients = sum(parameter.numel() for parameter in model.parameters()) * 4
    embedding = config.model.architecture.embed_dim
    features = 64 * embedding * 4 * 2
    pictures = 8 * 3 * 32 * 32 * 4
    part, whole, in_parts = peak(config_of(name, rows=8)), peak(config_of(name, rows=64)), peak(config)
    # the features of all in pieces, in one piece, and what the loss makes of them and their gradients
    assert in_parts <= part + gradients + 5 * features + 2 * pictures
    assert in_parts < 0.4 * whole


def clip_with_batch_norms() -> dict[str, Any]:
    values = load_model_config("toy-XS").model_dump()
    return values | {"vision_cfg": {"timm_model_name": "test_resnet", "image_size": 32}}


def test_batch_norms_are_refused_where_they_would_see_micro_batches_only() -> None:
    with pytest.raises(ConfigError, match=r"parallel\.micro_batch_size = 4: .*batch norms"):
        build(config_of(clip_with_batch_norms(), micro_batch_size=4))
    build(config_of(clip_with_batch_norms(), micro_batch_size=8))
