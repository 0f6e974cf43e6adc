"""The micro-batch of a run that was out of memory."""

from pathlib import Path

import pytest

from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.runs.adjustments import Adjustments, adjusted, make_micro_batch_smaller, micro_batch_of
from mammut_clip.runs.layout import RunDir


def make(folder: Path, micro: int | None) -> RunDir:
    values = {
        "name": "a-run",
        "model": "toy-XS",
        "samples_seen": 640,
        "global_batch_size": 48,
        "data": {"train": ["nowhere"]},
        "optimizer": {"lr": 1e-3},
        "parallel": {"micro_batch_size": micro},
    }
    return RunDir.create(folder, validate(RunConfig, values, "test"))


@pytest.mark.parametrize(("micro", "sizes"), [(None, [6, 3, 1, None]), (4, [2, 1, None]), (100, [6, 3, 1, None])])
def test_it_is_halved_for_each_time_down_to_one(tmp_path: Path, micro: int | None, sizes: list[int | None]) -> None:
    run = make(tmp_path, micro)
    world, now = 4, 1e10  # a share of 12
    for number, expected in enumerate(sizes):
        assert make_micro_batch_smaller(run, world, "no room", now + number) == expected
        assert micro_batch_of(adjusted(run.config, Adjustments.of(run), world), world) == (expected or 1)
    assert run.config.parallel.micro_batch_size == micro, "the config stays as it is"


def test_one_event_is_answered_once(tmp_path: Path) -> None:
    run = make(tmp_path, None)
    assert [make_micro_batch_smaller(run, 1, "no room", 5.0) for _ in range(3)] == [24, 24, 24]


def test_a_smaller_one_of_the_configs_stays(tmp_path: Path) -> None:
    run = make(tmp_path, 3)
    Adjustments(micro_batch_size=8, why="no room", since=1.0).write(run.adjustments_file)
    assert adjusted(run.config, Adjustments.of(run), 1) is run.config
    assert '"parallel.micro_batch_size": 8' in run.adjustments_file.read_text()


def test_more_processes_have_smaller_shares_already(tmp_path: Path) -> None:
    run = make(tmp_path, None)
    Adjustments(micro_batch_size=12, why="no room", since=1.0).write(run.adjustments_file)
    assert adjusted(run.config, Adjustments.of(run), 2).parallel.micro_batch_size == 12
    assert adjusted(run.config, Adjustments.of(run), 4) is run.config


def test_without_the_file_nothing_changes(tmp_path: Path) -> None:
    run = make(tmp_path, None)
    assert Adjustments.of(run) is None
    assert adjusted(run.config, None, 1) is run.config
