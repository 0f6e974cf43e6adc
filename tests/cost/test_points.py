"""Counts of checkpoints and rows, against a walk over every step with the trainer's own clock and rules."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.cost.points import checkpoints_of, first_samples, steps_at_multiples
from mammut_clip.runs.retention import kept_points
from mammut_clip.train.clock import Clock

TOY = validate(
    RunConfig,
    {
        "name": "x",
        "model": "toy-XS",
        "samples_seen": 2,
        "global_batch_size": 2,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1},
    },
    "test",
).model_dump()


@st.composite
def runs(draw: st.DrawFn) -> RunConfig:
    """Runs of up to 60 steps, some of them branched off, with points anywhere."""
    batch, steps = draw(st.integers(2, 40)), draw(st.integers(1, 60))
    total = batch * steps
    anywhere = st.integers(1, total + batch)
    checkpoint: dict[str, Any] = {
        "every": draw(st.none() | anywhere),
        "keep_last": draw(st.integers(1, 5)),
        "permanent": draw(st.none() | st.lists(anywhere, max_size=6)),
    }
    begin = draw(st.integers(0, steps - 1))
    branch = {"run": "a/b", "name": "a/b", "samples_seen": batch * begin} if begin else None
    values = {"samples_seen": total, "global_batch_size": batch, "checkpoint": checkpoint, "branched_from": branch}
    return validate(RunConfig, TOY | values | {"logging": {"every": draw(anywhere)}}, "test")


def walk(config: RunConfig) -> Clock:
    return Clock(first_samples(config), config.total_samples, config.global_batch_size)


@given(runs())
def test_rows_are_those_of_the_clock(config: RunConfig) -> None:
    every, clock, rows = config.logging.every, walk(config), 0
    while not clock.ended:
        clock.advance()
        rows += clock.ended or clock.passes_multiple(every)
    assert steps_at_multiples(config, every) == rows
    assert steps_at_multiples(config, None) == 1


@given(runs())
def test_checkpoints_are_those_of_the_clock(config: RunConfig) -> None:
    clock, saved = walk(config), []
    while not clock.ended:
        clock.advance()
        due = clock.passes_multiple(config.checkpoint.every) or clock.passes_any(config.permanent_points)
        if clock.ended or due:
            saved.append(clock.samples_seen)
    start = first_samples(config)
    there = [start] * (start > 0) + saved  # a branch has the checkpoint that it began with
    found = checkpoints_of(config, 1000)
    assert found.written == len(saved)
    assert found.kept == len(kept_points(there, config) | set(saved[-config.checkpoint.keep_last :]))
    assert found.bytes_each == 12_000
    assert found.bytes_kept == 12_000 * found.kept
    longest = max(after - before for before, after in pairwise([start, *saved]))
    # where multiples and permanent points meet, the bound need not be reached
    assert longest <= found.longest_gap + config.global_batch_size
    if config.checkpoint.every is None:
        assert longest == found.longest_gap
