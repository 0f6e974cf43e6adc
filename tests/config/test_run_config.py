from typing import Any

import pytest

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.load import parse_yaml, to_yaml, validate
from mammut_clip.config.run import RunConfig


def values(**changes: Any) -> dict[str, Any]:
    return {
        "name": "a-run",
        "model": "toy-XS",
        "samples_seen": "12.8K",
        "global_batch_size": 128,
        "data": {"train": ["data/toy/train"]},
        "optimizer": {"lr": 1e-3},
    } | changes


def message(**changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(RunConfig, values(**changes), "run.yaml")
    return str(caught.value)


OUTSIDE = {
    "family": "siglip",
    "embed_dim": 8,
    "vision": {"timm": "convnext_atto"},
    "text": {"transformers": "my-bert"},
}


@pytest.mark.parametrize("model", ["toy-XS", "mammut_toy-XS", "coca_toy-XS", "cap_toy-XS", "toy-XS-SigLIP", OUTSIDE])
def test_the_resolved_config_is_complete_and_reads_back_equal(model: Any) -> None:
    config = validate(RunConfig, values(model=model), "run.yaml")
    text = to_yaml(config)
    assert "architecture" in text and "betas" in text
    assert validate(RunConfig, parse_yaml(text, "x"), "x") == config


def test_a_name_that_looks_like_a_number_reads_back_as_a_name() -> None:
    config = validate(RunConfig, values(name="1e3", data={"train": ["2E4"]}), "run.yaml")
    assert validate(RunConfig, parse_yaml(to_yaml(config), "x"), "x") == config


def test_steps_follow_from_the_budget() -> None:
    assert validate(RunConfig, values(), "x").steps == 100
    rounded = validate(RunConfig, values(samples_seen=1000), "x")
    assert (rounded.steps, rounded.total_samples) == (8, 1024)


def test_an_architecture_may_be_written_out() -> None:
    known = validate(RunConfig, values(), "x").model.architecture.model_dump(mode="json")
    config = validate(RunConfig, values(model={"name": "mine"} | known), "x")
    assert config.model.name == "mine"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "toy-XXS"}, "did you mean"),
        ({"schedule": {"warmup": "100K"}}, "longer than the run"),
        ({"schedule": {"kind": "const", "cooldown": "1K"}}, "const_cooldown"),
        ({"global_batch_size": 1}, "global_batch_size"),
        ({"global_batch_size": 20_000}, "more than the whole budget"),
        ({"loss": {"contrastive": 0}}, "no other loss"),
        ({"loss": {"contrastive": 0, "caption": 0}}, "nothing to learn"),
        ({"model": "cap_toy-XS", "loss": {"caption": 0}}, "cap has no other loss"),
        ({"model": {"family": "clip", "embed_dim": 8}}, "vision_cfg: this key is required"),
        ({"format": 0}, "format 0"),
        ({"format": 1, "data": {"train": ["x"], "shuffle_shards": 2}}, "of format 1, this program reads format 2"),
        ({"format": 99}, "format 99"),
        ({"name": "../x"}, "letters, digits"),
        ({"optimizer": {"lr": -1}}, "optimizer.lr"),
        ({"optimiser": {"lr": 1}}, "did you mean optimizer?"),
        ({"parallel": {"mode": "fsdp", "shard_size": 4}}, "shard_size belongs to mode hsdp, not to fsdp"),
        ({"parallel": {"cpu_offload": True}}, "cpu_offload needs sharded parameters: mode fsdp or hsdp, not auto"),
        ({"optimizer": {"lr": 1, "options": {"momentum": 0.9}}}, "adamw takes lr, betas, eps and weight_decay"),
        ({"logging": {"wandb_mode": "offline"}}, "wandb_mode needs wandb_project"),
        ({"non_finite": {"then": "pray"}}, "rewind"),
    ],
)
def test_impossible_configs_are_refused_with_the_reason(changes: dict[str, Any], expected: str) -> None:
    assert expected in message(**changes)


def test_a_batch_that_the_processes_cannot_share_is_refused_with_ones_that_fit() -> None:
    config = validate(RunConfig, values(), "run.yaml")
    config.check_world_size(4, "run.yaml")
    with pytest.raises(ConfigError, match="126 or 129"):
        config.check_world_size(3, "run.yaml")


def test_permanent_points_are_the_papers_scales_unless_others_are_given() -> None:
    run = validate(RunConfig, values(samples_seen="12.8M"), "run.yaml")
    assert run.permanent_points == (1_280_000, 1_980_000, 3_070_000, 4_430_000, 6_400_000, 9_050_000)
    own = validate(RunConfig, values(samples_seen="12.8M", checkpoint={"permanent": ["6.4M", "1K", "1K"]}), "run.yaml")
    assert own.permanent_points == (1_000, 6_400_000)
    none = validate(RunConfig, values(samples_seen="12.8M", checkpoint={"permanent": []}), "run.yaml")
    assert none.permanent_points == ()
