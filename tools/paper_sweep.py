"""Writes sweeps/paper-datacomp-cosine.yaml from the paper's measurements, and prints it:

    python tools/paper_sweep.py ../shared/data/paper/runs_datacomp_cosine.parquet > sweeps/paper-datacomp-cosine.yaml

Of each cell (model x samples seen) the run of the highest ImageNet-1k accuracy is taken. Per budget, one rule has the
recipe that most models share, and one for each other recipe has what differs and the models that want it.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mammut_clip.config.quantity import format_quantity

HEAD = """\
# The grid of Nezhurina et al. (2025, arXiv:2506.04598): CLIP and MaMMUT on DataComp-1.4B with a cosine schedule. {runs}
# runs, each with the recipe of the best run of its cell (model x samples seen) by ImageNet-1k zero-shot accuracy.
# Made by tools/paper_sweep.py from the {measured:,} runs that the authors measured; change that, not this.
#
# Batch, learning rate and GPUs are the best run's; its warm-up in steps x its batch is the warm-up in samples. All
# batches are shared equally by the GPUs, and all GPUs come in whole nodes of four, as on JUWELS Booster.
#
#     mammut-clip sweep plan paper-datacomp-cosine
#     mammut-clip sweep plan paper-datacomp-cosine 'overrides.data.train=/my/datacomp/{{0000000..0139827}}.tar'
#
# The account of the cluster is yours to set, in a copy of slurm/juwels-booster.yaml (docs/clusters.md). To try more
# recipes in some cells, add `cells:` (docs/sweep-files.md): the runs that are here keep their names.
name: paper-datacomp-cosine
base: paper
axes:
  model:
{models}
  samples_seen: [{budgets}]
exclude:
  # Cells of which no run was measured: no best recipe is known.
{missing}
rules:
  # Checkpoints at the paper's scales and halfway between come of themselves; these are for what a crash would lose:
  # at the measured speeds 2 to 60 minutes of training.
  - {{when: {{samples_seen: {{below: 300M}}}}, set: {{checkpoint.every: 6.4M}}}}
  - {{when: {{samples_seen: {{at_least: 1B}}}}, set: {{checkpoint.every: 48M}}}}
  # What would not fit into the 40 GB of an A100 otherwise: costs time, changes no result.
  - {{when: {{model: [{recompute}]}}, set: {{parallel.recompute: full}}}}
  - when: {{model: [{selective}]}}
    set: {{parallel.recompute: selective}}
  # The recipe of most models at each budget, and what the others have instead.
{rules}
evaluation:
  suite: paper
  where: jobs
  points: final
name_pattern: "{{model}}-{{samples_seen}}"
cluster: juwels-booster
"""

RECOMPUTE = ["ViT-L-16", "ViT-L-14", "mammut_ViT-L-16", "mammut_ViT-L-14"]
SELECTIVE = ["ViT-B-14", "ViT-L-32", "mammut_ViT-B-16", "mammut_ViT-L-32"]
"""Models of which a step is estimated at more than 80% of 40 GB in one of their cells (docs/cost.md)."""

_FAMILIES = ["clip", "mammut"]
_WIDTHS = "SMBLH"
_COLUMNS = ["global_batch_size", "lr", "warmup", "gpus"]
_LINE = 120


def best_runs(table: pd.DataFrame) -> pd.DataFrame:
    """The run of the highest ImageNet-1k accuracy of each cell, by budget, family and size of model."""
    best = table.loc[table.groupby(["model", "samples_seen"])["imagenet1k_acc1"].idxmax()]
    return best.sort_values(["samples_seen", "model"], key=lambda c: c.map(_model_order) if c.name == "model" else c)


def _model_order(model: str) -> tuple[int, int, int]:
    """mammut_ViT-B-32: family, then size, then patches from large to small."""
    size, patch = model.split("-")[1:3]
    return (_FAMILIES.index("mammut" if model.startswith("mammut") else "clip"), _WIDTHS.index(size), -int(patch))


def main(file: str) -> None:
    table = pd.read_parquet(file)
    best = best_runs(table)
    models = sorted({str(model) for model in best["model"]}, key=_model_order)
    budgets = sorted({int(budget) for budget in best["samples_seen"]})
    print(
        HEAD.format(
            runs=len(best),
            measured=len(table),
            models="\n".join(_model_lines(models)),
            budgets=", ".join(map(format_quantity, budgets)),
            missing="\n".join(_missing(best, models, budgets)),
            recompute=", ".join(RECOMPUTE),
            selective=", ".join(SELECTIVE),
            rules="\n".join(line for budget in budgets for line in _rules(best[best["samples_seen"] == budget])),
        ),
        end="",
    )


def _model_lines(models: list[str]) -> Iterator[str]:
    yield "    ["
    for family in _FAMILIES:
        of_family = [model for model in models if _FAMILIES[_model_order(model)[0]] == family]
        for width in _WIDTHS:
            line = ", ".join(model for model in of_family if _WIDTHS[_model_order(model)[1]] == width)
            if line:
                yield f"      {line},"
    yield "    ]"


def _missing(best: pd.DataFrame, models: list[str], budgets: list[int]) -> Iterator[str]:
    for model in models:
        measured = set(best.loc[best["model"] == model, "samples_seen"])
        absent = [format_quantity(budget) for budget in budgets if budget not in measured]
        if absent:
            yield f"  - {{model: {model}, samples_seen: [{', '.join(absent)}]}}"


def _rules(cells: pd.DataFrame) -> Iterator[str]:
    """The rules of one budget."""
    budget = format_quantity(int(cells["samples_seen"].iloc[0]))
    recipes = {row.model: tuple(getattr(row, column) for column in _COLUMNS) for row in cells.itertuples()}
    usual = Counter(recipes.values()).most_common(1)[0][0]
    yield f"  # {budget} samples, warm-up of {usual[2]:,} steps"
    yield from _rule({"samples_seen": budget}, _settings(usual))
    for recipe in dict.fromkeys(recipes.values()):
        if recipe != usual:
            models = [model for model, wanted in recipes.items() if wanted == recipe]
            settings = _settings(recipe, besides=usual)
            steps = f"{recipe[2]:,} steps" if "warmup" in settings else ""
            yield from _rule({"samples_seen": budget, "model": f"[{', '.join(models)}]"}, settings, steps)


def _rule(when: dict[str, str], settings: str, comment: str = "") -> Iterator[str]:
    condition = "{" + ", ".join(f"{key}: {value}" for key, value in when.items()) + "}"
    set_line = f"set: {{{settings}}}"
    one_line = f"  - {{when: {condition}, {set_line}}}"
    if len(when) == 1 and len(one_line) <= _LINE:
        yield one_line
        return
    if len(f"  - when: {condition}") <= _LINE:
        yield f"  - when: {condition}"
    else:
        yield "  - when:"
        yield from (f"      {key}: {value}" for key, value in when.items())
    yield f"    {set_line}" + (f"  # {comment}" if comment else "")


def _settings(recipe: tuple[float, ...], besides: tuple[float, ...] | None = None) -> str:
    """The keys of the run config that a recipe sets, without those that are as in another."""
    written, other = (None if some is None else _written(*some) for some in (recipe, besides))
    assert written is not None
    return ", ".join(f"{key}: {value}" for key, value in written.items() if other is None or other[key] != value)


def _written(batch: float, lr: float, warmup: float, gpus: float) -> dict[str, str]:
    mantissa, exponent = f"{lr:.12e}".split("e")
    return {
        "global_batch_size": str(int(batch)),
        "optimizer.lr": f"{float(mantissa):g}e{int(exponent)}",
        "schedule.warmup": format_quantity(int(warmup) * int(batch)),
        "gpus": str(int(gpus)),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("usage: python tools/paper_sweep.py runs_datacomp_cosine.parquet > sweeps/paper-datacomp-cosine.yaml")
    main(sys.argv[1])
