"""The grid: how many runs, which names, which values."""

import itertools
from typing import Any

import pytest
from grids import BASE, MODELS, sweep
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config import ConfigError
from mammut_clip.config.run import SAFE_NAME
from mammut_clip.sweep.grid import cells, expand

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


def test_rules_choose_gpus_or_nodes_in_place_of_what_the_sweep_says() -> None:
    config = sweep(
        axes={"model": ["toy-S", "toy-M", "toy-L"]},
        nodes=3,
        rules=[
            {"when": {"model": ["toy-M", "toy-L"]}, "set": {"gpus": 4}},
            {"when": {"model": "toy-L"}, "set": {"nodes": 2}},
        ],
    )
    assert [(cell.id, cell.gpus, cell.nodes) for cell in cells(config)] == [
        ("toy-S", None, 3), ("toy-M", 4, None), ("toy-L", None, 2),
    ]  # fmt: skip


def test_nested_and_dotted_keys_set_the_same() -> None:
    dotted = {"optimizer.lr": 2e-3, "optimizer.weight_decay": 0.1, "data.cache.folder": "/tmp/x"}
    nested = {"optimizer": {"lr": 2e-3, "weight_decay": 0.1}, "data": {"cache": {"folder": "/tmp/x"}}}
    always = {"samples_seen": "12.8K"}
    for place in (
        lambda sets: {"overrides": sets},
        lambda sets: {"axes": {"r": {"a": sets}}, "name_pattern": "s"},
        lambda sets: {"rules": [{"when": always, "set": sets}]},
    ):
        (one,), (other,) = expand(sweep(**place(dotted))), expand(sweep(**place(nested)))
        assert one == other
        assert (one.optimizer.lr, one.optimizer.weight_decay) == (2e-3, 0.1)
        assert one.data.cache is not None
        assert one.data.train == ["data/toy"]


def test_a_section_can_be_taken_away_and_given_again() -> None:
    rules = [
        {"when": {"seed": [1, 2]}, "set": {"data.cache": None}},
        {"when": {"seed": 2}, "set": {"data.cache": {"folder": "b"}}},
    ]
    runs = expand(sweep(overrides={"data.cache": {"folder": "a"}}, axes={"seed": [0, 1, 2]}, rules=rules))
    assert [run.data.cache and run.data.cache.folder for run in runs] == ["a", None, "b"]


def test_a_model_may_be_written_out() -> None:
    architecture = next(iter(expand(sweep()))).model.architecture.model_dump(mode="json")
    mine = {"name": "mine", "architecture": architecture}
    when = {"model": "mine", "family": "clip", "seed": 1}
    grid: dict[str, Any] = {"axes": {"seed": [0, 1]}, "rules": [{"when": when, "set": {"optimizer.lr": 2e-3}}]}
    for change in (
        {"base": {**BASE, "model": mine}},
        {"overrides": {"model": mine}},
        {"axes": {"seed": [0, 1], "model": [mine]}},
        {"axes": {"seed": [0, 1], "which": {"mine": {"model": mine}}}},
        {"base": {**BASE, "model": {**architecture, "name": "mine"}}},
    ):
        assert [(run.model.name, run.optimizer.lr) for run in expand(sweep(**{**grid, **change}))] == [
            ("mine", 1e-3), ("mine", 2e-3),
        ]  # fmt: skip
    deeper = {"base": {**BASE, "model": mine}, "axes": {"model.architecture.vision_cfg.layers": [1, 3]}}
    assert [run.model.architecture.vision_cfg.layers for run in expand(sweep(**deeper))] == [1, 3]
