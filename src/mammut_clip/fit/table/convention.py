"""GFLOPs are counted in two conventions, `paper` and `exact`, which differ by a factor of about three. A law in which
both stand is worthless and looks like any other, so every way in which they could come together is refused:

    a column of the one convention named as the other's, or one column named as both     check_columns
    tables of one spec whose x come from columns of different conventions                check_same_kind
    a column `flops_convention` that says another convention than the law's              check_rows
    rows whose x is, by their own GFLOPs per sample in both conventions, the other's     check_rows
    rows whose x is, by the cost of the model of that name, the other's                  check_rows
"""

import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_rows import XName
from mammut_clip.config.model import list_model_names, load_model_config
from mammut_clip.cost.flops import gflops_per_sample
from mammut_clip.cost.outside import unmeasured
from mammut_clip.fit.table.columns import ROW, as_numbers, clock_of, name_rows

STATED = "flops_convention"
"""Column in which a table may say the convention of each row."""
_TOTALS = {"gflops_paper": "paper", "gflops_exact": "exact"}
_PER_SAMPLE = {
    "gflops_per_sample_paper": "paper",
    "gflops_per_sample_exact": "exact",
    "gflops_exact_forward": "exact",
    "gflops_exact_step": "exact",
}
"""Columns of results.parquet and of `mammut-clip models`."""
_TOLERANCE = 0.005
"""Of GFLOPs per sample: published figures are rounded to two digits; the conventions differ by more."""


def check_columns(columns: dict[str, str], source: str) -> None:
    """InputError where `columns` of a spec names GFLOPs of one convention as the other's, or per sample as total."""
    for ours, theirs in columns.items():
        if ours not in _TOTALS:
            continue
        said = f"{source}: columns: {ours}: {theirs}"
        if theirs in _PER_SAMPLE:
            raise InputError(f"{said}: that is per sample; a law needs the total, GFLOPs per sample x samples seen")
        if theirs in _TOTALS and theirs != ours:
            raise InputError(f"{said}: that is the {_TOTALS[theirs]} convention; set x: {theirs} to fit in it")
    both = [columns.get(ours) for ours in _TOTALS]
    if both[0] is not None and both[0] == both[1]:
        raise InputError(
            f"{source}: columns: {both[0]} is named as gflops_paper and as gflops_exact; it is one of them"
        )


def check_same_kind(mappings: dict[str, dict[str, str]], x: XName) -> None:
    """InputError where one column name feeds `paper` in one of several tables and `exact` in another."""
    if x not in _TOTALS:
        return
    other = next(name for name in _TOTALS if name != x)
    for first, columns in mappings.items():
        for second, more in mappings.items():
            column = columns.get(x)
            if column is not None and column == more.get(other):
                raise InputError(f"tables: {column} is {x} in {first} and {other} in {second}")


def check_rows(frame: pd.DataFrame, x: XName, source: str) -> None:
    """InputError, by row, where the GFLOPs of a law's rows are not in the convention of its x."""
    if x not in _TOTALS:
        return
    wanted = _TOTALS[x]
    if STATED in frame:
        said = frame[STATED].astype(str).str.lower()
        unknown = ~said.isin(_TOTALS.values())
        if unknown.any():
            shown = name_rows(frame[ROW][unknown], frame[STATED][unknown])
            raise InputError(f"{source}: {STATED}: expected paper or exact, found {shown}")
        _refuse(frame, said != wanted, frame[STATED], f"{STATED} says otherwise", x, source)
    clock = clock_of(frame)
    if clock not in frame:
        return
    per_sample = frame["x"] / as_numbers(frame[clock])
    for costs, why in ((_own_costs(frame), "by its GFLOPs per sample"), (_model_costs(frame), "by its model")):
        near = pd.DataFrame(
            {kind: (per_sample / cost - 1).abs() < _TOLERANCE for kind, cost in costs.items()}, frame.index
        )
        ours = near[[kind for kind in costs if _PER_SAMPLE[kind] == wanted]].any(axis=1)
        _refuse(frame, near.any(axis=1) & ~ours, frame["x"], why, x, source)
        per_sample = per_sample.mask(ours)  # settled: a config may differ from that of the model's name


def _own_costs(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """GFLOPs per sample that the table itself gives, for each row by convention."""
    return {name: as_numbers(frame[name]) for name in _PER_SAMPLE if name in frame}


def _model_costs(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """GFLOPs per sample of the models that we know by name, for each row by convention; NaN for other models. A model
    whose family is not the row's is another one of that name."""
    if "model" not in frame:
        return {}
    names = frame["model"].astype(str)
    known = {name: load_model_config(name) for name in set(names) & set(list_model_names())}
    if "family" in frame:
        names = names.where(names.map({name: config.family for name, config in known.items()}) == frame["family"])
    costs = {name: gflops_per_sample(config) for name, config in known.items() if not unmeasured(config)}
    return {
        "gflops_per_sample_paper": names.map({name: cost.paper for name, cost in costs.items()}),
        "gflops_exact_forward": names.map({name: cost.exact_forward for name, cost in costs.items()}),
        "gflops_exact_step": names.map({name: cost.exact_step for name, cost in costs.items()}),
    }


def _refuse(frame: pd.DataFrame, bad: pd.Series, shown: pd.Series, why: str, x: XName, source: str) -> None:
    if bad.any():
        raise InputError(
            f"{source}: {int(bad.sum())} of {len(bad)} rows are not in the convention of x: {x} ({why}): "
            f"{name_rows(frame[ROW][bad], shown[bad])}; the two conventions are never mixed in one law"
        )
