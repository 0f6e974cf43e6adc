"""How a job finds its layout: the memory of its processes, and which of them share a node."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.train.mesh import layout_of, process_memory, ranks_within_nodes

CPU = torch.device("cpu")


def test_offloading_needs_a_gpu() -> None:
    values = {
        "name": "x",
        "model": "toy-XS",
        "samples_seen": 2**20,
        "global_batch_size": 4096,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
        "parallel": {"mode": "fsdp", "cpu_offload": True},
    }
    config = validate(RunConfig, values, "test")
    with pytest.raises(ConfigError, match=r"parallel\.cpu_offload = True: .*on a CPU use false"):
        layout_of(config, Process(0, 1, 0, CPU), config.model.architecture)


def test_processes_of_a_machine_share_its_memory() -> None:
    alone, shared = Process(0, 1, 0, CPU), Process(0, 4, 0, CPU, 4)
    assert process_memory(alone) // 4 == pytest.approx(process_memory(shared), abs=1)
    assert process_memory(alone) > 10**8


def facts(nodes: list[int]) -> tuple[list[int], list[int]]:
    """For nodes with so many processes each, what each rank says of its own."""
    sizes = [size for size in nodes for _ in range(size)]
    firsts = [sum(nodes[:number]) for number, size in enumerate(nodes) for _ in range(size)]
    return sizes, firsts


@given(st.lists(st.integers(1, 8), min_size=1, max_size=5))
def test_ranks_in_a_row_are_of_one_node(nodes: list[int]) -> None:
    row = ranks_within_nodes(*facts(nodes))
    node_of = [number for number, size in enumerate(nodes) for _ in range(size)]
    assert sum(nodes) % row == 0
    for start in range(0, sum(nodes), row):
        assert len(set(node_of[start : start + row])) == 1
    if len(set(nodes)) == 1:
        assert row == nodes[0]


def test_ranks_that_are_dealt_out_in_turn_stand_in_no_row() -> None:
    """srun --distribution=cyclic: ranks 0 and 2 on one node, 1 and 3 on the other; rank less local rank is 0 1 1 2."""
    assert ranks_within_nodes([2, 2, 2, 2], [0, 1, 1, 2]) == 1
