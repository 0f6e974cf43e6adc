"""Which rows of the results an overview is made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.runs import table
from mammut_clip.runs.layout import SweepDir

NEEDED = (
    "run",
    "family",
    "model",
    "dataset",
    "schedule",
    "samples_seen",
    "checkpoint_samples",
    "task",
    "metric",
    "value",
)
TRAINING = "train"
"""The task of training's own losses, which stand in the results table but are no evaluation."""


@dataclass(frozen=True)
class Selection:
    """What is shown; an empty tuple leaves nothing out."""

    tasks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    """Without any, the one that each task is known by."""
    families: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    """Training datasets."""
    all_checkpoints: bool = False
    """Every checkpoint at its own samples seen, for constant schedules; otherwise finished runs at their end."""


def read_results(paths: Iterable[Path]) -> pd.DataFrame:
    """Rows of sweeps, folders of sweeps and results.parquet files, one after the other.

    Raises InputError for a path with no results in it.
    """
    parts = [part for path in paths for part in _read(path)]
    if not parts:
        raise InputError("no folder of results was given; expected sweeps, folders of sweeps or results.parquet files")
    return pd.concat(parts, ignore_index=True)


def _read(path: Path) -> list[pd.DataFrame]:
    if path.is_file():
        return [table.read(path)]
    sweeps = [SweepDir(folder) for folder in [path, *sorted(path.glob("*/"))] if any(folder.glob("*/config.yaml"))]
    if not sweeps:
        raise InputError(f"{path}: no runs here; expected a sweep, a folder of sweeps or a results.parquet")
    return [table.collect(sweep) for sweep in sweeps]


def select(rows: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """The rows that `selection` asks for, with a column `samples`: what the table's columns are.

    Raises InputError for rows that are no results, and where nothing is left, saying what there is.
    """
    missing = [column for column in NEEDED if column not in rows.columns]
    if missing:
        raise InputError(f"the results have no column {', '.join(missing)}; expected the columns of results.parquet")
    wanted = {
        "task": selection.tasks,
        "metric": selection.metrics,
        "family": selection.families,
        "schedule": selection.schedules,
        "dataset": selection.datasets,
    }
    left = rows if TRAINING in selection.tasks else rows[rows["task"] != TRAINING]
    if left.empty:
        raise InputError("the results hold no evaluations; `mammut-clip eval` measures checkpoints")
    for column, names in wanted.items():
        left = _among(left, column, names)
    if not selection.metrics:
        left = _main(left)
    return _samples(left, selection.all_checkpoints)


def _among(rows: pd.DataFrame, column: str, names: tuple[str, ...]) -> pd.DataFrame:
    known = sorted(str(name) for name in rows[column].unique())
    for name in names:
        if name not in known:
            raise InputError(f"no results of {column} {name!r}; {nearest(name, known)} There are: {', '.join(known)}")
    return rows[rows[column].isin(names)] if names else rows


def _main(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the metrics that tasks are known by."""
    if "main" not in rows.columns:
        return rows
    marked = rows[[value is True or str(value) == "True" for value in rows["main"]]]
    if marked.empty:
        metrics = ", ".join(sorted(str(name) for name in rows["metric"].unique()))
        raise InputError(
            f"these results do not say which metric a task is known by; choose from {metrics}, or evaluate again"
        )
    return marked


def _samples(rows: pd.DataFrame, all_checkpoints: bool) -> pd.DataFrame:
    if all_checkpoints:
        return rows.assign(samples=rows["checkpoint_samples"].astype("int64"))
    behind = rows["samples_seen"] - rows["checkpoint_samples"]
    rounding = rows["global_batch_size"] / 2 if "global_batch_size" in rows.columns else 0  # a run ends at a whole step
    final = rows[behind <= rounding]
    if "state" in final.columns:
        final = final[final["state"] == "finished"]
    if final.empty:
        raise InputError(
            f"{len(rows)} results, but none of a finished run's last checkpoint; "
            "all checkpoints are shown where they are asked for (--all-checkpoints)"
        )
    return final.assign(samples=final["samples_seen"].astype("int64"))
