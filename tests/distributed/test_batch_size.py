"""Two real processes on gloo, started once: when batches of different size are refused, where, and in which words."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from gloo_processes import Results, run_processes
from mammut_clip.distributed.batch_size import agree_batch_size, check_batch_size
from mammut_clip.losses import contrastive_loss, sigmoid_loss

WORLD = 2


def test_one_process_may_bring_what_it_likes() -> None:
    for size in (3, 5):
        check_batch_size(size)
        agree_batch_size(size)


def refusal(call: Callable[[], object]) -> torch.Tensor:
    """The message of the ValueError that a call raises, as bytes; empty where it raises none."""
    try:
        call()
    except ValueError as error:
        return torch.tensor(list(str(error).encode()), dtype=torch.uint8)
    return torch.zeros(0, dtype=torch.uint8)


def loss(rows: int, group: dist.ProcessGroup | None = None) -> torch.Tensor:
    return contrastive_loss(torch.ones(rows, 2), torch.ones(rows, 2), torch.tensor(1.0), group).loss


def sigmoid(rows: int) -> torch.Tensor:
    return sigmoid_loss(torch.ones(rows, 2), torch.ones(rows, 2), torch.tensor(1.0), torch.tensor(0.0)).loss


def rank_main(meeting_point: Path, rank: int) -> Results:
    """What is refused, in this order, by each rank."""
    results = {
        "contrastive first": refusal(lambda: loss(4 + rank)),
        "sigmoid first": refusal(lambda: sigmoid(4 + rank)),
        "even": refusal(lambda: loss(4)),
        "even again": refusal(lambda: sigmoid(4)),
    }
    if rank == 1:  # the other rank speaks to nobody meanwhile
        results["alone"] = refusal(lambda: loss(5))
        results["alone, sigmoid"] = refusal(lambda: sigmoid(5))
    results["agreed anew"] = refusal(lambda: agree_batch_size(5))
    results["even at the new size"] = refusal(lambda: loss(5))
    results["old size"] = refusal(lambda: loss(4))
    results["nothing agreed"] = refusal(lambda: agree_batch_size(6 + rank))
    results["nothing left of the last one"] = refusal(lambda: loss(7 + rank))
    results["even in the end"] = refusal(lambda: loss(3))
    results["even in another group"] = refusal(lambda: loss(9, dist.new_group([0, 1])))
    dist.destroy_process_group()
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=WORLD)
    results["even in a new default group"] = refusal(lambda: loss(8))
    return results


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The messages of each rank."""
    folder = tmp_path_factory.mktemp("ranks")
    found = run_processes(partial(rank_main, folder / "second"), WORLD, folder)
    return [{name: bytes(message.tolist()).decode() for name, message in results.items()} for results in found]


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("when", "sizes"),
    [
        ("contrastive first", (4, 5)),
        ("sigmoid first", (4, 5)),
        ("nothing agreed", (6, 7)),
        ("nothing left of the last one", (7, 8)),
    ],
)
def test_different_sizes_are_refused_on_every_rank(
    refusals: list[dict[str, str]], when: str, sizes: tuple[int, int]
) -> None:
    expected = f"every rank must bring the same number of rows: rank 0 has {sizes[0]}, rank 1 has {sizes[1]}"
    assert [found[when] for found in refusals] == [expected] * WORLD


@pytest.mark.distributed
def test_equal_sizes_pass_and_belong_to_one_group(refusals: list[dict[str, str]]) -> None:
    for found in refusals:
        assert {name: message for name, message in found.items() if name.startswith("even") and message} == {}
        assert found["agreed anew"] == ""


@pytest.mark.distributed
def test_once_agreed_a_rank_is_refused_without_the_others(refusals: list[dict[str, str]]) -> None:
    for name in ("alone", "alone, sigmoid"):
        assert refusals[1][name].startswith("rank 1 has 5 rows where all ranks agreed on 4;")
    for rank in range(WORLD):
        assert refusals[rank]["old size"].startswith(f"rank {rank} has 4 rows where all ranks agreed on 5;")
        assert "must call agree_batch_size" in refusals[rank]["old size"]
