"""Rows -> tables: model x samples seen, the best value over recipes."""

from dataclasses import dataclass

import pandas as pd

from mammut_clip.config.quantity import format_quantity
from mammut_clip.runs.overview.selection import Selection, select
from mammut_clip.runs.overview.units import Unit, unit_of

_ONE_TABLE = ["task", "metric", "dataset", "schedule", "family"]


@dataclass(frozen=True)
class Cell:
    """What a model reached with so many samples."""

    value: float
    """The best over recipes (learning rate, batch size, warm-up, seed)."""
    runs: int
    """How many recipes there are."""
    run: str
    """The best one's name; the first by name among equals."""


@dataclass(frozen=True)
class OverviewTable:
    """One metric of one task, for one family of models trained on one dataset under one kind of schedule."""

    task: str
    metric: str
    dataset: str
    schedule: str
    family: str
    unit: Unit
    all_checkpoints: bool
    rows: tuple[str, ...]
    """Models, by compute per sample."""
    columns: tuple[int, ...]
    """Samples seen, ascending."""
    cells: tuple[tuple[Cell | None, ...], ...]
    """By row and column; None where there is no result."""

    @property
    def title(self) -> str:
        """What the table shows."""
        return f"{self.task}, {self.metric}: {self.family} on {self.dataset}, {self.schedule} schedule"

    @property
    def caption(self) -> str:
        """How to read it."""
        counts = [cell.runs for row in self.cells for cell in row if cell]
        recipes = f"{min(counts)} to {max(counts)} recipes" if min(counts) < max(counts) else _recipes(counts[0])
        better = "lowest" if self.unit.lower_is_better else "highest"
        where = "every checkpoint at its samples seen" if self.all_checkpoints else "finished runs at their end"
        return (
            f"{self.unit.words} by model and samples seen ({where}), each the {better} of {recipes} (learning rate, "
            f"batch size, warm-up). Models by compute. Bold: the {better} of each column."
        )

    @property
    def headings(self) -> tuple[str, ...]:
        """Samples as people write them."""
        return tuple(format_quantity(samples) for samples in self.columns)

    @property
    def bold(self) -> tuple[tuple[bool, ...], ...]:
        """Whether a cell is the best of its column, to the digits that are shown; equals all are."""
        best = min if self.unit.lower_is_better else max
        tops = [best(cell.value for cell in column if cell) for column in zip(*self.cells, strict=True)]
        shown = [self.unit.show(top) for top in tops]
        return tuple(
            tuple(cell is not None and self.unit.show(cell.value) == top for cell, top in zip(row, shown, strict=True))
            for row in self.cells
        )

    def text(self, cell: Cell | None, empty: str = "") -> str:
        """A cell as it is shown."""
        return empty if cell is None else self.unit.show(cell.value)


def overview(frame: pd.DataFrame, selection: Selection) -> list[OverviewTable]:
    """The tables of a selection, by task, metric, dataset, schedule and family.

    Raises InputError as `select` does, and for values of mixed units.
    """
    rows = select(frame, selection)
    units = {metric: unit_of(metric, rows[rows["metric"] == metric]) for metric in sorted(rows["metric"].unique())}
    return [
        _table(dict(zip(_ONE_TABLE, map(str, names), strict=True)), part, units[names[1]], selection.all_checkpoints)
        for names, part in rows.groupby(_ONE_TABLE, sort=True)
    ]


def _table(names: dict[str, str], rows: pd.DataFrame, unit: Unit, all_checkpoints: bool) -> OverviewTable:
    models = _by_compute(rows)
    columns = tuple(int(samples) for samples in sorted(rows["samples"].unique()))
    found = _cells(rows, unit)
    cells = tuple(tuple(found.get((model, samples)) for samples in columns) for model in models)
    return OverviewTable(**names, unit=unit, all_checkpoints=all_checkpoints, rows=models, columns=columns, cells=cells)


def _cells(rows: pd.DataFrame, unit: Unit) -> dict[tuple[str, int], Cell]:
    """By model and samples. A run of a sweep counts once, however often its results were given."""
    place = ["model", "samples"]
    named = rows.assign(run=rows["run"].astype(str))
    runs = named.drop_duplicates([*place, *[column for column in ("sweep", "run") if column in rows.columns]])
    counts = runs.groupby(place).size().to_dict()
    best_first = named.sort_values(["value", "run"], ascending=[unit.lower_is_better, True], kind="stable")
    best = best_first.drop_duplicates(place).set_index(place)
    return {
        (str(model), int(samples)): Cell(float(value), int(counts[model, samples]), run)
        for (model, samples), value, run in zip(best.index, best["value"], best["run"], strict=True)
    }


def _by_compute(rows: pd.DataFrame) -> tuple[str, ...]:
    """Models from small to large: by GFLOPs per sample, parameters and name, as far as those are known."""
    known = [column for column in ("gflops_per_sample_paper", "params") if column in rows.columns]
    sizes = rows.groupby("model")[known].max().reset_index() if known else rows[["model"]].drop_duplicates()
    return tuple(str(model) for model in sizes.sort_values([*known, "model"])["model"])


def _recipes(count: int) -> str:
    return f"{count} recipe{'s' * (count != 1)}"
