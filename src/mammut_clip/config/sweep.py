"""A grid of runs: the schema of sweeps/*.yaml.

name: toy
base: toy                                   # a recipe in configs/train/
axes:
  model: [toy-S, mammut_toy-S]              # a key of the run config and its values
  samples_seen: [12.8K, 51.2K]
  recipe:                                   # or named alternatives that set several keys
    slow: {optimizer.lr: 5e-4}
    fast: {optimizer.lr: 1e-3, schedule.kind: const}
rules:
  - when: {samples_seen: {below: 50K}, family: clip}
    set: {schedule.warmup: 1.28K}
cells:
  - when: {model: mammut_toy-S, recipe: slow}
    axes: {seed: [0, 1, 2]}
exclude:
  - {model: toy-S, recipe: fast}
cluster: local

docs/sweep-files.md tells what each key does; mammut_clip.sweep.grid makes runs of it.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mammut_clip.config.base import Config
from mammut_clip.config.files import find_file
from mammut_clip.config.load import named_with, read_mapping, read_overrides, set_key, validate
from mammut_clip.config.quantity import Samples
from mammut_clip.config.run import SafeName


def _check_axes(axes: Any) -> Any:
    """Axes as a mapping of dotted keys to values."""
    if not isinstance(axes, dict):
        raise ValueError("expected a mapping of keys to lists of values")
    dotted: dict[str, Any] = {}
    for name, values in axes.items():
        if isinstance(values, dict) and values and all(isinstance(value, list) for value in values.values()):
            # nested mappings say the same as dotted keys
            dotted |= {f"{name}.{key}": value for key, value in values.items()}
        else:
            dotted[name] = values
    for name, values in dotted.items():
        if not isinstance(values, list | dict):
            raise ValueError(f"{name}: expected a list of values, or a mapping of named alternatives, found {values!r}")
        if not values:
            raise ValueError(f"{name}: an axis needs at least one value")
        for key, value in values.items() if isinstance(values, dict) else ():
            if not isinstance(value, dict):
                raise ValueError(
                    f"{name}.{key}: expected a list of values of this key, or a mapping of keys that the alternative "
                    f"{key} sets, found {value!r}"
                )
    return dotted


class SweepRule(Config):
    """Recipe values that hold for some of the runs."""

    when: dict[str, Any] = Field(min_length=1)
    """Key -> value, list of values of which one must hold, or bounds such as {at_least: 300M} (also above, at_most,
    below). Keys are those of the run config, names of axes of alternatives, and `family`. Seen is what base, overrides
    and axes set, never what another rule set."""
    set: dict[str, Any] = Field(min_length=1)
    """Dotted key of the run config, `gpus` or `nodes` -> value. Where several rules set one key, the last wins; what
    the axes of a cell set stays."""


class SweepCell(Config):
    """Values that are tried in some of the grid's cells only, such as learning rates of one model at one budget."""

    when: dict[str, Any] = Field(min_length=1)
    """Condition, as in rules, on base, overrides and the sweep's axes."""
    axes: dict[str, list[Any] | dict[str, dict[str, Any]]] = Field(min_length=1)
    """Axes of these cells, as in the sweep's own. A cell takes those of the last entry that fits it."""

    _axes_have_values = field_validator("axes", mode="before")(_check_axes)


class SweepEvaluation(Config):
    """Zero-shot evaluation of the sweep's checkpoints."""

    suite: str
    """Name or path of a suite in evals/."""
    data_root: str | None = None
    """Folder that holds the suite's datasets; null takes the one the suite names."""
    where: Literal["training", "jobs"] = "training"
    """training: by the training processes, in their allocation; jobs: on one GPU each, beside the training."""
    points: Literal["final", "permanent", "all"] = "final"
    """jobs: which checkpoints: the last one; those that stay (checkpoint.permanent) too; or all that are found."""
    every: Samples | None = None
    """training: distance between evaluations in samples seen; null evaluates at the end only."""

    @model_validator(mode="after")
    def _keys_fit_where(self) -> Self:
        if self.where == "jobs" and self.every is not None:
            raise ValueError("every belongs to where: training; jobs evaluate checkpoints (points, checkpoint.every)")
        if self.where == "training" and self.points != "final":
            raise ValueError("points belongs to where: jobs; training evaluates at the end and by `every`")
        return self


class SweepPolicy(Config):
    """What follows when a run's processes end before the run does."""

    crashes: int = Field(3, ge=1)
    """Starts that end in an error, without progress in between, after which a run is given up."""
    backoff_seconds: float = Field(30.0, ge=0)
    """Wait before the next start after such an end; doubled each time, up to 10 minutes."""
    stalls: int = Field(3, ge=1)
    """Starts in a row that end by time limit, preemption or the like without one more checkpoint, after which a run is
    given up."""
    smaller_micro_batch: bool = True
    """Whether a run that was out of memory goes on at once with half the parallel.micro_batch_size: the same steps,
    slower. `crashes` does not count it."""
    node_failures: int = Field(2, ge=1)
    """Failures of a node after which no job of the sweep gets it."""
    silent_minutes: float = Field(30.0, gt=0)
    """Without a heartbeat of the run for this long, its processes are ended and started again."""


class SweepConfig(Config):
    """A set of runs made from one recipe."""

    name: SafeName
    """Name of the sweep: its folder under runs/."""
    base: str | dict[str, Any]
    """The recipe: a name in configs/train/, a path, or a run config written out."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Dotted key -> value, for every run."""
    axes: dict[str, list[Any] | dict[str, dict[str, Any]]] = Field(default_factory=dict)
    """Dotted key -> values, or any name -> named alternatives, each setting several keys. The runs are the product."""
    rules: list[SweepRule] = Field(default_factory=list)
    """Values set by condition, in order."""
    cells: list[SweepCell] = Field(default_factory=list)
    """Further axes of some of the cells: lists of hyper-parameters that are tried there."""
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    """Conditions, as in `when`, of runs that are left out."""
    name_pattern: str | None = None
    """Pattern of the runs' names, such as `{model}-{samples_seen}`; null is made of all axes. A name must stay the same
    when the grid grows: it is the run's folder. What cells add is appended."""
    gpus: int | None = Field(None, ge=1)
    """GPUs, one process each, of every run; null takes a whole node (slurm), or one (local). Rules can set it."""
    nodes: int | None = Field(None, ge=1)
    """Whole nodes of every run, in place of gpus. Rules can set it."""
    runs_per_job: int | None = Field(None, ge=1)
    """slurm: runs that one job takes, as many at a time as its nodes have room for; null fills the job's nodes, and
    adds runs until half of its time limit is predicted to be used."""
    evaluation: SweepEvaluation | None = None
    """How checkpoints are evaluated; null leaves it to the recipe's own `evaluation`."""
    laws: list[str] = Field(default_factory=list)
    """Law specs, names in fit/ or paths, that are fitted anew whenever evaluations have ended."""
    policy: SweepPolicy = SweepPolicy()
    """What follows when a run's processes end before the run does."""
    cluster: str = "local"
    """Where it runs: a name in slurm/ or a path."""

    _axes_have_values = field_validator("axes", mode="before")(_check_axes)

    @model_validator(mode="after")
    def _conditions_say_something(self) -> Self:
        if any(not condition for condition in self.exclude):
            raise ValueError("exclude: an empty condition would leave out every run")
        if self.gpus is not None and self.nodes is not None:
            raise ValueError("gpus and nodes say the same in two ways: give one of them")
        return self


def load_sweep(name: str | Path, overrides: list[str] | None = None) -> SweepConfig:
    """A sweep by the name of its file in sweeps/, or by path. Raises ConfigError; `sweep.grid` checks its runs."""
    path = find_file("sweeps", name)
    values = read_mapping(path)
    for key, value in read_overrides(overrides or []).items():
        set_key(values, _place(values, key.split("."), value), value)
    values.setdefault("name", path.stem)
    return validate(SweepConfig, values, named_with(path, overrides))


def _place(values: dict[str, Any], path: list[str], value: Any) -> list[str]:
    """Where an override belongs: a list under `axes.` has the values of one key, which may have dots, unless the file
    has an axis with an alternative of this name."""
    if path[0] != "axes" or len(path) < 3 or not isinstance(value, list):
        return path
    axes = values.get("axes")
    alternatives = axes.get(path[1]) if isinstance(axes, dict) else None
    return path if isinstance(alternatives, dict) and path[2] in alternatives else ["axes", ".".join(path[1:])]
