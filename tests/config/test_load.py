from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.base import Config
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.load import apply_overrides, load_config, parse_yaml, to_yaml, validate
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.quantity import Samples
from mammut_clip.config.run import RunConfig
from mammut_clip.config.sweep import SweepConfig, load_sweep


class Inner(Config):
    """A part."""

    rate: float = 0.1
    """A rate."""
    kind: Literal["cosine", "const"] = "cosine"
    """A kind."""


class Outer(Config):
    """A whole."""

    samples: Samples
    """An amount."""
    inner: Inner = Inner()
    """A part."""


def problems_of(values: object) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        validate(Outer, values, "some.yaml")
    return {problem.key: str(problem) for problem in caught.value.problems}


def test_every_problem_is_reported_at_once_with_key_value_and_expectation() -> None:
    found = problems_of({"samples": "many", "inner": {"rte": 1, "kind": "cosin", "rate": "fast"}})
    assert set(found) == {"samples", "inner.rte", "inner.kind", "inner.rate"}
    assert "'many'" in found["samples"] and "1.28M" in found["samples"]
    assert "did you mean rate?" in found["inner.rte"]
    assert "'cosine' or 'const'" in found["inner.kind"]
    assert "'fast'" in found["inner.rate"]


def test_what_is_wrong_without_a_key_is_said_without_one() -> None:
    problems = [Problem("", "not YAML"), Problem("", "no such file", "x"), Problem("a.b", "expected c", 3)]
    assert str(ConfigError("f", problems)) == "3 problems in f\n  not YAML\n  'x': no such file\n  a.b = 3: expected c"


def test_a_missing_key_is_named() -> None:
    assert "required" in problems_of({})["samples"]


def test_the_message_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("samples: 1K\nwarmup: 3\n")
    with pytest.raises(ConfigError, match=r"run\.yaml") as caught:
        load_config(Outer, path)
    assert "warmup" in str(caught.value)


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\tx: 1", "a: 1\na: 2"])
def test_text_that_is_not_yaml_names_line_and_column(text: str) -> None:
    with pytest.raises(ConfigError, match=r"line \d+, column \d+"):
        parse_yaml(text, "x.yaml")


def test_scientific_notation_is_a_number() -> None:
    assert parse_yaml("a: 1e-3\nb: 2.5E4\nc: 1e3x", "x") == {"a": 1e-3, "b": 2.5e4, "c": "1e3x"}


def test_overrides_set_nested_keys_and_leave_the_original_alone() -> None:
    values = {"samples": 1, "inner": {"rate": 0.1}}
    changed = apply_overrides(values, ["inner.rate=1e-3", "inner.kind=const", "samples=2K"])
    assert changed == {"samples": "2K", "inner": {"rate": 1e-3, "kind": "const"}}
    assert values == {"samples": 1, "inner": {"rate": 0.1}}


@pytest.mark.parametrize("override", ["inner.rate", "=3", "inner..rate=1", "samples.x=1"])
def test_malformed_overrides_are_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="command line"):
        apply_overrides({"samples": 1, "inner": {}}, [override])


def test_the_last_value_of_a_key_wins_but_shards_that_the_shell_made_of_braces_are_refused() -> None:
    shards = [f"data.train=/my/{number:02}.tar" for number in range(3)]
    with pytest.raises(ConfigError, match=r"data.train = '/my/01.tar': /my/00.tar was given before.*quote"):
        apply_overrides({}, shards)
    assert apply_overrides({}, ["a.b=1", "c=/x", "a.b=2", "c=/x/0.tar"]) == {"a": {"b": 2}, "c": "/x/0.tar"}


def test_text_that_yaml_takes_for_a_mapping_is_told_to_be_quoted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"name_pattern = '\{model\}-x': not valid YAML.*quotes of its own"):
        apply_overrides({}, ["name_pattern={model}-x"])
    assert apply_overrides({}, ['name_pattern="{model}-x"']) == {"name_pattern": "{model}-x"}
    file = tmp_path / "s.yaml"
    file.write_text("base: toy\n")
    with pytest.raises(ConfigError, match=r"s.yaml with name_pattern=\{model\}\n  name_pattern = .*needs quotes"):
        load_sweep(file, ["name_pattern={model}"])


NUMBERS_OF_EACH_KIND: list[tuple[type[Config], str]] = [
    (RunConfig, "optimizer.lr"),
    (RunConfig, "data.captions.txt"),
    (ModelConfig, "vision_cfg.mlp_ratio"),
    (ClusterConfig, "efficiency"),
    (ClusterConfig, "limits.submissions_per_minute"),
    (SweepConfig, "policy.backoff_seconds"),
    (LawSpec, "level"),
    (LawSpec, "held_out.above"),
]


@pytest.mark.parametrize(("schema", "key"), NUMBERS_OF_EACH_KIND)
@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1e999"])
def test_no_config_of_any_kind_takes_a_number_that_is_none(schema: type[Config], key: str, number: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(schema, apply_overrides({}, [f"{key}={number}"]), "some.yaml")
    [said] = [problem for problem in caught.value.problems if problem.key == key]
    assert "finite number" in said.expected


@given(st.integers(0, 10**12), st.floats(0, 1e6), st.sampled_from(["cosine", "const"]))
def test_written_configs_read_back_equal(samples: int, rate: float, kind: str) -> None:
    config = Outer.model_validate({"samples": samples, "inner": {"rate": rate, "kind": kind}})
    assert validate(Outer, parse_yaml(to_yaml(config), "x"), "x") == config


def test_an_empty_file_and_a_list_are_no_configs(tmp_path: Path) -> None:
    for text in ("", "- 1\n"):
        path = tmp_path / "x.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match="expected a mapping"):
            load_config(Outer, path)
