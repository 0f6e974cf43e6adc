"""Parameter counts: the published ones, and those of the models that are built."""

from pathlib import Path

import pandas as pd
import pytest

from mammut_clip.config.model import load_model_config
from mammut_clip.cost import describe_models, parameters
from mammut_clip.models import build_model


def test_published_counts(shared_dir: Path) -> None:
    table = pd.read_csv(shared_dir / "data/paper/model_profile.csv")
    rows = table[table.namespace.isin(["clip", "mammut"])]
    assert len(rows) == 35
    for row in rows.itertuples():
        count = parameters(load_model_config(row.model))
        for ours, published in (
            (count.total, row.mparams),
            (count.image, row.image_mparams),
            (count.text, row.text_mparams),
        ):
            assert round(ours / 1e6, 2) == pytest.approx(published, abs=1e-9), row.model


@pytest.mark.parametrize("changes", [{}, {"ls_init_value": 0.1}, {"mlp_ratio": 2.5}])
@pytest.mark.parametrize("name", ["toy-XS", "mammut_toy-XS", "mammut_toy-S"])
def test_built_models_have_the_counted_parameters(name: str, changes: dict[str, float]) -> None:
    values = load_model_config(name).model_dump()
    values["vision_cfg"] |= changes
    config = load_model_config(values)
    model, count = build_model(config), parameters(config)
    assert count.total == sum(p.numel() for p in model.parameters())
    assert count.image == sum(p.numel() for p in model.visual.parameters())


def test_description_of_every_model() -> None:
    rows = {row["name"]: row for row in describe_models()}
    row = rows["mammut_ViT-B-32"]
    assert list(row) == [
        "name",
        "family",
        "params_m",
        "image_params_m",
        "text_params_m",
        "gflops_paper",
        "gflops_exact_forward",
        "gflops_exact_step",
    ]
    assert (row["family"], row["params_m"], row["gflops_paper"]) == ("mammut", 183.0213, 26.911703)
    assert all(row["gflops_exact_step"] > 2.5 * row["gflops_exact_forward"] for row in rows.values())
