"""Hyper-parameter lists of single cells: which runs, under which names, and how they stand beside rules."""

from typing import Any

import pytest
from grids import sweep

from mammut_clip.config import ConfigError
from mammut_clip.sweep.grid import cells, expand

AXES = {"model": ["toy-S", "toy-M"], "samples_seen": ["12.8K", "25.6K"]}


def names(**values: Any) -> list[str]:
    return [run.name for run in expand(sweep(**{"axes": AXES, **values}))]


def test_a_cell_has_axes_of_its_own_and_the_others_stay_as_they_were() -> None:
    tried = {
        "when": {"model": "toy-S", "samples_seen": "12.8K"},
        "axes": {"optimizer.lr": [1e-3, 2e-3], "seed": [0, 1]},
    }
    found = names(cells=[tried])
    assert found == [
        "toy-S-12.8K-lr0.001-seed0", "toy-S-12.8K-lr0.001-seed1", "toy-S-12.8K-lr0.002-seed0",
        "toy-S-12.8K-lr0.002-seed1", "toy-S-25.6K", "toy-M-12.8K", "toy-M-25.6K",
    ]  # fmt: skip
    assert set(names()) - {"toy-S-12.8K"} <= set(found)


def test_the_last_entry_that_fits_counts() -> None:
    found = names(
        cells=[
            {"when": {"model": ["toy-S", "toy-M"]}, "axes": {"seed": [1, 2]}},
            {"when": {"model": "toy-M", "samples_seen": {"above": "20K"}}, "axes": {"r": {"a": {"seed": 7}}}},
            {"when": {"samples_seen": "51.2K"}, "axes": {"seed": [9]}},
        ]
    )
    assert found == [
        "toy-S-12.8K-seed1", "toy-S-12.8K-seed2", "toy-S-25.6K-seed1", "toy-S-25.6K-seed2",
        "toy-M-12.8K-seed1", "toy-M-12.8K-seed2", "toy-M-25.6K-a",
    ]  # fmt: skip


def test_a_name_does_not_tell_whether_an_axis_is_the_sweeps_or_the_cells() -> None:
    everywhere = names(axes={**AXES, "optimizer.lr": [1e-3, 2e-3], "seed": [0]})
    of_cells = names(axes={**AXES, "seed": [0]}, cells=[{"when": {"seed": 0}, "axes": {"optimizer.lr": [1e-3, 2e-3]}}])
    assert of_cells == everywhere


def test_a_pattern_keeps_its_names_and_what_cells_add_is_appended() -> None:
    tried = {"when": {"model": "toy-S"}, "axes": {"optimizer.lr": [1e-3, 2e-3], "r": {"fast": {"seed": 1}}}}
    pattern = "{model}_{samples_seen}"
    found = names(name_pattern=pattern, cells=[tried])
    assert found[:2] == ["toy-S_12.8K-lr0.001-fast", "toy-S_12.8K-lr0.002-fast"]
    assert found[-2:] == names(name_pattern=pattern)[-2:] == ["toy-M_12.8K", "toy-M_25.6K"]


def test_a_pattern_may_name_an_axis_that_every_run_has() -> None:
    each = [{"when": {"model": model}, "axes": {"seed": [n]}} for n, model in enumerate(AXES["model"])]
    assert names(name_pattern="{seed}.{model}.{samples_seen}", cells=each)[0] == "0.toy-S.12.8K"
    with pytest.raises(ConfigError, match=r"\{seed\} is an axis of some cells only, and 2 runs \(toy-M-12.8K, ...\)"):
        names(name_pattern="{seed}.{model}.{samples_seen}", cells=each[:1])


def test_rules_see_what_a_cell_tries_and_do_not_undo_it() -> None:
    config = sweep(
        axes={"model": ["toy-S", "toy-M"]},
        cells=[{"when": {"model": "toy-S"}, "axes": {"optimizer.lr": [3e-3, 4e-3], "r": {"x": {}, "y": {"seed": 5}}}}],
        rules=[
            {"when": {"samples_seen": "12.8K"}, "set": {"optimizer": {"lr": 9e-3, "weight_decay": 0.1}, "seed": 2}},
            {"when": {"optimizer.lr": {"above": 3.5e-3}}, "set": {"gpus": 2}},
            {"when": {"r": "y"}, "set": {"nodes": 1}},
        ],
    )
    found = {c.id: (c.config.optimizer.lr, c.config.optimizer.weight_decay, c.config.seed, c.gpus, c.nodes)
             for c in cells(config)}  # fmt: skip
    assert found == {
        "toy-S-lr0.003-x": (3e-3, 0.1, 2, None, None),
        "toy-S-lr0.003-y": (3e-3, 0.1, 5, None, 1),
        "toy-S-lr0.004-x": (4e-3, 0.1, 2, 2, None),
        "toy-S-lr0.004-y": (4e-3, 0.1, 5, None, 1),
        "toy-M": (9e-3, 0.1, 2, None, None),
    }


def test_exclusions_see_what_a_cell_tries() -> None:
    tried = {"when": {"model": "toy-S"}, "axes": {"seed": [0, 1], "r": {"a": {}, "b": {}}}}
    found = names(
        axes={"model": ["toy-S", "toy-M"]}, cells=[tried], exclude=[{"seed": 1, "r": "b"}, {"model": "toy-M"}]
    )
    assert found == ["toy-S-a-seed0", "toy-S-a-seed1", "toy-S-b-seed0"]


BAD = [
    ({"when": {"model": "toy-S"}, "axes": {"samples_seen": [1]}}, ["samples_seen is set by the axis samples_seen too"]),
    ({"when": {"model": "toy-S"}, "axes": {"r": {"a": {"model": "toy-M"}}}}, ["cells.0.axes.r", "the axis model too"]),
    (
        {"when": {"model": "toy-S"}, "axes": {"seed": [1], "r": {"a": {"seed": 2}}}},
        ["seed is set by the axis seed too"],
    ),
    ({"when": {"model": "toy-S"}, "axes": {"optimizer.lrr": [1]}}, ["cells.0.axes.optimizer.lrr", "optimizer.lr"]),
    ({"when": {"model": "toy-S"}, "axes": {"r": {"a b": {}}}}, ["cells.0.axes.r = 'a b'", "letters, digits"]),
    ({"when": {"r": "a"}, "axes": {"r": {"a": {}}}}, ["cells.0.when.r", "unknown key"]),
    ({"when": {"model": "toy-S"}, "axes": {"seed": [1, "1"]}}, ["cells.0.axes.seed = '1'", "two values of one name"]),
]


@pytest.mark.parametrize(("cell", "said"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_bad_cells_are_refused_with_place_value_and_hint(cell: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(sweep(axes=AXES, cells=[cell]), "sweeps/s.yaml")
    assert "sweeps/s.yaml" in str(caught.value)
    for part in said:
        assert part in str(caught.value)


def test_an_axis_name_belongs_to_the_sweep_or_to_cells() -> None:
    axes = {"r": {"a": {"seed": 1}}}
    with pytest.raises(ConfigError, match=r"cells\.0.axes.r: the sweep has an axis of this name"):
        expand(sweep(axes=axes, cells=[{"when": {"seed": 1}, "axes": {"r": {"b": {"optimizer.lr": 1}}}}]))
