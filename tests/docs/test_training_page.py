"""docs/training.md stays true: its configs are accepted, its keys and fields exist, its links lead somewhere."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel

from mammut_clip.config.load import validate
from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.run import RunConfig
from mammut_clip.config.scales import SCALES_AND_BETWEEN
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.__main__ import resolve
from mammut_clip.train.trainer import Trainer

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "training.md").read_text(encoding="utf-8")


def overrides(command: str) -> list[str]:
    return [word for word in shlex.split(command, comments=True) if "=" in word]


def test_the_configs_of_its_commands_are_accepted() -> None:
    commands = re.findall(r"^    mammut-clip train (toy .*)$", PAGE, re.MULTILINE)
    configs = [resolve("toy", overrides(command)) for command in commands]
    assert len(configs) >= 8
    assert {"first", "long", "lion"} <= {config.name for config in configs}


def test_the_keys_it_names_exist() -> None:
    sections: dict[str, Any] = {name: field.annotation for name, field in RunConfig.model_fields.items()}
    named = re.findall(r"\b(parallel|checkpoint|non_finite|logging|schedule|optimizer)\.([a-z_]+)\b", PAGE)
    assert len(set(named)) >= 15
    for section, key in named:
        model = sections[section]
        assert issubclass(model, BaseModel) and key in model.model_fields, f"{section}.{key}"


def test_it_lists_the_first_permanent_points() -> None:
    points = ", ".join(format_quantity(point) for point in SCALES_AND_BETWEEN[:7])
    assert points in " ".join(PAGE.split())


def test_every_field_of_a_row_is_explained(tmp_path: Path) -> None:
    write_toy_train(tmp_path / "shards", 64, samples_per_shard=64)
    values = {
        "name": "short",
        "model": "mammut_toy-XS",
        "samples_seen": 64,
        "global_batch_size": 32,
        "data": {"train": [str(tmp_path / "shards")], "workers": 0},
        "optimizer": {"lr": 1e-3},
        "parallel": {"threads": 1},
    }
    run = RunDir.create(tmp_path, validate(RunConfig, values, "test"))
    Trainer(run, Process(0, 1, 0, torch.device("cpu"))).train()
    table = PAGE[PAGE.index("## What is recorded") :]
    named = set(re.findall(r"`([a-z_0-9]+)`", table))
    named |= {f"step_seconds{part}" for part in named if part.startswith("_")}
    assert set(run.metrics[-1]) <= named


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert link.startswith("http") or (page.parent / link).exists(), link
