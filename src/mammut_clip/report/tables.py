"""The table of all runs: one row each, with its last loss and every metric at its last checkpoint."""

import pandas as pd

from mammut_clip.config.quantity import format_quantity
from mammut_clip.fit.tables import Table
from mammut_clip.report.data import LossCurve

_LOSS = "train loss"


def scale_order(results: pd.DataFrame, curves: tuple[LossCurve, ...] = ()) -> list[str]:
    """Models from small to large by parameters; those that are only in curves come last, by name."""
    known: list[str] = []
    if len(results):
        known = [str(m) for m in results.groupby("model")["params"].max().sort_values(kind="stable").index]
    return known + sorted({c.model for c in curves} - set(known))


def runs_table(results: pd.DataFrame, curves: tuple[LossCurve, ...]) -> Table:
    """Every run of a results table, by family, parameters and budget."""
    named = results.assign(column=results["task"].astype(str) + " " + results["metric"].astype(str))
    last = named.sort_values("checkpoint_samples", kind="stable").drop_duplicates(["run", "column"], keep="last")
    metrics = last.pivot(index="run", columns="column", values="value")
    runs = last.drop_duplicates("run", keep="last").sort_values(["family", "params", "samples_seen", "run"])
    loss = {c.run: float(c.loss[-1]) for c in curves if len(c.loss)}
    if _LOSS in metrics:
        loss |= {str(run): float(value) for run, value in metrics.pop(_LOSS).dropna().items()}
    rows = tuple(
        (
            str(r["run"]),
            str(r["family"]),
            str(r["model"]),
            f"{float(r['params']) / 1e6:.3g}M",
            format_quantity(int(r["samples_seen"])),
            f"{float(r['gflops_paper']):.3g}",
            f"{loss[str(r['run'])]:.3f}" if str(r["run"]) in loss else "",
            *(f"{v:.4f}" if pd.notna(v) else "" for v in metrics.loc[r["run"]]),
        )
        for r in runs.to_dict("records")
    )
    header = (
        "run",
        "family",
        "model",
        "parameters",
        "samples",
        "GFLOPs (paper)",
        "last loss",
        *map(str, metrics.columns),
    )
    return Table(header, rows)
