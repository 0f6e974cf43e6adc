"""Every zero-shot task collects and scores the same, to the last bit, on 1, 2 and 4 processes."""

from functools import partial
from pathlib import Path

import pytest
import torch

from evals.small_clip import small_clip, write_tokenizer
from evals.tasks.zero_shot_sets import open_task, write_regions, write_winogavil
from gloo_processes import Results, run_processes
from mammut_clip.distributed import Process
from mammut_clip.evals.sharing import Shared
from real_pictures import write_digit_captions, write_digit_labels, write_digits

CPU = torch.device("cpu")
KINDS = ("classification", "multilabel", "grouped_classification", "retrieval", "winogavil")


def _write(root: Path) -> None:
    write_digits(root, 70).rename(root / "classification")
    write_digit_labels(root, 70).rename(root / "multilabel")
    write_digit_captions(root, 70).rename(root / "retrieval")
    write_regions(root / "grouped_classification", 70)
    write_winogavil(root / "winogavil", 9)


def _results(root: Path, tokenizer: Path, world: int, rank: int) -> Results:
    """Features and metrics of all kinds; nothing on ranks other than 0."""
    torch.set_num_threads(1)
    subject = small_clip(Shared(Process(rank, world, rank, CPU), threads=2), tokenizer)
    found: Results = {}
    for kind in KINDS:
        more = {"group_field": "region"} if kind == "grouped_classification" else {}
        task = open_task(root / kind, kind, batch_size=8, **more)
        collected = task.collect(subject)
        if rank == 0:
            found |= {f"{kind} {name}": value for name, value in vars(collected).items() if torch.is_tensor(value)}
            metrics = task.score(collected, CPU)
            found |= {f"{kind} {name}": torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()}
    return found


@pytest.mark.distributed
@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_same_on_any_number_of_processes(tmp_path: Path, world: int) -> None:
    _write(tmp_path)
    tokenizer = write_tokenizer(tmp_path / "tokenizer.json")
    threads = torch.get_num_threads()
    expected = _results(tmp_path, tokenizer, 1, 0)
    torch.set_num_threads(threads)
    assert len(expected) > 40
    found, *others = run_processes(partial(_results, tmp_path, tokenizer, world), world, tmp_path)
    assert others == [{}] * (world - 1)
    assert found.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []
