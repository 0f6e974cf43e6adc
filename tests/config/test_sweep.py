"""The sweep file's schema and how it is found."""

import shlex
from pathlib import Path

import pytest

from mammut_clip.config import ConfigError
from mammut_clip.config.cluster import split_overrides
from mammut_clip.config.files import shipped
from mammut_clip.config.sweep import load_sweep
from mammut_clip.sweep.grid import cells, expand

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sweep-files.md"


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


GRIDS = [
    ("axes: {seed: [1]}", "axes.data.filters.min_caption=[5, 10]", {"data.filters.min_caption"}),
    (
        "axes: {data: {a: {data.crop_scale: [1, 1]}}}",
        "axes.data.filters.min_caption=[5, 10]",
        {"data.filters.min_caption"},
    ),
    ("base: toy", "axes.data.cache.folder=[/a, /b]", {"data.cache.folder"}),
    ("axes: {optimizer.lr: [1e-2]}", "axes.optimizer.lr=[1e-3, 2e-3]", {"optimizer.lr"}),
    ("axes: {optimizer: {lr: [1e-2]}}", "axes.optimizer.lr=[1e-3, 2e-3]", {"optimizer.lr"}),
    ("axes: {shape: {a: {seed: 1}, b: {seed: 2}}}", "axes.shape.b.optimizer.betas=[0.9, 0.9]", {"shape"}),
    ("axes: {shape: {a: {seed: 1}}}", "axes.shape.b={seed: 2}", {"shape"}),
]


@pytest.mark.parametrize(("text", "override", "axes"), GRIDS)
def test_an_axis_of_any_key_can_be_given_on_the_command_line(
    tmp_path: Path, text: str, override: str, axes: set[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text if text.startswith("base") else f"base: toy\n{text}\n")
    config = load_sweep(file, [override])
    assert axes <= set(config.axes)
    assert len(expand(config)) == 2


def test_what_is_no_axis_on_the_command_line_is_told_what_to_write(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: toy\n")
    with pytest.raises(ConfigError, match=r"mine.yaml with axes.optimizer.lr=1[\s\S]*optimizer.lr: expected a list"):
        load_sweep(file, ["axes.optimizer.lr=1"])
    with pytest.raises(ConfigError, match=r"axes.train.optimizer.lr: unknown key.*did you mean optimizer.lr"):
        expand(load_sweep(file, ["axes.train.optimizer.lr=[1]"]))


def test_unknown_keys_and_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: toy\naxis: {seed: [1]}\n")
    with pytest.raises(ConfigError, match=r"mine.yaml[\s\S]*axis.*did you mean axes"):
        load_sweep(file)
    with pytest.raises(ConfigError, match="did you mean quickstart"):
        load_sweep("quikstart")


def test_the_example_of_the_docs_is_what_the_page_says(tmp_path: Path) -> None:
    file = tmp_path / "warmup-study.yaml"
    file.write_text(PAGE.read_text().split("```yaml\n")[1].split("```")[0])
    runs = {cell.id: cell for cell in cells(load_sweep(file))}
    assert f"It has {len(runs)} runs" in PAGE.read_text()
    assert sum("mammut_toy-S-12.8K" in name and "cosine" in name for name in runs) == 6
    named = runs["mammut_toy-S-12.8K-lr0.0005-seed1-cosine"]
    assert named.id in PAGE.read_text()
    assert (named.gpus, named.nodes) == (None, 2)
    assert runs["toy-XS-25.6K-cooled"].config.schedule.kind == "const_cooldown"


def test_the_command_of_the_docs_is_what_the_page_says(tmp_path: Path) -> None:
    page = PAGE.read_text()
    file = tmp_path / "warmup-study.yaml"
    file.write_text(page.split("```yaml\n")[1].split("```")[0])
    command = page[page.index("mammut-clip sweep plan warmup-study.yaml") :].split("\n\n")[0].replace("\\\n", " ")
    of_sweep, of_cluster = split_overrides(shlex.split(command)[4:])
    assert of_cluster == ["account=myproject"]
    names = [cell.id for cell in cells(load_sweep(file, of_sweep))]
    assert {"toy-XS-6.4K-cosine-128", "mammut_toy-S-12.8K-cooled-1024"} < {*names}


BAD = [
    ("policy: {crashs: 1}", ["policy.crashs", "did you mean crashes"]),
    ("policy: {crashes: 0}", ["policy.crashes = 0", "greater than or equal to 1"]),
    ("evaluation: {suit: toy}", ["evaluation.suit", "did you mean suite"]),
    ("evaluation: {suite: toy, where: job}", ["evaluation.where = 'job'", "'jobs'"]),
    ("evaluation: {suite: toy, where: jobs, every: 1M}", ["evaluation", "every belongs to where: training"]),
    ("evaluation: {suite: toy, points: all}", ["evaluation", "points belongs to where: jobs"]),
    ("gpus: 4\nnodes: 1", ["gpus and nodes say the same"]),
    ("nodes: 0", ["nodes = 0", "greater than or equal to 1"]),
    ("cells: [{when: {}, axes: {seed: [1]}}]", ["cells.0.when", "at least 1 item"]),
    ("cells: [{when: {seed: 1}, axes: {seed: 1}}]", ["cells.0.axes", "expected a list of values"]),
    ("cells: [{wenn: {seed: 1}}]", ["cells.0.wenn", "did you mean when", "cells.0.axes: this key is required"]),
    ("rules: [{when: {seed: 1}, sets: {seed: 2}}]", ["rules.0.sets", "did you mean set"]),
    ("exclude: [{}]", ["an empty condition would leave out every run"]),
    ("clusterr: local", ["clusterr", "did you mean cluster"]),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[text for text, _ in BAD])
def test_a_bad_file_is_refused_with_file_key_value_and_hint(tmp_path: Path, text: str, said: list[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"base: toy\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_sweep(file)
    for part in [str(file), *said]:
        assert part in str(caught.value)
