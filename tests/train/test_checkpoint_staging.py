"""The copy that is written while training goes on: a true one, in memory that stays, of no more than a rank's share."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.distributed import Process
from mammut_clip.train.checkpoint.staging import Staging
from mammut_clip.train.checkpoint.state import State

CPU = torch.device("cpu")


def shares(state: State, world: int, of_main: tuple[str, ...] = ()) -> list[State]:
    staged = [Staging(Process(rank, world, rank, CPU), of_main).copy(state) for rank in range(world)]
    for one in staged:
        one.wait()
    return [one.state for one in staged]


def size(state: State) -> int:
    return sum(tensor.nbytes for tensors in state.values() for tensor in tensors.values())


def test_it_is_a_copy_in_the_same_memory_each_time() -> None:
    weight, strided = torch.randn(3, 4), torch.randn(5, 6).t()
    state: State = {"model": {"weight": weight, "strided": strided}, "optimizer": {"step": torch.tensor(1)}}
    staging = Staging(Process(0, 1, 0, CPU))
    places = []
    for _ in range(2):
        expected = {name: tensor.clone() for name, tensor in state["model"].items()}
        copied = staging.copy(state).state
        weight += 1
        strided.zero_()
        assert all(torch.equal(copied["model"][name], tensor) for name, tensor in expected.items())
        assert copied["optimizer"]["step"] == 1
        places.append([tensor.data_ptr() for tensors in copied.values() for tensor in tensors.values()])
    assert places[0] == places[1]
    state["model"]["weight"] = torch.randn(2, 2)
    assert staging.copy(state).state["model"]["weight"].shape == (2, 2)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=40), st.integers(1, 6))
def test_ranks_that_hold_the_same_share_it_about_equally(shapes: list[tuple[int, int]], world: int) -> None:
    tensors = {f"{number}": torch.full(shape, float(number)) for number, shape in enumerate(shapes)}
    state: State = {"model": tensors, "optimizer": {f"state.{name}.step": torch.tensor(1.0) for name in tensors}}
    found = shares(state, world)
    written = [(part, name) for share in found for part in share for name in share[part]]
    assert sorted(written) == sorted((part, name) for part in state for name in state[part]), "each once"
    largest = max(tensor.nbytes for tensor in tensors.values())
    assert max(size(share) for share in found) <= size(state) / world + max(largest, 4)


def test_what_may_differ_between_ranks_is_taken_from_rank_0() -> None:
    state: State = {"model": {f"{number}": torch.ones(4) for number in range(12)}}
    buffers = ("3", "7", "11")
    found = shares(state, 4, buffers)
    assert {name for name in buffers if name in found[0]["model"]} == set(buffers)
    assert sum(len(share["model"]) for share in found) == 12
