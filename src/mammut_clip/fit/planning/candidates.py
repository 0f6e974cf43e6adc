"""Runs that could be made next: where each would stand in the laws of a spec, and what it would cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mammut_clip.config.cluster import load_cluster
from mammut_clip.config.errors import InputError
from mammut_clip.config.files import find_file
from mammut_clip.config.load import load_config
from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.run import RunConfig
from mammut_clip.cost.price import check_gpus, price, usual_gpus
from mammut_clip.fit.planning.places import Shape


@dataclass(frozen=True)
class Candidate:
    """One cell (model x samples seen) that could be measured: all its runs, for together they give one point."""

    shape: Shape
    runs: tuple[str, ...]
    """Names of the runs that measure it."""
    hours: float
    """GPU-hours of all of them; core-hours on a cluster without GPUs."""


def cells(runs: Iterable[tuple[str, Shape, float]]) -> tuple[Candidate, ...]:
    """Candidates of (name, shape, hours) of single runs: those of one shape are one cell, in order of appearance."""
    found: dict[Shape, list[tuple[str, float]]] = {}
    for name, shape, hours in runs:
        found.setdefault(shape, []).append((name, hours))
    return tuple(
        Candidate(shape, tuple(name for name, _ in own), sum(hours for _, hours in own)) for shape, own in found.items()
    )


def from_axes(
    models: Sequence[str], samples: Sequence[int], recipe: str, cluster: str, gpus: int | None = None
) -> tuple[Candidate, ...]:
    """One run for each model and number of samples, priced as `sweep plan` does with a recipe of configs/train/ on a
    cluster of slurm/; `gpus` of each run, else a whole node.

    Raises ConfigError for a model, recipe or cluster that is not known or cannot be, and InputError for none at all.
    """
    if not models or not samples:
        raise InputError("candidates need at least one model and one number of samples")
    machine, source = load_cluster(cluster), find_file("configs/train", recipe)
    each = usual_gpus(machine) if gpus is None else gpus
    check_gpus(each, machine, "command line")
    runs = []
    for model in models:
        for seen in samples:
            # The ramps of a recipe are meant for its own budget, and cost nothing.
            overrides = [
                f"model={model}",
                f"samples_seen={seen}",
                "schedule.warmup=0",
                f"name={recipe_name(model, seen)}",
            ]
            config = load_config(RunConfig, source, overrides)
            config.check_world_size(max(1, each), "command line")
            cost = price(config, each, machine)
            shape = Shape(model, seen)
            runs.append((str(shape), shape, cost.gpu_hours if each else cost.core_hours))
    return cells(runs)


def recipe_name(model: str, samples: int) -> str:
    """A name that a run of this shape could have."""
    return f"{model.rpartition('/')[2].partition('.')[0]}-{format_quantity(samples)}"
