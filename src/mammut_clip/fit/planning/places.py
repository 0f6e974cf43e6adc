"""A run that is only planned: what it would cost in the units of a table, and which groups' laws speak of it.

A model that stands in a group's own rows has the GFLOPs per sample that those rows count: x divided by samples. Any
other model has what the cost package says of its architecture, in the convention of the spec, which is how results
tables are made. The two must not disagree on the models that both know, or one law would mix two units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.config.quantity import format_quantity
from mammut_clip.cost.flops import gflops_per_sample
from mammut_clip.cost.outside import unmeasured
from mammut_clip.fit.group import GroupFit

_AGREE = 0.01
"""Relative difference between a table's GFLOPs per sample and the cost package's that rounding explains."""


@dataclass(frozen=True)
class Shape:
    """A model and the samples it would see."""

    model: str
    """A name in configs/models/, a path to a model's file, or a model of the table."""
    samples_seen: int
    architecture: ModelConfig | None = field(default=None, compare=False, repr=False)
    """Of the model, where it is known already."""

    def __str__(self) -> str:
        return f"{self.model} at {format_quantity(self.samples_seen)}"


@dataclass(frozen=True)
class Place:
    """Where a shape stands in one group: its x, and how that was counted."""

    shape: Shape
    group: str
    x: float
    """In the unit of the spec's x."""
    gflops_per_sample: float | None
    """None for laws in samples seen."""
    counted_by: Literal["table", "architecture", "samples"]


def places(groups: Sequence[GroupFit], spec: LawSpec, shape: Shape, only: Sequence[str] = ()) -> tuple[Place, ...]:
    """Where a planned run stands in each group whose law speaks of it: the groups that have its model's family among
    their runs. In the groups that `only` names, a model that stands in their rows will do.

    Raises InputError for a model that neither the table nor configs/models/ knows, and where the table's compute is not
    what the cost package counts for the models that both know.
    """
    named = [g for g in groups if not only or g.name in only]
    try:
        config = shape.architecture or load_model_config(shape.model)
    except ConfigError:
        listed = [g for g in named if _lists(g, shape.model)]
        if not listed:
            raise
        return tuple(_place(group, spec, shape, None) for group in listed)
    fitting = [
        g for g in named if config.family in _families(g, spec, config.family) or (only and _lists(g, shape.model))
    ]
    return tuple(_place(group, spec, shape, config) for group in fitting)


def check_groups(groups: Sequence[GroupFit], only: Sequence[str]) -> None:
    """Raise InputError for a group that the spec does not have."""
    known = [g.name for g in groups]
    for name in only:
        if name not in known:
            raise InputError(f"group {name!r}: the spec has no such group; known: {', '.join(known)}")


def samples_of(points: pd.DataFrame) -> np.ndarray | None:
    """Samples that each row's x was counted to [rows]; None for a table that does not tell."""
    for column in ("checkpoint_samples", "samples_seen"):
        if column in points:
            return points[column].to_numpy(dtype=np.float64)
    return None


def _place(group: GroupFit, spec: LawSpec, shape: Shape, config: ModelConfig | None) -> Place:
    if spec.x == "samples_seen":
        return Place(shape, group.name, float(shape.samples_seen), None, "samples")
    if _lists(group, shape.model):
        each = _of_table(group, shape.model)
        return Place(shape, group.name, each * shape.samples_seen, each, "table")
    assert config is not None
    _check_unit(group, spec)
    each = _of_architecture(config, spec)
    return Place(shape, group.name, each * shape.samples_seen, each, "architecture")


def _families(group: GroupFit, spec: LawSpec, asked: str) -> set[str]:
    if "family" in group.points:
        return set(group.points["family"].astype(str))
    # A table without families cannot say no.
    return {group.name} if spec.group == "family" else {asked}


def _lists(group: GroupFit, model: str) -> bool:
    return "model" in group.points and bool((group.points["model"] == model).any())


def _of_table(group: GroupFit, model: str) -> float:
    rows = group.points[group.points["model"] == model]
    samples = samples_of(rows)
    if samples is None:
        raise InputError(f"{model}: the table has no samples_seen to tell its GFLOPs per sample by")
    each = rows["x"].to_numpy(dtype=np.float64) / samples
    low, high = float(each.min()), float(each.max())
    if high > low * (1 + _AGREE):
        raise InputError(
            f"{model}: the table counts between {low:g} and {high:g} GFLOPs per sample for it; runs of one name must "
            "be of one architecture"
        )
    return float(np.median(each))


def _of_architecture(config: ModelConfig, spec: LawSpec) -> float:
    each = gflops_per_sample(config)
    return each.paper if spec.x == "gflops_paper" else each.exact_step


def _check_unit(group: GroupFit, spec: LawSpec) -> None:
    if not {"model", "family"} <= set(group.points):
        return
    known = group.points.drop_duplicates(["model", "family"])
    for model, family in zip(known["model"].astype(str), known["family"].astype(str), strict=True):
        try:
            config = load_model_config(model)
        except ConfigError:
            continue
        if config.family != family or unmeasured(config):
            continue  # a name that means another architecture here, or one whose cost only its rows tell
        ours, theirs = _of_architecture(config, spec), _of_table(group, model)
        if abs(theirs / ours - 1) > _AGREE:
            raise InputError(
                f"{model}: the table counts {theirs:g} GFLOPs per sample and {spec.x} is {ours:g}: they are not in one "
                "unit; ask for models of the table, or give its compute in the convention that `x` names"
            )
