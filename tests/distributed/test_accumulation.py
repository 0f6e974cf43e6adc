"""Steps in several micro-batches on several processes, against one process that takes the whole batch at once.

Two real processes on gloo; everything is checked in one spawn. (HSDP needs four: test_parallel.py.)
"""

import gc
from itertools import product
from typing import Any

import pytest
from parallel_cases import (
    ALONE,
    CPU,
    FAMILIES,
    assert_same,
    clip_that_drops_patches,
    config_of,
    mammut_that,
    measured,
)

from gloo_processes import Results, run_processes
from mammut_clip.distributed import Process

WORLD = 2
SIZES = {"2": 2, "4": 1, "uneven": 3}
"""By the number of micro-batches of each process, the pairs in one; all four pairs at once: test_parallel.py."""
RECOMPUTE = {"2": "selective", "4": "full", "uneven": "none"}
SPREAD = [("ddp", "4"), ("ddp", "uneven"), ("fsdp", "2"), ("fsdp", "uneven")]
"""How, and in how many micro-batches, each family is."""

IN_TWO = {"ddp": {"mode": "ddp", "micro_batch_size": 2}, "fsdp": {"mode": "fsdp", "micro_batch_size": 2}}

CASES: dict[str, tuple[Any, dict[str, Any], dict[str, float]]] = {
    f"{family} {mode} {count}": (
        FAMILIES[family],
        {"mode": mode, "micro_batch_size": SIZES[count], "recompute": RECOMPUTE[count]},
        {},
    )
    for family, (mode, count) in product(FAMILIES, SPREAD)
} | {
    "patch dropout": (clip_that_drops_patches(), IN_TWO["fsdp"], {}),
    "masked padding": (mammut_that(text_pooling="mean_valid"), IN_TWO["ddp"], {}),
    # parameters that have no part in the loss
    "captions only, ddp": (FAMILIES["mammut"], IN_TWO["ddp"], {"contrastive": 0}),
    "captions only, fsdp": (FAMILIES["mammut"], IN_TWO["fsdp"], {"contrastive": 0}),
    "features only, ddp": (FAMILIES["coca"], IN_TWO["ddp"], {"caption": 0}),
    "features only, fsdp": (FAMILIES["coca"], IN_TWO["fsdp"], {"caption": 0}),
}
"""Model, config.parallel and config.loss."""


def rank_main(rank: int) -> Results:
    """What rank 0 has at the end of each case."""
    results: Results = {}
    for case, (model, parallel, loss) in CASES.items():
        found = measured(config_of(model, parallel, loss=loss), Process(rank, WORLD, rank, CPU, WORLD))
        results |= {f"{case}: {name}": value for name, value in found.items() if rank == 0}
    gc.collect()  # FSDP2's state holds the group: it goes first, or its threads end with the process and abort it
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run_processes(rank_main, WORLD, tmp_path_factory.mktemp("ranks"))[0]


@pytest.fixture(scope="module")
def expected() -> dict[str, Results]:
    """By model and loss, what one process with the whole batch has."""
    return {}


def reference(expected: dict[str, Results], model: Any, loss: dict[str, float]) -> Results:
    key = f"{model} {loss}"
    if key not in expected:
        expected[key] = measured(config_of(model, {}, loss=loss), ALONE)
    return expected[key]


@pytest.mark.distributed
@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one_with_the_whole_batch(
    results: Results, expected: dict[str, Results], case: str
) -> None:
    found = {name.removeprefix(f"{case}: "): value for name, value in results.items() if name.startswith(f"{case}: ")}
    model, _, loss = CASES[case]
    assert_same(found, reference(expected, model, loss))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [4, 3, 2])
def test_one_process_in_micro_batches_equals_itself_without(
    expected: dict[str, Results], family: str, size: int
) -> None:
    model = FAMILIES[family]
    assert_same(measured(config_of(model, {"micro_batch_size": size}), ALONE), reference(expected, model, {}))
