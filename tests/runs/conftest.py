from pathlib import Path

import pytest

from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.runs.layout import RunDir


@pytest.fixture
def config() -> RunConfig:
    values = {
        "name": "a-run",
        "sweep": "s",
        "model": "toy-XS",
        "samples_seen": 256,
        "global_batch_size": 128,
        "data": {"train": ["data/toy/train"]},
        "optimizer": {"lr": 1e-3},
    }
    return validate(RunConfig, values, "test")


@pytest.fixture
def run(tmp_path: Path, config: RunConfig) -> RunDir:
    return RunDir.create(tmp_path, config)
