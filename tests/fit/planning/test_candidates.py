"""Runs that could be made: cells of a sweep and of axes, with the prices of `sweep plan`."""

import pytest

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.fit.planning import Shape, cells, from_axes
from mammut_clip.sweep.plan import load_plan


def test_all_runs_of_a_shape_are_one_cell() -> None:
    a, b = Shape("ViT-B-32", 10), Shape("ViT-B-32", 20)
    found = cells([("one", a, 1.0), ("two", b, 2.0), ("three", a, 4.0)])
    assert [(c.shape, c.runs, c.hours) for c in found] == [(a, ("one", "three"), 5.0), (b, ("two",), 2.0)]


def test_axes_cost_what_sweep_plan_says() -> None:
    """The recipe's own example stands in the sweep of the paper too, on as many GPUs."""
    planned = {run.id: run for run in load_plan("paper-datacomp-cosine").runs}
    run = planned["mammut_ViT-B-32-128M"]
    (cell,) = from_axes(["mammut_ViT-B-32"], [128_000_000], "paper", "juwels-booster", run.gpus)
    assert run.config.global_batch_size == 8192
    assert cell.hours == pytest.approx(run.gpu_hours, rel=1e-12)


def test_the_product_of_models_and_samples_in_order() -> None:
    found = from_axes(["ViT-S-32", "mammut_ViT-L-14"], [30_000_000, 60_000_000], "paper", "juwels-booster")
    assert [str(c.shape) for c in found] == [
        "ViT-S-32 at 30M",
        "ViT-S-32 at 60M",
        "mammut_ViT-L-14 at 30M",
        "mammut_ViT-L-14 at 60M",
    ]
    assert found[1].hours == pytest.approx(2 * found[0].hours, rel=0.01)
    assert found[2].hours > 5 * found[0].hours


def test_without_gpus_hours_are_those_of_cores() -> None:
    (cell,) = from_axes(["toy-S"], [100_000], "toy", "local")
    assert cell.hours > 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="at least one model"):
        from_axes([], [10], "paper", "juwels-booster")
    with pytest.raises(ConfigError, match="ViT-B-32"):
        from_axes(["ViT-B-33"], [10**9], "paper", "juwels-booster")
    with pytest.raises(ConfigError, match="gpus"):
        from_axes(["ViT-B-32"], [10**9], "paper", "juwels-booster", gpus=6)
    with pytest.raises(ConfigError, match="global_batch_size"):
        from_axes(["ViT-B-32"], [100], "paper", "juwels-booster")
