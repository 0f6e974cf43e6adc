"""Several ranks agree: on the largest of each flag, at the same steps, also when the pace changes."""

import pytest
import torch
import torch.distributed as dist

from gloo_processes import Results, run_processes
from mammut_clip.distributed import Process
from mammut_clip.train.agreement import Agreement

pytestmark = pytest.mark.distributed
WORLD = 3
STEPS = 400


def seconds_at(step: int) -> float:
    """A step's time as all ranks are told it: slow, fast, slow, in between."""
    return (0.9, 0.01, 2.0, 0.3)[step // 50 % 4]


def rank_main(rank: int) -> Results:
    agreement = Agreement(Process(rank, WORLD, rank, torch.device("cpu"), WORLD))
    told = []
    for step in range(STEPS):
        if step % 50 == 7:
            agreement.pace(seconds_at(step))
        # rank 0 raises its flag at step 100, rank 1 at 105 a larger one; rank 2 has another from step 203 on
        signal_number = {0: 10 * (step >= 100), 1: 15 * (step >= 105), 2: 0}[rank]
        told.append(agreement.reached(step, signal_number, int(rank == 2 and step >= 203)))
        if step % 11 == 0:  # other collectives of the step stay in order
            dist.all_reduce(torch.ones(1))
    return {"told": torch.tensor(told)}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[torch.Tensor]:
    return [results["told"] for results in run_processes(rank_main, WORLD, tmp_path_factory.mktemp("ranks"))]


def test_all_are_told_the_same_at_every_step(told: list[torch.Tensor]) -> None:
    for others in told[1:]:
        assert torch.equal(others, told[0])


def test_the_largest_flag_is_told_at_the_next_agreed_step(told: list[torch.Tensor]) -> None:
    number, failed = told[0].T.tolist()
    assert not any(number[:100])
    assert next(n for n in number if n) == 10
    assert number.index(10) <= 104  # every 8 steps since step 57
    assert number.index(15) <= 112
    assert set(number[120:]) <= {0, 15}
    first = failed.index(1)
    assert 203 <= first <= 206
    assert number[first] == 15


def test_fast_steps_are_asked_about_less_often(told: list[torch.Tensor]) -> None:
    number = told[0][:, 0].tolist()
    assert all(number[107:157])  # slow: every step
    assert sum(map(bool, number[160:207])) in range(14, 17)  # 0.3 s: every third
    assert sum(map(bool, number[257:305])) == 6  # fast: every eighth
