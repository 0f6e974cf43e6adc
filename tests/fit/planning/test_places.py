"""Compute of planned runs: as a results table counts it, in its convention, under the right group's law."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from known_runs import report, results, spec
from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.fit import XName
from mammut_clip.config.model import load_model_config
from mammut_clip.cost import gflops_per_sample
from mammut_clip.fit import run_spec
from mammut_clip.fit.planning import Place, Shape
from mammut_clip.fit.planning.places import check_groups, places


def placed(
    table: pd.DataFrame, model: str, samples: int = 5_000_000, only: tuple[str, ...] = (), **changes: Any
) -> tuple[Place, ...]:
    found = report(table, **changes)
    return places(found.groups, found.spec, Shape(model, samples), only)


@pytest.mark.parametrize("x", ["gflops_paper", "gflops_exact"])
@pytest.mark.parametrize("model", ["mammut_ViT-L-14", "mammut_ViT-B-32"])
def test_compute_is_what_the_results_table_of_such_a_run_would_hold(model: str, x: XName) -> None:
    each = gflops_per_sample(load_model_config(model))
    expected = {"gflops_paper": each.paper, "gflops_exact": each.exact_step}[x]
    (place,) = placed(results(), model, x=x)
    assert place.group == "mammut"
    assert place.x == pytest.approx(expected * 5_000_000, rel=1e-9)
    assert place.counted_by == ("table" if model.endswith("B-32") else "architecture")


def test_the_tables_own_figure_wins() -> None:
    table = results()
    mine = table["model"] == "ViT-B-32"
    table.loc[mine, "gflops_paper"] = 14.54 * table.loc[mine, "samples_seen"]
    (place,) = placed(table, "ViT-B-32", 7_000)
    assert place.x == pytest.approx(14.54 * 7_000, rel=1e-12)
    assert place.gflops_per_sample == pytest.approx(14.54, rel=1e-12)


def test_a_model_that_only_the_table_knows() -> None:
    table = results()
    table["model"] = table["model"].replace({"ViT-M-32": "ours"})
    (place,) = placed(table, "ours", 1000)
    assert (place.group, place.counted_by) == ("clip", "table")
    assert place.x == pytest.approx(gflops_per_sample(load_model_config("ViT-M-32")).paper * 1000)


def test_a_model_that_nobody_knows_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match="mammut_ViT-L-14"):
        placed(results(), "mamut_ViT-L-14")


def test_a_table_in_another_unit_is_refused_for_models_it_does_not_hold() -> None:
    table = results()
    table["gflops_paper"] /= 1000  # TFLOPs
    with pytest.raises(InputError, match=r"ViT-S-32.*not in one unit"):
        placed(table, "ViT-L-14")
    (place,) = placed(table, "ViT-B-32")  # the table's own count is in the law's unit, whatever that is
    assert place.counted_by == "table"


def test_families_decide_between_groups_and_other_groups_keep_all() -> None:
    table = results().assign(dataset=lambda t: ["a" if i % 2 else "b" for i in range(len(t))])
    by_family = placed(table, "ViT-L-14")
    by_dataset = placed(table, "ViT-L-14", group="dataset")
    assert [p.group for p in by_family] == ["clip"]
    assert [p.group for p in by_dataset] == ["a", "b"]
    assert {p.x for p in by_dataset} == {by_family[0].x}
    assert [p.group for p in placed(table, "ViT-L-14", only=("b",), group="dataset")] == ["b"]
    assert placed(table, "coca_ViT-B-32") == ()
    assert placed(table, "ViT-L-14", only=("mammut",)) == ()


def test_samples_are_x_for_laws_in_samples() -> None:
    (place,) = placed(results(), "ViT-L-14", 123_456, x="samples_seen")
    assert place == Place(Shape("ViT-L-14", 123_456), "clip", 123_456.0, None, "samples")


def test_runs_of_one_name_and_several_architectures_are_refused() -> None:
    table = results()
    table.loc[table.index[0], "gflops_paper"] *= 1.5
    with pytest.raises(InputError, match="ViT-S-32: the table counts between"):
        placed(table, "ViT-S-32")


def test_a_group_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"group 'siglip'.*clip, mammut"):
        check_groups(report().groups, ["siglip"])


def test_names_that_two_families_share_in_the_papers_table(shared_dir: Path) -> None:
    changes: dict[str, Any] = {"columns": {"gflops_paper": "gflops_total"}, "groups": ["clip", "mammut"]}
    changes["filters"] = [
        {"column": "pretrain_dataset", "equals": "datacomp_1b"},
        {"column": "lr_scheduler", "equals": "cosine"},
    ]
    found = run_spec(spec(**changes), shared_dir / "data/paper/imagenet1k_best.csv")

    def each(model: str, *only: str) -> list[tuple[str, float | None, str]]:
        at = places(found.groups, found.spec, Shape(model, 1000), only)
        return [(p.group, p.gflops_per_sample, p.counted_by) for p in at]

    assert each("ViT-L-14") == [("clip", pytest.approx(168.61), "table")]
    assert each("ViT-L-14", "mammut") == [("mammut", pytest.approx(202.56), "table")]
    assert each("mammut_ViT-L-14") == [("mammut", pytest.approx(202.56, rel=1e-3), "architecture")]
