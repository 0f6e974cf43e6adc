"""`mammut-clip models`: the rows, their agreed keys, and files whose towers have to be measured."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mammut_clip.cli import app
from mammut_clip.config.errors import ConfigError
from mammut_clip.config.model import list_model_names, load_model_config
from mammut_clip.cost import TrainingSetting, describe_models, training_memory_gb
from mammut_clip.model_table import model_rows

AGREED = [
    "name",
    "family",
    "params_m",
    "image_params_m",
    "text_params_m",
    "gflops_paper",
    "gflops_exact_forward",
    "gflops_exact_step",
    "memory_gb",
    "memory_at",
]


def printed(*arguments: str) -> tuple[Any, str]:
    """The JSON document on standard output, and what stands on standard error."""
    done = CliRunner().invoke(app, ["models", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def test_every_model_has_the_agreed_keys() -> None:
    rows, messages = printed()
    assert messages == ""
    assert rows == describe_models()
    assert [row["name"] for row in rows] == list_model_names()
    assert all(list(row) == AGREED for row in rows)
    by_name = {row["name"]: row for row in rows}
    mammut = by_name["mammut_ViT-B-32"]
    assert (mammut["family"], mammut["params_m"], mammut["gflops_paper"]) == ("mammut", 183.0213, 26.911703)
    assert {row["family"] for row in rows} == {"clip", "siglip", "mammut", "coca", "cap"}
    assert all(2.5 < row["gflops_exact_step"] / row["gflops_exact_forward"] <= 3 for row in rows)


def test_memory_is_that_of_the_setting_beside_it() -> None:
    options = ["--batch-size-per-gpu", "64", "--gpus", "1", "--precision", "fp32", "--recompute", "full"]
    rows, _ = printed("ViT-B-32", "mammut_ViT-S-32", *options)
    assert [row["name"] for row in rows] == ["ViT-B-32", "mammut_ViT-S-32"]
    for row in rows:
        assert row["memory_at"] == {"batch_size_per_gpu": 64, "gpus": 1, "precision": "fp32", "recompute": "full"}
        expected = training_memory_gb(load_model_config(row["name"]), **row["memory_at"]).total
        assert row["memory_gb"] == pytest.approx(expected, abs=1e-4)
    default, _ = printed("ViT-B-32")
    assert default[0]["memory_at"] == asdict(TrainingSetting(256, 8, "bf16", "none"))


def test_the_table_says_at_which_setting() -> None:
    done = CliRunner().invoke(app, ["models", "ViT-B-32", "--gpus", "4"])
    assert done.exit_code == 0
    assert "256 samples on each of 4 GPUs, bf16, recompute none" in done.stdout
    assert "ViT-B-32" in done.stdout and "memory_at" not in done.stdout


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"ViT-B-33.*did you mean ViT-B-32"):
        model_rows(["ViT-B-33"], TrainingSetting(), report=print)


TIMM: dict[str, Any] = {
    "family": "clip",
    "embed_dim": 32,
    "vision_cfg": {"timm": "resnet10t", "image_size": 64},
    "text_cfg": {"width": 32, "heads": 2, "layers": 1, "context_length": 8, "vocab_size": 96},
}


def test_a_file_is_measured_once_and_then_says_what_it_costs(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(TIMM))
    rows, messages = printed(str(file))
    assert rows[0]["name"] == str(file)
    assert rows[0]["memory_gb"] is None
    assert rows[0]["image_params_m"] == pytest.approx(4.94, abs=0.02)  # timm has 5.44 M, its classifier among them
    first, _, lines = messages.partition("\n")
    assert str(file) in first
    cost = yaml.safe_load(lines)["vision_cfg"]["cost"]
    file.write_text(yaml.safe_dump(TIMM | {"vision_cfg": TIMM["vision_cfg"] | {"cost": cost}}))
    again, silence = printed(str(file))
    assert (again, silence) == (rows, "")
