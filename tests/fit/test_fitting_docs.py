"""What docs/fitting.md and its neighbours show in Python runs as it stands there and gives what is said."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mammut_clip.fit
from mammut_clip.fit import FORMS, Procedure

DOCS = Path(__file__).parents[2] / "docs"
X = np.geomspace(1e7, 1e12, 20)


def errors(seed: int, **params: float) -> np.ndarray:
    return FORMS["bounded"].evaluate(params, X) * np.exp(np.random.default_rng(seed).normal(0, 0.02, len(X)))


def blocks(page: str, containing: str) -> str:
    """The Python examples of a page that contain a text."""
    found = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    return "\n".join(code for code in found if containing in code)


def test_the_first_page_runs(tmp_path: Path) -> None:
    table = pd.DataFrame({"family": "clip", "gflops_paper": X, "value": errors(0, b=1e8, c=-0.25, d=0.1)})
    table = pd.concat([table, table.assign(family="mammut", value=errors(1, b=3e8, c=-0.3, d=0.1))])
    table.to_csv(tmp_path / "points.csv", index=False)
    first = table[table["family"] == "clip"]
    names: dict[str, Any] = {
        "gflops": first["gflops_paper"].to_numpy(),
        "error": first["value"].to_numpy(),
        "folder": tmp_path,
    }
    exec(blocks("fitting.md", "fitted"), names)
    low, high = names["low"], names["high"]
    assert low < names["fitted"].estimate.predict(1e12) < high
    assert names["law"].params.keys() == {"a", "b", "c", "d"} and names["law"].converged
    assert [g.name for g in names["report"].groups] == ["clip", "mammut"] and len(names["report"].comparisons) == 1
    assert "clip" in names["text"] and names["text"].startswith("| family |")


def test_comparisons_run() -> None:
    laws = {
        name: Procedure("average").fit(X, errors(seed, b=b, c=c, d=0.1)).estimate
        for seed, (name, b, c) in enumerate((("clip", 1e8, -0.25), ("mammut", 3e8, -0.3)))
    }
    names: dict[str, Any] = dict(laws)
    exec(blocks("fitting-comparisons.md", "compare("), names)
    assert len(names["found"].pairs) == 1 and names["found"].sentences("GFLOPs")


def test_every_public_name_is_on_the_first_page() -> None:
    page = (DOCS / "fitting.md").read_text()
    assert [name for name in mammut_clip.fit.__all__ if f"`{name}" not in page] == []
