"""Which layout a run gets: as configured, or by what fits into memory."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.cost import UnmeasuredTowerError, parameters, training_memory_gb
from mammut_clip.cost.layouts import Layout, choose_layout, spreads_of

GB = 10**9


def config_of(model: Any = "ViT-L-14", **parallel: Any) -> RunConfig:
    values = {
        "name": "x",
        "model": model,
        "samples_seen": 2**20,
        "global_batch_size": 4096,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
        "parallel": parallel,
    }
    return validate(RunConfig, values, "test")


def chosen(config: RunConfig, world: int, node: int, memory: int | None = None, **options: Any) -> Layout:
    return choose_layout(config.model.architecture, config, world, node, memory, **options)


@pytest.mark.parametrize(
    ("parallel", "world", "node", "expected"),
    [
        ({"mode": "ddp"}, 8, 4, Layout("ddp", 1, 8)),
        ({"mode": "fsdp"}, 8, 4, Layout("fsdp", 8, 1)),
        ({"mode": "hsdp"}, 8, 4, Layout("hsdp", 4, 2)),
        ({"mode": "hsdp"}, 8, 8, Layout("hsdp", 8, 1)),
        ({"mode": "hsdp", "shard_size": 2}, 8, 4, Layout("hsdp", 2, 4)),
        ({"mode": "hsdp", "shard_size": 8}, 16, 4, Layout("hsdp", 8, 2)),
    ],
)
def test_several_processes_are_laid_out_as_configured(
    parallel: dict[str, Any], world: int, node: int, expected: Layout
) -> None:
    assert chosen(config_of(**parallel), world, node) == expected


@pytest.mark.parametrize("mode", ["auto", "ddp", "fsdp", "hsdp"])
def test_one_process_is_sharded_only_where_that_is_asked_for_and_there_is_a_group(mode: str) -> None:
    config = config_of(mode=mode)
    assert chosen(config, 1, 1, 80 * GB) == Layout("single")
    grouped = chosen(config, 1, 1, 80 * GB, has_group=True)
    assert grouped == (Layout("fsdp", 1, 1) if mode in ("fsdp", "hsdp") else Layout("single"))


@pytest.mark.parametrize(("size", "world", "node"), [(3, 8, 4), (16, 8, 8), (6, 24, 8), (4, 12, 6)])
def test_a_shard_size_that_does_not_fit_is_refused(size: int, world: int, node: int) -> None:
    with pytest.raises(ConfigError, match=f"parallel.shard_size = {size}: ") as caught:
        chosen(config_of(mode="hsdp", shard_size=size), world, node)
    assert str(world) in str(caught.value) or str(node) in str(caught.value)


def needed(config: RunConfig, layout: Layout) -> float:
    world = layout.shard * layout.replicate
    parallel = config.parallel
    return training_memory_gb(
        config.model.architecture,
        config.global_batch_size // world,
        world,
        parallel.precision,
        parallel.recompute,
        shards=layout.shard,
        micro_batch=parallel.micro_batch_size,
    ).total


def test_auto_takes_the_first_that_leaves_room() -> None:
    """From much memory to little: whole copies, copies over nodes, one copy; and the last where nothing fits."""
    config = config_of("ViT-L-14", precision="bf16", micro_batch_size=8)
    ddp, hsdp, fsdp = Layout("ddp", 1, 32), Layout("hsdp", 4, 8), Layout("fsdp", 32, 1)
    needs = {layout: needed(config, layout) for layout in (ddp, hsdp, fsdp)}
    assert needs[ddp] > needs[hsdp] > needs[fsdp], "or there is nothing to choose"
    for layout, need in needs.items():
        assert chosen(config, 32, 4, int(need / 0.8 * GB) + 1) == layout
        assert chosen(config, 32, 4, int(need / 0.8 * GB * 0.999)) != layout or layout == fsdp
    little = chosen(config, 32, 4, GB)
    assert little == fsdp
    assert "none of them fits" in little.reason


@given(memory=st.integers(1, 200), world=st.sampled_from([2, 4, 8]), nodes=st.sampled_from([1, 2]))
def test_auto_asks_for_copies_over_nodes_only_where_there_are_several(memory: int, world: int, nodes: int) -> None:
    layout = chosen(config_of("ViT-L-14"), world, world // nodes, memory * GB)
    assert layout.shard * layout.replicate == world
    if layout.mode == "hsdp":
        assert nodes == 2
        assert layout.replicate == 2
    assert layout.mode in layout.reason


def test_micro_batches_and_recomputation_leave_room_for_whole_copies() -> None:
    plain = config_of("ViT-B-32")
    spared = config_of("ViT-B-32", micro_batch_size=16, recompute="full")
    memory = int(needed(plain, Layout("ddp", 1, 4)) * GB)
    assert chosen(plain, 4, 4, memory).mode == "fsdp"
    assert chosen(spared, 4, 4, memory).mode == "ddp"


def test_without_knowing_the_memory_auto_shards() -> None:
    assert chosen(config_of("toy-XS"), 2, 2, None) == Layout("fsdp", 2, 1)


def test_towers_of_other_packages_are_laid_out_by_their_parameters() -> None:
    tower = {"timm_model_name": "resnet50", "image_size": 224}
    cost = {"params": 10**9, "gflops_paper": 1.0, "gflops_exact_forward": 1.0, "gflops_exact_step": 3.0}
    values = load_model_config("toy-XS").model_dump() | {"vision_cfg": tower | {"cost": cost}}
    config = config_of(values)
    state = 16 * parameters(config.model.architecture).total
    assert chosen(config, 8, 4, 4 * state) == Layout("ddp", 1, 8)
    assert chosen(config, 8, 4, 2 * state) == Layout("hsdp", 4, 2)
    assert chosen(config, 8, 4, state // 2) == Layout("fsdp", 8, 1)


def test_offloading_needs_something_sharded() -> None:
    config = config_of("toy-XS", mode="fsdp", cpu_offload=True)
    with pytest.raises(ConfigError, match=r"parallel\.cpu_offload = True: .*torchrun"):
        chosen(config, 1, 1)
    assert chosen(config, 1, 1, has_group=True) == Layout("fsdp", 1, 1)


def test_a_tower_of_unknown_size_is_laid_out_as_configured_but_not_chosen_for() -> None:
    values = load_model_config("toy-XS").model_dump() | {"vision_cfg": {"timm_model_name": "resnet50"}}
    assert chosen(config_of(values, mode="ddp"), 8, 4, 80 * GB) == Layout("ddp", 1, 8)
    with pytest.raises(UnmeasuredTowerError, match="resnet50"):
        chosen(config_of(values), 8, 4, 80 * GB)


def test_spreads_are_those_that_auto_chooses_from_until_the_memory_is_known() -> None:
    config = config_of("ViT-L-14", precision="bf16", micro_batch_size=8)
    unknown = spreads_of(config, 32, 4, None)
    assert [(spread.mode, spread.shards) for spread in unknown] == [("ddp", 1), ("hsdp", 4), ("fsdp", 32)]
    assert [(spread.mode, spread.shards) for spread in spreads_of(config, 4, 4, None)] == [("ddp", 1), ("fsdp", 4)]
    for spread in unknown:
        assert spread.memory is not None
        assert spreads_of(config, 32, 4, spread.memory.total / 0.79) == (spread,)
    (alone,) = spreads_of(config, 0, 0, None)
    assert (alone.mode, alone.shards) == ("single", 1)
