"""Which checkpoints stay: for any points at which a run was saved."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.runs.retention import kept_points

BATCH = 64
TOTAL = 6400


def config_with(**changes: Any) -> RunConfig:
    """Of a run of 100 steps of 64, without permanent checkpoints."""
    values = {
        "name": "a-run",
        "model": "toy-XS",
        "samples_seen": TOTAL,
        "global_batch_size": BATCH,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
        "checkpoint": {"keep_last": 2, "permanent": []},
    }
    return validate(RunConfig, values | changes, "test")


def test_the_first_within_a_batch_of_each_permanent_point_stays() -> None:
    config = config_with(checkpoint={"permanent": [1000, 2048, 3000]})
    assert kept_points([960, 1024, 1088, 2048, 2112, 3072], config) == {1024, 2048}, "3072 is a batch too late"


def test_the_final_one_and_the_start_of_a_branch_stay() -> None:
    branch = {"run": "runs/s/r", "name": "s/r", "samples_seen": 640}
    config = config_with(branched_from=branch)
    assert kept_points([576, 640, 704, TOTAL], config) == {640, TOTAL}
    assert kept_points([576, 704], config) == set()


def test_the_papers_scales_stay_by_default() -> None:
    config = config_with(samples_seen=13_000_000, global_batch_size=1000, checkpoint={})
    every = range(1000, 13_000_001, 1000)
    assert kept_points(every, config) >= {1_280_000, 3_070_000, 6_400_000, 12_800_000}
    assert len(kept_points(every, config)) < 12


@given(
    st.sets(st.integers(1, TOTAL // BATCH)),
    st.lists(st.integers(1, TOTAL), max_size=8, unique=True),
)
def test_one_at_most_stays_for_each_point_and_saving_more_removes_none(steps: set[int], permanent: list[int]) -> None:
    config = config_with(checkpoint={"permanent": permanent})
    saved = sorted(step * BATCH for step in steps)
    kept = kept_points(saved, config)
    assert kept <= set(saved)
    for point in permanent:
        # what a run that saves at each permanent point has saved
        due = -(-point // BATCH) * BATCH
        assert due not in saved or due in kept
    assert len(kept) <= len(permanent) + 1
    for count in range(len(saved)):
        assert kept_points(saved[:count], config) <= kept, "a checkpoint that stayed once stays"
