"""The data of a sweep's runs, looked for once each."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mammut_clip import sweep_data
from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.sweep_data import check_data


def config_of(name: str, train: Any) -> RunConfig:
    values = {
        "name": name,
        "model": "toy-XS",
        "samples_seen": 1024,
        "global_batch_size": 64,
        "data": {"train": train},
        "optimizer": {"lr": 1e-3},
    }
    return validate(RunConfig, values, "test")


def test_what_is_missing_is_told_once_with_the_runs_that_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "00000.tar").touch()
    looked: list[list[str]] = []
    original = sweep_data.expand_sources
    monkeypatch.setattr(sweep_data, "expand_sources", lambda sources: looked.append(sources) or original(sources))
    here, gone = str(tmp_path), str(tmp_path / "{00000..00003}.tar")
    mixture = [{"name": "a", "sources": here}, {"name": "b", "sources": gone}]
    configs = [*(config_of(f"g{n}", gone) for n in range(5)), config_of("h", here), config_of("m", mixture)]
    plain, mixed = check_data(configs)
    assert plain.key == "data.train"
    assert "00001.tar (and 2 more): no such shard" in plain.expected
    assert plain.expected.endswith("(runs g0, g1, g2 and 2 more)")
    assert (mixed.key, mixed.expected.endswith("(run m)")) == ("data.train.1.sources", True)
    assert sorted(map(str, looked)) == sorted(map(str, ([gone], [here])))


def test_data_that_are_there_are_no_problem(tmp_path: Path) -> None:
    (tmp_path / "00000.tar").touch()
    assert check_data([config_of("x", str(tmp_path)), config_of("y", "s3://bucket/{0..3}.tar")]) == []


def test_looking_loads_no_torch() -> None:
    script = "import sys, mammut_clip.sweep_data; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
