"""Three real processes on gloo, started once: what each collective gives to each rank."""

import pytest
import torch
import torch.distributed as dist

from gloo_processes import Results, run_processes
from mammut_clip.config.errors import ConfigError, InputError, Problem
from mammut_clip.distributed.collectives import (
    all_gather_rows,
    all_reduce_sum,
    group_rank,
    group_size,
    on_main,
    pass_on,
)

WORLD = 3


def test_one_process_needs_no_group() -> None:
    tensor = torch.randn(3, 2, requires_grad=True)
    for result in (all_gather_rows(tensor), all_reduce_sum(tensor), pass_on(tensor).wait()):
        assert torch.equal(result, tensor)
        assert not result.requires_grad
    assert (group_rank(), group_size()) == (0, 1)


REFUSAL = ConfigError("a.yaml", [Problem("lr", "expected more", 1)])


def refuse() -> int:
    raise REFUSAL


def rank_main(rank: int) -> Results:
    """Tensors that tell ranks apart, through every collective; the small group has another order of ranks' numbers."""
    own = torch.full((2, 3), float(rank)) + torch.tensor([[0.0], [0.25]])
    first, second = pass_on(own, tag=1), pass_on(own + 10, tag=1)
    results = {
        "position": torch.tensor([group_rank(), group_size()]),
        "gathered": all_gather_rows(own),
        "gathered transposed": all_gather_rows(own.T),
        "gathered bf16": all_gather_rows(own.bfloat16()),
        "sum": all_reduce_sum(torch.tensor(rank + 1)),
        "passed": first.wait(),
        "passed second": second.wait(),
        "passed bf16": pass_on(own.bfloat16()).wait(),
    }
    results["on main"] = torch.tensor(on_main(lambda: group_rank() + 7))
    try:
        on_main(refuse)
    except InputError as error:
        results["refused"] = torch.tensor([len(str(error)), isinstance(error, ConfigError)])
    group = dist.new_group([1, 2])
    if rank > 0:
        results["position in group"] = torch.tensor([group_rank(group), group_size(group)])
        results["gathered in group"] = all_gather_rows(own[:1, :1], group)
        results["passed in group"] = pass_on(own, group).wait()
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return run_processes(rank_main, WORLD, tmp_path_factory.mktemp("ranks"))


def rows(rank: int) -> torch.Tensor:
    return torch.tensor([[rank] * 3, [rank + 0.25] * 3])


@pytest.mark.distributed
def test_rows_are_gathered_in_the_order_of_ranks(results: list[Results]) -> None:
    whole = torch.cat([rows(rank) for rank in range(WORLD)])
    for rank, found in enumerate(results):
        assert found["position"].tolist() == [rank, WORLD]
        assert torch.equal(found["gathered"], whole)
        assert torch.equal(found["gathered transposed"], torch.cat([rows(rank).T for rank in range(WORLD)]))
        assert torch.equal(found["gathered bf16"], whole.bfloat16())
        assert found["sum"] == 1 + 2 + 3


@pytest.mark.distributed
def test_the_ring_brings_what_the_previous_rank_sent_in_its_order(results: list[Results]) -> None:
    for rank, found in enumerate(results):
        previous = rows((rank - 1) % WORLD)
        assert torch.equal(found["passed"], previous)
        assert torch.equal(found["passed second"], previous + 10)
        assert torch.equal(found["passed bf16"], previous.bfloat16())


@pytest.mark.distributed
def test_a_smaller_group_counts_its_own_ranks(results: list[Results]) -> None:
    for rank, other in ((1, 2), (2, 1)):
        assert results[rank]["position in group"].tolist() == [rank - 1, 2]
        assert results[rank]["gathered in group"].flatten().tolist() == [1.0, 2.0]
        assert torch.equal(results[rank]["passed in group"], rows(other))


@pytest.mark.distributed
def test_what_rank_0_alone_does_is_known_to_all_and_so_is_its_refusal(results: list[Results]) -> None:
    for rank, found in enumerate(results):
        assert found["on main"] == 7
        assert found["refused"].tolist() == [len(str(REFUSAL)), rank == 0]


def test_one_process_does_what_rank_0_does() -> None:
    assert on_main(lambda: "done") == "done"
    with pytest.raises(ConfigError, match="expected more"):
        on_main(refuse)
