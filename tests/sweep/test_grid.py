"""The grid: how many runs, which names, which values, and what is said about a grid that cannot be."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config import ConfigError
from mammut_clip.config.load import validate
from mammut_clip.config.run import SAFE_NAME
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.sweep.grid import cells, expand

BASE: dict[str, Any] = {
    "model": "toy-S",
    "samples_seen": "12.8K",
    "global_batch_size": 128,
    "data": {"train": "data/toy"},
    "optimizer": {"lr": 1e-3},
}
MODELS = ["toy-XS", "toy-S", "toy-M", "mammut_toy-XS", "mammut_toy-S"]


def sweep(**values: Any) -> SweepConfig:
    return validate(SweepConfig, {"name": "s", "base": BASE, **values}, "sweeps/s.yaml")


AXES: dict[str, st.SearchStrategy[Any]] = {
    "model": st.lists(st.sampled_from(MODELS), min_size=1, unique=True),
    "samples_seen": st.lists(st.integers(1, 10**6).map(lambda n: n * 128), min_size=1, max_size=4, unique=True),
    "seed": st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
    "optimizer.lr": st.lists(st.sampled_from([1e-5, 5e-4, 1e-3, 0.01]), min_size=1, unique=True),
    "recipe": st.just({"a": {"schedule.kind": "cosine"}, "b": {"schedule.kind": "const", "loss.contrastive": 2.0}}),
}


@st.composite
def grids(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(AXES)), min_size=1, unique=True))
    return {name: draw(AXES[name]) for name in names}


@settings(max_examples=60, deadline=None)
@given(grids(), st.data())
def test_a_grid_is_the_product_less_its_exclusions_with_unique_safe_names(
    axes: dict[str, Any], data: st.DataObject
) -> None:
    points = list(itertools.product(*[list(values) for values in axes.values()]))
    condition = {name: data.draw(st.sampled_from(list(values))) for name, values in axes.items()}
    chosen = data.draw(st.lists(st.sampled_from(sorted(condition)), min_size=1, unique=True))
    exclusion = {name: condition[name] for name in chosen}
    left = [p for p in points if any(dict(zip(axes, p, strict=True))[n] != v for n, v in exclusion.items())]
    if not left:
        with pytest.raises(ConfigError, match="no run is left"):
            expand(sweep(axes=axes, exclude=[exclusion]))
        return
    runs = expand(sweep(axes=axes, exclude=[exclusion]))
    assert len(runs) == len(left)
    names = [run.name for run in runs]
    assert len(set(names)) == len(names)
    assert all(SAFE_NAME.match(name) for name in names)


@settings(max_examples=40, deadline=None)
@given(grids(), st.randoms())
def test_the_order_in_which_axes_are_written_changes_nothing(axes: dict[str, Any], random: Any) -> None:
    shuffled = list(axes.items())
    random.shuffle(shuffled)
    assert expand(sweep(axes=axes)) == expand(sweep(axes=dict(shuffled)))


def test_growing_a_grid_keeps_the_runs_it_had() -> None:
    small = expand(sweep(axes={"model": ["toy-S"], "samples_seen": ["12.8K"]}))
    large = expand(sweep(axes={"model": ["toy-S", "toy-M"], "samples_seen": ["12.8K", "25.6K"]}))
    assert all(run in large for run in small)


def test_names_are_made_of_the_axes_and_amounts_are_written_short() -> None:
    axes = {"seed": [1], "optimizer.lr": [5e-4], "samples_seen": [1_280_000], "model": ["toy-S"], "data": {"cc12m": {}}}
    assert expand(sweep(axes=axes))[0].name == "toy-S-1.28M-cc12m-lr0.0005-seed1"
    patterned = sweep(axes=axes, name_pattern="{data}.{model}.{optimizer.lr}.s{seed}")
    assert expand(patterned)[0].name == "cc12m.toy-S.0.0005.s1"


def test_values_that_a_shell_would_mind_never_reach_a_name() -> None:
    runs = expand(sweep(axes={"data.train": [["a b/$(rm x)", "c;d"], ["é'\"`"]]}))
    assert [run.name for run in runs] == ["traina-b-rm-x+c-d", "trainempty"]
    assert runs[0].data.train == ["a b/$(rm x)", "c;d"]


def test_rules_set_values_by_condition_and_the_last_one_wins() -> None:
    config = sweep(
        axes={"model": ["toy-S", "mammut_toy-S"], "samples_seen": ["12.8K", "25.6K"], "r": {"x": {}, "y": {"seed": 7}}},
        rules=[
            {"when": {"samples_seen": ["12800", "51.2K"]}, "set": {"schedule.warmup": "1.28K", "gpus": 2}},
            {"when": {"family": "mammut", "r": "y"}, "set": {"schedule.warmup": 256}},
            # seen is what axes set, not what the rules before have set
            {"when": {"schedule.warmup": 256}, "set": {"optimizer.lr": 99}},
            {"when": {"schedule.kind": "cosine", "seed": 7}, "set": {"loss": {"caption": 1.0}}},
        ],
    )
    found = {cell.id: cell for cell in cells(config)}
    assert len(found) == 8
    for run_id, cell in found.items():
        small, mammut, y = "12.8K" in run_id, run_id.startswith("mammut"), run_id.endswith("-y")
        assert cell.config.schedule.warmup == (256 if mammut and y else 1280 if small else 0)
        assert cell.gpus == (2 if small else None)
        assert cell.config.optimizer.lr == 1e-3
        assert cell.config.seed == (7 if y else 0)
        assert cell.config.loss.caption == (1.0 if y else 2.0)
        assert cell.config.loss.max_logit_scale == 100.0


BAD = [
    ({"axes": {"optimizer.lrr": [1]}}, ["axes.optimizer.lrr", "did you mean optimizer.lr"]),
    ({"overrides": {"smaples_seen": 1}}, ["overrides.smaples_seen", "did you mean samples_seen"]),
    ({"overrides": {"name": "x"}}, ["overrides.name", "names its runs"]),
    ({"axes": {"model": ["toy-S", "toy-Q"]}}, ["model", "toy-Q", "did you mean", "run toy-Q"]),
    ({"axes": {"samples_seen": ["12.8K", 12_800]}}, ["'12.8K'", "two runs of one name", "samples_seen"]),
    ({"axes": {"seed": [1, 2]}, "name_pattern": "x"}, ["two runs of one name", "seed (1 and 2)"]),
    ({"axes": {"seed": [1]}, "name_pattern": "{sede}"}, ["{sede}", "no axis", "seed"]),
    ({"axes": {"seed": [1]}, "name_pattern": "a b{seed}"}, ["a b1", "letters, digits"]),
    ({"axes": {"seed": []}}, ["seed", "at least one value"]),
    ({"axes": {"seed": 3}}, ["seed", "expected a list of values", "3"]),
    ({"axes": {"seed": [-1]}}, ["seed = -1", "greater than or equal to 0"]),
    ({"axes": {"seed": [1], "r": {"a": {"seed": 2}}}}, ["seed is set by the axis seed too"]),
    ({"axes": {"loss": [{"caption": 1}]}}, ["named alternatives", "caption"]),
    ({"axes": {"seed": [1]}, "rules": [{"when": {"seed": 1}, "set": {"seed": 2}}]}, ["rules[1].set.seed"]),
    ({"rules": [{"when": {"famly": "clip"}, "set": {"seed": 2}}]}, ["rules[1].when.famly", "family"]),
    ({"rules": [{"when": {"family": "clap"}, "set": {"seed": 2}}]}, ["rules[1].when.family = 'clap'", "clip"]),
    ({"rules": [{"when": {"samples_seen": "12.8Q"}, "set": {"seed": 2}}]}, ["12.8Q", "whole number"]),
    ({"rules": [{"when": {"model": "toy-Z"}, "set": {"seed": 2}}]}, ["rules[1].when.model = 'toy-Z'", "did you mean"]),
    ({"rules": [{"when": {"seed": 0}, "set": {"gpus": 0}}]}, ["rules[1].set.gpus = 0", "at least 1"]),
    ({"exclude": [{"modle": "toy-S"}]}, ["exclude[1].modle", "model"]),
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
