"""The two FLOP conventions never stand in one law: every way in which they could is refused, and nothing else is."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_rows import RowSpec
from mammut_clip.config.model import load_model_config
from mammut_clip.cost import gflops_per_sample
from mammut_clip.fit.table import load_table, select

SAMPLES = [1_280_000, 12_800_000, 128_000_000]


def spec(**changes: Any) -> RowSpec:
    return RowSpec.model_validate({"unit": "error"} | changes)


def table(**columns: Any) -> pd.DataFrame:
    base = {"family": "clip", "model": "mine", "samples_seen": SAMPLES, "value": [0.9, 0.7, 0.5]}
    return pd.DataFrame(base | columns)


def per_sample(gflops: float) -> list[float]:
    return [gflops * samples for samples in SAMPLES]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"gflops_paper": "gflops_exact"}, "that is the exact convention; set x: gflops_exact"),
        ({"gflops_exact": "gflops_paper"}, "that is the paper convention; set x: gflops_paper"),
        ({"gflops_paper": "gflops_per_sample_paper"}, "that is per sample; a law needs the total"),
        ({"gflops_paper": "C", "gflops_exact": "C"}, "C is named as gflops_paper and as gflops_exact"),
    ],
)
def test_columns_of_the_other_convention(columns: dict[str, str], said: str) -> None:
    frame = table(C=1e9, gflops_paper=1e9, gflops_exact=3e9, gflops_per_sample_paper=5.0)
    with pytest.raises(InputError) as caught:
        select(frame, spec(columns=columns), "t.csv")
    assert said in str(caught.value) and "t.csv" in str(caught.value)


def test_a_column_that_states_the_convention() -> None:
    frame = table(gflops_paper=per_sample(5.0), flops_convention=["paper", "exact", "Paper"])
    with pytest.raises(InputError, match=r"1 of 3 rows are not in the convention.*flops_convention.*row 1 \(exact\)"):
        select(frame, spec(), "t")
    assert len(select(frame.drop(index=1), spec(), "t").points) == 2
    only_paper = [{"column": "flops_convention", "one_of": ["paper", "Paper"]}]
    assert len(select(frame, spec(filters=only_paper), "t").points) == 2
    with pytest.raises(InputError, match=r"expected paper or exact, found row 2 \(both\)"):
        select(frame.assign(flops_convention=["paper", "paper", "both"]), spec(), "t")
    # Against samples seen no GFLOPs are fitted.
    assert len(select(frame, spec(x="samples_seen"), "t").points) == 3


def test_rows_whose_own_gflops_per_sample_say_otherwise() -> None:
    costs = {"gflops_per_sample_paper": 5.0, "gflops_per_sample_exact": 16.0}
    mixed = [5.0 * SAMPLES[0], 16.0 * SAMPLES[1], 5.0 * SAMPLES[2]]
    with pytest.raises(InputError, match=r"1 of 3 rows .* \(by its GFLOPs per sample\): row 1"):
        select(table(gflops_paper=mixed, **costs), spec(), "t")
    with pytest.raises(InputError, match=r"2 of 3 rows .*x: gflops_exact"):
        select(table(gflops_exact=mixed, **costs), spec(x="gflops_exact"), "t")
    # Neither of the two is no sign of the other: counted to a checkpoint that the table does not name, perhaps.
    assert len(select(table(gflops_paper=per_sample(2.5), **costs), spec(), "t").points) == 3


@pytest.mark.parametrize(("model", "family"), [("ViT-S-32", "clip"), ("mammut_ViT-B-16", "mammut")])
def test_rows_whose_models_cost_says_otherwise(model: str, family: str) -> None:
    cost = gflops_per_sample(load_model_config(model))
    named = {"model": model, "family": family}
    paper = table(gflops_paper=per_sample(cost.paper), **named)
    assert len(select(paper, spec(), "t").points) == 3
    for other in (cost.exact_step, cost.exact_forward):
        mixed = paper.assign(gflops_paper=[*per_sample(cost.paper)[:2], other * SAMPLES[2]])
        with pytest.raises(InputError, match=r"1 of 3 rows .* \(by its model\): row 2"):
            select(mixed, spec(), "t")
    with pytest.raises(InputError, match="3 of 3 rows"):
        select(paper.rename(columns={"gflops_paper": "gflops_exact"}), spec(x="gflops_exact"), "t")
    # A config with other values under the model's name is believed where the table has its costs.
    own = paper.assign(gflops_paper=per_sample(cost.exact_step), gflops_per_sample_paper=cost.exact_step)
    assert len(select(own, spec(), "t").points) == 3
    # Another family's model of that name is another model.
    assert len(select(mixed.assign(family="siglip"), spec(), "t").points) == 3


def test_tables_of_different_conventions(tmp_path: Path) -> None:
    table(C=per_sample(5.0)).to_csv(tmp_path / "a.csv", index=False)
    table(C=per_sample(16.0)).to_csv(tmp_path / "b.csv", index=False)
    table(gflops_exact=per_sample(16.0)).to_csv(tmp_path / "c.csv", index=False)

    def two(first: dict[str, str], second: str, columns: dict[str, str]) -> RowSpec:
        paths = {"one": {"path": "a.csv", "columns": first}, "two": {"path": second, "columns": columns}}
        return spec(tables=paths)

    with pytest.raises(InputError, match="tables: C is gflops_paper in one and gflops_exact in two"):
        load_table(two({"gflops_paper": "C"}, "b.csv", {"gflops_exact": "C"}), tmp_path)
    with pytest.raises(InputError, match=r"c.csv: no column 'gflops_paper' for table two.* it has .*gflops_exact"):
        load_table(two({"gflops_paper": "C"}, "c.csv", {}), tmp_path)
    with pytest.raises(InputError, match=r"c.csv: columns: gflops_paper: gflops_exact: that is the exact convention"):
        load_table(two({"gflops_paper": "C"}, "c.csv", {"gflops_paper": "gflops_exact"}), tmp_path)


def test_the_papers_tables_pass(shared_dir: Path) -> None:
    data = shared_dir / "data/paper"
    runs = spec(unit="accuracy", columns={"gflops_paper": "gflops_total", "value": "imagenet1k_acc1"})
    assert len(select(*_loaded(runs, data / "runs_datacomp_cosine.parquet")).points) == 1431
    best = spec(unit="accuracy", columns={"gflops_paper": "gflops_total"})
    assert len(select(*_loaded(best, data / "imagenet1k_best.csv")).points) == 694
    exact = spec(
        unit="accuracy", x="gflops_exact", columns={"gflops_exact": "gflops_total", "value": "imagenet1k_acc1"}
    )
    with pytest.raises(InputError, match="of 1431 rows are not in the convention of x: gflops_exact"):
        select(*_loaded(exact, data / "runs_datacomp_cosine.parquet"))


def _loaded(wanted: RowSpec, path: Path) -> tuple[pd.DataFrame, RowSpec, str]:
    frame, source = load_table(wanted, path)
    return frame, wanted, source
