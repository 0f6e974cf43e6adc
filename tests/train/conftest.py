from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.runs.layout import RunDir

MakeRun = Callable[..., RunDir]


@pytest.fixture(scope="session")
def toy_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set of training shards, written once for the session."""
    folder = tmp_path_factory.mktemp("toy") / "train"
    write_toy_train(folder, 1024, samples_per_shard=256)
    return folder


@pytest.fixture
def make_run(tmp_path: Path, toy_shards: Path) -> MakeRun:
    """The directory of a run of 16 steps of 32 on the toy world, with changes."""

    def make(**changes: Any) -> RunDir:
        values = {
            "name": "a-run",
            "model": "mammut_toy-XS",
            "samples_seen": 512,
            "global_batch_size": 32,
            "data": {"train": [str(toy_shards)], "workers": 0, "shuffle": {"lanes": 4, "window": 32}},
            "optimizer": {"lr": 1e-3},
            "schedule": {"warmup": 64},
            "logging": {"every": 32},
            "checkpoint": {"every": 128, "keep_last": 2},
            "parallel": {"threads": 1},
        }
        return RunDir.create(tmp_path, validate(RunConfig, values | changes, "test"))

    return make
