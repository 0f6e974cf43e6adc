"""Properties of every grid: the same runs in whatever order it is written, safe and unique names, and a grid that grows
keeps the runs it had."""

from typing import Any

from grids import MODELS, sweep
from hypothesis import given, settings
from hypothesis import strategies as st

from mammut_clip.config import ConfigError
from mammut_clip.config.run import SAFE_NAME
from mammut_clip.sweep.grid import Cell, cells

BUDGETS = [128 * n for n in (100, 200, 400, 800)]
VALUES: dict[str, list[Any]] = {
    "model": MODELS,
    "samples_seen": BUDGETS,
    "seed": [0, 1, 2],
    "optimizer.weight_decay": [0.0, 0.1, 0.2],
    "data.train": ["data/a", ["data/b", "data/c"], "/x y/$(z)"],
}
RECIPES = {"slow": {"optimizer.lr": 5e-4}, "fast": {"optimizer": {"lr": 2e-3}, "schedule.kind": "const"}, "own": {}}
OF_CELLS: dict[str, list[Any]] = {
    "parallel.micro_batch_size": [1, 2, 4],
    "schedule.warmup": [128, 256],
    "loss.caption": [1.0],
}

conditions = st.one_of(
    st.fixed_dictionaries({"model": st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True)}),
    st.fixed_dictionaries({"family": st.sampled_from(["clip", "mammut"])}),
    st.fixed_dictionaries({"samples_seen": st.sampled_from(BUDGETS).map(lambda budget: {"at_least": budget})}),
    st.fixed_dictionaries({"seed": st.integers(0, 2), "samples_seen": st.sampled_from(BUDGETS)}),
)
settings_ = st.dictionaries(
    st.sampled_from(["loss.caption", "schedule.warmup", "parallel.hang_after"]), st.just(128), min_size=1
)
rules = st.lists(st.fixed_dictionaries({"when": conditions, "set": settings_}), max_size=4)


@st.composite
def axes_of(draw: st.DrawFn, values: dict[str, list[Any]], least: int) -> dict[str, list[Any]]:
    names = draw(st.lists(st.sampled_from(sorted(values)), min_size=least, max_size=3, unique=True))
    return {
        name: draw(st.lists(st.sampled_from(values[name]), min_size=1, max_size=3, unique_by=str)) for name in names
    }


@st.composite
def grids(draw: st.DrawFn) -> dict[str, Any]:
    axes: dict[str, Any] = draw(axes_of(VALUES, 1))
    if draw(st.booleans()):
        axes["recipe"] = {
            name: RECIPES[name] for name in draw(st.lists(st.sampled_from(sorted(RECIPES)), min_size=1, unique=True))
        }
    entry = st.fixed_dictionaries({"when": conditions, "axes": axes_of(OF_CELLS, 1)})
    return {"axes": axes, "cells": draw(st.lists(entry, max_size=3)), "rules": draw(rules)}


def by_name(grid: dict[str, Any]) -> dict[str, Cell]:
    made = cells(sweep(**grid))
    named = {cell.id: cell for cell in made}
    assert len(named) == len(made)
    assert all(SAFE_NAME.match(name) and name == cell.config.name for name, cell in named.items())
    return named


@settings(max_examples=50)
@given(grids(), st.randoms(use_true_random=False))
def test_the_order_of_axes_changes_nothing(grid: dict[str, Any], random: Any) -> None:
    def shuffled(axes: dict[str, Any]) -> dict[str, Any]:
        items = list(axes.items())
        random.shuffle(items)
        return dict(items)

    other = {
        **grid,
        "axes": shuffled(grid["axes"]),
        "cells": [c | {"axes": shuffled(c["axes"])} for c in grid["cells"]],
    }
    assert cells(sweep(**grid)) == cells(sweep(**other))
    assert by_name(grid)


@settings(max_examples=50)
@given(grids(), grids())
def test_a_grid_that_grows_keeps_the_runs_it_had(grid: dict[str, Any], more: dict[str, Any]) -> None:
    grown: dict[str, Any] = {}
    for name, values in grid["axes"].items():
        added = more["axes"].get(name, {} if isinstance(values, dict) else [])
        grown[name] = (
            {**added, **values} if isinstance(values, dict) else [*(v for v in added if v not in values), *values]
        )
    before, after = by_name(grid), by_name({**grid, "axes": grown})
    assert before.items() <= after.items()
    assert len(after) >= len(before)


@settings(max_examples=50)
@given(grids(), conditions, axes_of(OF_CELLS, 1))
def test_a_new_entry_of_cells_changes_no_runs_of_others(
    grid: dict[str, Any], when: dict[str, Any], axes: dict[str, Any]
) -> None:
    before = by_name(grid)
    after = by_name({**grid, "cells": [*grid["cells"], {"when": when, "axes": axes}]})
    # The runs of which a rule with this condition says that it fits them.
    marked = by_name({**grid, "rules": [*grid["rules"], {"when": when, "set": {"gpus": 77}}]})
    others = {name: cell for name, cell in before.items() if marked[name].gpus != 77}
    assert others.items() <= after.items()
    fitting = len(before) - len(others)
    assert bool(fitting) == (len(after) > len(others))


@settings(max_examples=60)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=4), st.text(max_size=12))
def test_any_text_gives_a_safe_name_or_is_refused(texts: list[str], pattern: str) -> None:
    for name_pattern in (None, pattern + "{data.index}"):
        grid = {"axes": {"data.index": texts}, "name_pattern": name_pattern}
        try:
            by_name(grid)
        except ConfigError as error:
            assert {problem.key for problem in error.problems} <= {"name_pattern", "axes.data.index"}
