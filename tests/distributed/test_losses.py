"""Losses over pairs on 1, 2 and 4 real processes (gloo) against whole logits in float64 in one process.

Four processes are started once. Groups of one and of two of them stand for smaller jobs, and show that ranks within a
group count.
"""

from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from gloo_processes import Results, run_processes
from live_memory import LiveMemory
from mammut_clip.distributed.batch_size import agree_batch_size
from mammut_clip.distributed.collectives import all_reduce_sum, group_rank, group_size
from mammut_clip.losses import PairLoss, contrastive_loss, sigmoid_loss
from pair_references import assert_near, dense_accuracy, dense_contrastive, dense_sigmoid, features, in_float64, scalar

WORLD = 4
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
TILES = {1: (1, 3, 100), 24: (7, 24, 100)}
"""By rows of each rank; 7 divides none of the batches, 100 holds them all.

The gradient of the factor is a difference of like sums: in float32 fewer than 24 rows would cost it digits.
"""

Groups = dict[int, dist.ProcessGroup | None]
"""By size, the group of this rank; None is the default group of all."""


def inputs_of(kind: str, world: int, rows: int, dtype: str) -> dict[str, Tensor]:
    """The leaves of a loss over the whole batch; factor and summand stay float32 beside bf16 features."""
    wide = torch.promote_types(DTYPES[dtype], torch.float32)
    images, texts = features(world * rows, 16, seed=rows, dtype=DTYPES[dtype])
    leaves = {"images": images, "texts": texts, "scale": scalar(1 / 0.07, wide)}
    return leaves | {"bias": scalar(-10.0, wide)} if kind == "sigmoid" else leaves


def own_loss(kind: str, leaves: dict[str, Tensor], own: slice, group: dist.ProcessGroup | None, tile: int) -> PairLoss:
    images, texts, *scalars = leaves.values()
    loss: Callable[..., PairLoss] = {"contrastive": contrastive_loss, "sigmoid": sigmoid_loss}[kind]
    return loss(images[own], texts[own], *scalars, group=group, tile=tile)


def measured(kind: str, group: dist.ProcessGroup | None, rows: int, dtype: str, tile: int) -> Results:
    """Means over ranks of the loss and of the gradients: what a trainer makes of them."""
    world, rank = group_size(group), group_rank(group)
    leaves = inputs_of(kind, world, rows, dtype)
    loss, accuracy = own_loss(kind, leaves, slice(rank * rows, (rank + 1) * rows), group, tile)
    loss.backward()
    results = {"loss": all_reduce_sum(loss, group) / world, "accuracy": all_reduce_sum(accuracy, group) / world}
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        results[name] = all_reduce_sum(leaf.grad, group) / world
    return results


def peak_memory(kind: str, group: dist.ProcessGroup | None, rows: int, width: int, tile: int) -> Tensor:
    """(largest tensor made, most alive at once) of a step on a batch that grows with the group, in bytes."""
    images, texts = features(rows, width, seed=group_rank(group), dtype=torch.float32)
    leaves = {"images": images, "texts": texts, "scale": scalar(10.0, torch.float32)}
    if kind == "sigmoid":
        leaves["bias"] = scalar(-10.0, torch.float32)
    agree_batch_size(rows, group)
    with LiveMemory() as memory:
        own_loss(kind, leaves, slice(None), group, tile).loss.backward()
    return torch.tensor([memory.largest, memory.peak])


def rank_main(rank: int) -> Results:
    """Every case in every group that this rank is in."""
    pairs, singles = [dist.new_group(ranks) for ranks in ([0, 1], [2, 3])], [dist.new_group([r]) for r in range(WORLD)]
    groups: Groups = {1: singles[rank], 2: pairs[rank // 2], 4: None}
    results: Results = {}
    for world, group in groups.items():
        for rows, tiles in TILES.items():
            agree_batch_size(rows, group)
            for kind, dtype, tile in product(("contrastive", "sigmoid"), DTYPES, tiles):
                for name, value in measured(kind, group, rows, dtype, tile).items():
                    results[f"{kind} {world} {rows} {dtype} {tile} {name}"] = value
        for kind in ("contrastive", "sigmoid"):
            results[f"memory {kind} {world}"] = peak_memory(kind, group, rows=64, width=2, tile=16)
    agree_batch_size(24)
    results |= in_training(rank)
    return results


def in_training(rank: int) -> Results:
    """Losses of each rank under autocast and without gradients."""
    own, results = slice(24 * rank, 24 * rank + 24), {}
    for kind in ("contrastive", "sigmoid"):
        leaves = inputs_of(kind, WORLD, 24, "float32")
        results[f"plain {kind}"] = own_loss(kind, leaves, own, None, 5).loss.detach()
        with torch.autocast("cpu", torch.bfloat16):
            results[f"autocast {kind}"] = own_loss(kind, leaves, own, None, 5).loss.detach()
        with torch.no_grad():
            results[f"no_grad {kind}"] = own_loss(kind, leaves, own, None, 5).loss
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return run_processes(rank_main, WORLD, tmp_path_factory.mktemp("ranks"))


@pytest.mark.distributed
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", TILES)
@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("kind", ["contrastive", "sigmoid"])
def test_means_over_ranks_are_those_of_whole_logits(
    results: list[Results], kind: str, world: int, rows: int, dtype: str
) -> None:
    leaves = inputs_of(kind, world, rows, dtype)
    exact = dict(zip(leaves, in_float64(*leaves.values()), strict=True))
    dense: Callable[..., Tensor] = {"contrastive": dense_contrastive, "sigmoid": dense_sigmoid}[kind]
    loss = dense(*exact.values())
    expected = {"loss": loss.detach()} | dict(zip(exact, torch.autograd.grad(loss, list(exact.values())), strict=True))
    for rank, tile in product(range(WORLD), TILES[rows]):
        for name, value in expected.items():
            tolerance = {"float64": 1e-12, "float32": 1e-6, "bfloat16": 1e-6}[dtype]
            if dtype == "bfloat16" and name in ("images", "texts"):
                tolerance = 4e-3  # what comes back has 8 bits
            found = results[rank][f"{kind} {world} {rows} {dtype} {tile} {name}"]
            assert_near(found, value, tolerance, f"rank {rank}, tile {tile}, {name}")


@pytest.mark.distributed
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", TILES)
@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("kind", ["contrastive", "sigmoid"])
def test_mean_accuracy_is_that_of_whole_similarities(
    results: list[Results], kind: str, world: int, rows: int, dtype: str
) -> None:
    images, texts, *_ = in_float64(*inputs_of(kind, world, rows, dtype).values())
    expected = dense_accuracy(images, texts)
    if kind == "contrastive":
        expected = (expected + dense_accuracy(texts, images)) / 2
    for rank, tile in product(range(WORLD), TILES[rows]):
        found = results[rank][f"{kind} {world} {rows} {dtype} {tile} accuracy"]
        assert float(found) == pytest.approx(float(expected), rel=1e-6), f"rank {rank}, tile {tile}"


@pytest.mark.distributed
def test_memory_grows_with_the_gathered_features_and_not_with_their_square(results: list[Results]) -> None:
    rows, width, tile = 64, 2, 16
    for world in (1, 2, 4):
        gathered = world * rows * 2 * width * 4
        largest, peak = results[0][f"memory contrastive {world}"].tolist()
        assert largest == max(rows * tile * 4, gathered)
        _, alone = results[0]["memory contrastive 1"].tolist()
        # the features of all ranks, and four numbers for each of their rows, laid out twice
        assert peak - alone <= gathered + 2 * world * rows * 4 * 4


@pytest.mark.distributed
def test_memory_of_the_ring_does_not_grow_with_its_ranks(results: list[Results]) -> None:
    rows, width, tile = 64, 2, 16
    for world in (1, 2, 4):
        largest, peak = results[0][f"memory sigmoid {world}"].tolist()
        assert largest == rows * tile * 4
        _, alone = results[0]["memory sigmoid 1"].tolist()
        assert peak - alone <= 4 * rows * width * 4  # a block and a gradient coming, a block and a gradient going


@pytest.mark.distributed
@pytest.mark.parametrize("kind", ["contrastive", "sigmoid"])
def test_autocast_and_no_grad_change_no_value(results: list[Results], kind: str) -> None:
    for found in results:
        assert torch.equal(found[f"autocast {kind}"], found[f"plain {kind}"])
        assert torch.equal(found[f"no_grad {kind}"], found[f"plain {kind}"])


@pytest.mark.distributed
def test_every_process_finds_the_same(results: list[Results]) -> None:
    """Also in the other pair of processes, whose ranks in the default group are 2 and 3."""
    for name, value in results[0].items():
        if name.startswith(("contrastive", "sigmoid")):
            assert all(torch.equal(found[name], value) for found in results), name
