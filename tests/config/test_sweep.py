"""The sweep file's schema and how it is found."""

from pathlib import Path

import pytest

from mammut_clip.config import ConfigError
from mammut_clip.config.files import shipped
from mammut_clip.config.sweep import load_sweep
from mammut_clip.sweep import expand


@pytest.mark.parametrize("name", sorted(shipped("sweeps")))
def test_every_shipped_sweep_is_a_valid_grid(name: str) -> None:
    assert expand(load_sweep(name))


def test_a_sweep_is_named_after_its_file_and_takes_overrides(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: toy\naxes: {seed: [1, 2]}\n")
    config = load_sweep(file, ["axes.optimizer.lr=[1e-3, 2e-3]", "axes.seed=[5]"])
    assert config.name == "mine"
    assert config.axes == {"seed": [5], "optimizer.lr": [1e-3, 2e-3]}
    assert len(expand(config)) == 2


def test_unknown_keys_and_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: toy\naxis: {seed: [1]}\n")
    with pytest.raises(ConfigError, match=r"mine.yaml[\s\S]*axis.*did you mean axes"):
        load_sweep(file)
    with pytest.raises(ConfigError, match="did you mean quickstart"):
        load_sweep("quikstart")
