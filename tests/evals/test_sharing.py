"""Work shared by processes: the same results on one, two and four, and one account of what went wrong."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gloo_processes import Results, run_processes
from mammut_clip.config.errors import InputError
from mammut_clip.distributed import Process
from mammut_clip.evals.sharing import Rows, Shared

CPU = torch.device("cpu")
ONE = Process(0, 1, 0, CPU)
COUNTS = (1, 7, 24, 25)
BATCH = 4


def load(number: int) -> float:
    return 1.0 / (number + 3)


def compute(batch: list[float]) -> Rows:
    """Depends on the rest of the batch in its last digits, as a matrix product may."""
    values = torch.tensor(batch)
    return {"wide": torch.outer(values, torch.arange(3.0)) + values.sum() * 1e-6, "number": values.double()}


def refuse_some(number: int) -> float:
    if number in (9, 14):
        raise InputError(f"item {number} is bad")
    return load(number)


def everything(shared: Shared) -> Results:
    """All ways of sharing, on several numbers of items."""
    results: Results = {}
    for count in COUNTS:
        rows = shared.rows(count, BATCH, load, compute)
        results |= {f"{key} of {count}": value for key, value in rows.items()}
        counted = shared.total(count, BATCH, int, lambda batch: {"sum": torch.tensor([sum(batch), len(batch)])})
        results[f"total of {count}"] = counted["sum"]
        texts = shared.objects(count, BATCH, str, lambda batch: [text * 2 for text in batch])
        results[f"objects of {count}"] = torch.tensor([int(text) for text in texts])
    try:
        shared.rows(24, BATCH, refuse_some, compute)
    except InputError as error:
        results["error"] = torch.tensor([int(word) for word in str(error).split() if word.isdigit()])
    try:
        shared.rows(26, BATCH, load, run_out_of_memory)
    except InputError as error:
        results["another error"] = torch.tensor(float(str(error).removeprefix("RuntimeError: out of memory ")))
    return results


def run_out_of_memory(batch: list[float]) -> Rows:
    if len(batch) < BATCH:  # the last one
        raise RuntimeError("out of memory 7")
    return compute(batch)


def rank_main(rank: int) -> Results:
    """Everything on one rank of two or four."""
    world = torch.distributed.get_world_size()
    return everything(Shared(Process(rank, world, rank, CPU), threads=2))


def test_every_item_stands_once_and_in_order() -> None:
    results = everything(Shared(ONE))
    for count in COUNTS:
        assert torch.equal(results[f"number of {count}"], torch.tensor([load(n) for n in range(count)]).double())
        assert results[f"total of {count}"].tolist() == [sum(range(count)), count]
        assert results[f"objects of {count}"].tolist() == [int(str(n) * 2) for n in range(count)]
    assert results["error"].tolist() == [9]  # the first of the two


@pytest.mark.distributed
@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_results_are_the_same_to_the_last_bit_on_several_processes(tmp_path: Path, world: int) -> None:
    alone = everything(Shared(ONE, threads=2))
    main, *others = run_processes(rank_main, world, tmp_path)
    assert set(main) == set(alone)
    assert all(torch.equal(main[name], alone[name]) for name in alone)
    for other in others:
        assert other["error"].tolist() == [9]
        assert other["another error"].item() == 7
        assert all(torch.equal(other[f"total of {count}"], alone[f"total of {count}"]) for count in COUNTS)
        assert all(len(other[f"{name} of {count}"]) == 0 for name in ("wide", "number", "objects") for count in COUNTS)


@given(count=st.integers(1, 60), batch=st.integers(1, 20), threads=st.integers(1, 4))
def test_nothing_but_the_batch_size_decides(count: int, batch: int, threads: int) -> None:
    rows = Shared(ONE, threads).rows(count, batch, load, compute)
    expected = [compute([load(n) for n in range(i, min(i + batch, count))])["wide"] for i in range(0, count, batch)]
    assert torch.equal(rows["wide"], torch.cat(expected))


def test_progress_is_told_and_reaches_the_end() -> None:
    told: list[tuple[int, int]] = []
    Shared(ONE, progress=lambda done, total: told.append((done, total))).rows(10, 4, load, compute)
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_loading_stops_soon_after_an_error() -> None:
    loaded: list[int] = []

    def first_is_bad(number: int) -> float:
        loaded.append(number)
        if number == 0:
            raise InputError("bad")
        return load(number)

    with pytest.raises(InputError, match="bad"):
        Shared(ONE).rows(10_000, BATCH, first_is_bad, compute)
    assert len(loaded) < 200
