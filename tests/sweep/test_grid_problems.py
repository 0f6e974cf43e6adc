"""What is said about a grid that cannot be: all of it at once, with file, key, value and the nearest names."""

from typing import Any

import pytest
from grids import sweep

from mammut_clip.config import ConfigError
from mammut_clip.sweep.grid import expand

BAD = [
    ({"axes": {"optimizer.lrr": [1]}}, ["axes.optimizer.lrr", "did you mean optimizer.lr"]),
    ({"overrides": {"smaples_seen": 1}}, ["overrides.smaples_seen", "did you mean samples_seen"]),
    ({"overrides": {"name": "x"}}, ["overrides.name", "names its runs"]),
    ({"axes": {"model": ["toy-S", "toy-Q"]}}, ["model", "toy-Q", "did you mean", "run toy-Q"]),
    ({"axes": {"samples_seen": ["12.8K", 12_800]}},
     ["axes.samples_seen = 12800", "two values of one name, 12.8K: '12.8K'"]),
    ({"axes": {"data.train": [["a/x.yaml"], ["b/x.yaml"]]}},
     ["axes.data.train = ['b/x.yaml']", "two values of one name"]),
    ({"axes": {"seed": [1, 2]}, "name_pattern": "x"}, ["two runs of one name", "seed (1 and 2)", "needs {seed}"]),
    ({"axes": {"seed": [1]}, "name_pattern": "{sede}"}, ["{sede}", "no axis", "seed"]),
    ({"axes": {"seed": [1]}, "name_pattern": "a b{seed}"}, ["a b1", "letters, digits"]),
    ({"axes": {"seed": []}}, ["seed", "at least one value"]),
    ({"axes": {"seed": 3}}, ["seed", "expected a list of values", "3"]),
    ({"axes": {"seed": [-1]}}, ["seed = -1", "greater than or equal to 0"]),
    ({"axes": {"seed": [1], "r": {"a": {"seed": 2}}}}, ["seed is set by the axis seed too"]),
    ({"axes": {"loss": [{"caption": 1}]}}, ["named alternatives", "caption"]),
    ({"axes": {"seed": [1]}, "rules": [{"when": {"seed": 1}, "set": {"seed": 2}}]}, ["rules.0.set.seed"]),
    ({"rules": [{"when": {"famly": "clip"}, "set": {"seed": 2}}]}, ["rules.0.when.famly", "family"]),
    ({"rules": [{"when": {"family": "clap"}, "set": {"seed": 2}}]}, ["rules.0.when.family = 'clap'", "clip"]),
    ({"rules": [{"when": {"samples_seen": "12.8Q"}, "set": {"seed": 2}}]}, ["12.8Q", "whole number"]),
    ({"rules": [{"when": {"model": "toy-Z"}, "set": {"seed": 2}}]}, ["rules.0.when.model = 'toy-Z'", "did you mean"]),
    ({"rules": [{"when": {"seed": 0}, "set": {"gpus": 0}}]}, ["rules.0.set.gpus = 0", "at least 1"]),
    ({"rules": [{"when": {"seed": 0}, "set": {"nodes": "2"}}]}, ["rules.0.set.nodes = '2'", "whole number of nodes"]),
    ({"rules": [{"when": {"seed": 0}, "set": {"nodes": 1, "gpus": 4}}]}, ["rules.0.set.nodes", "give one of them"]),
    ({"rules": [{"when": {"seed": 0}, "set": {"gpu": 4}}]}, ["rules.0.set.gpu", "did you mean gpus"]),
    ({"rules": [{"when": {"seed": 0}, "set": {"optimizer": {"lrr": 4}}}]}, ["rules.0.set.optimizer.lrr", "did you"]),
    ({"axes": {"optimizer.lr": [1]}, "rules": [{"when": {"seed": 0}, "set": {"optimizer": {"lr": 2}}}]},
     ["rules.0.set.optimizer.lr", "the axis optimizer.lr sets this key"]),
    ({"axes": {"family": {"a": {}}}}, ["axes.family", "call the axis otherwise"]),
    ({"axes": {"r": {"a": {"seed": 1}}, "q": {"b": {"seed": 2}}}}, ["axes.q", "seed is set by the axis r too"]),
    ({"overrides": {"model.name": "x"}}, ["overrides", "model is the single value 'toy-S' and has no keys"]),
    ({"axes": {"model": ["toy-S"]}, "name_pattern": "launch"}, ["launch", "and not"]),
    ({"exclude": [{"modle": "toy-S"}]}, ["exclude.0.modle", "model"]),
    ({"overrides": {"seed.x": 1}}, ["overrides.seed.x", "unknown key"]),
    ({"overrides": {"schedule.warmup": "1M"}}, ["longer than the run", "run s"]),
    ({"base": "toyy"}, ["base", "toyy", "did you mean toy"]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "said"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_a_bad_grid_is_refused_with_file_key_value_and_hint(values: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(sweep(**values), "sweeps/s.yaml")
    message = str(caught.value)
    assert "sweeps/s.yaml" in message
    for part in said:
        assert part in message


def test_one_problem_of_many_runs_is_said_once_and_names_them() -> None:
    config = sweep(axes={"seed": list(range(10))}, overrides={"schedule.warmup": "1M"})
    with pytest.raises(ConfigError) as caught:
        expand(config, "sweeps/s.yaml")
    assert len(caught.value.problems) == 1
    assert "seed0, seed1, seed2 and 7 more" in str(caught.value)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        expand(
            sweep(
                axes={"seed": [1], "optimizer.lrr": [1]},
                rules=[{"when": {"famly": "clip"}, "set": {"gpus": -1}}],
                cells=[{"when": {"sede": 1}, "axes": {"lr": [1]}}],
                exclude=[{"modle": "toy-S"}],
                laws=["toyy"],
                evaluation={"suite": "toi"},
                name_pattern="{sede}",
                base="toyy",
            ),
            "sweeps/s.yaml",
        )
    keys = [problem.key for problem in caught.value.problems]
    assert sorted(keys) == sorted([
        "axes.optimizer.lrr", "rules.0.when.famly", "rules.0.set.gpus", "cells.0.when.sede", "cells.0.axes.lr",
        "exclude.0.modle", "laws.0", "evaluation.suite", "name_pattern",
        "base",
    ])  # fmt: skip


def test_what_runs_are_wrong_in_is_said_together_with_missing_files() -> None:
    with pytest.raises(ConfigError) as caught:
        expand(sweep(axes={"seed": [-1, 1]}, laws=["toyy"]), "sweeps/s.yaml")
    assert "2 problems in sweeps/s.yaml\n" in str(caught.value)
    assert "seed = -1: the value should be greater than or equal to 0 (run seed-1)" in str(caught.value)
    assert "laws.0 = 'toyy': no file of this name in fit/; did you mean toy" in str(caught.value)
