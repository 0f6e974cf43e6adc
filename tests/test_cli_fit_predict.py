"""`mammut-clip fit predict` and `fit plan-next` as a user meets them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from known_runs import results, spec
from mammut_clip.cli import main
from mammut_clip.fit import run_spec
from mammut_clip.fit.planning import Shape, predict_runs


class Fit:
    """`mammut-clip fit`, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self._monkeypatch.setattr("sys.argv", ["mammut-clip", "fit", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *self._capsys.readouterr()

    def said(self, *arguments: str | Path) -> str:
        code, out, err = self(*arguments)
        assert code == 0, err
        return out

    def printed(self, *arguments: str | Path) -> Any:
        return json.loads(self.said(*arguments, "--json"))

    def refused(self, *arguments: str | Path) -> str:
        code, out, err = self(*arguments)
        assert (code, out) == (2, ""), err
        return err


@pytest.fixture
def fit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fit:
    return Fit(capsys, monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, a law spec that names it, and a sweep of runs that could be made."""
    folder = tmp_path_factory.mktemp("plans")
    results().to_parquet(folder / "runs.parquet")
    law = spec(table=str(folder / "runs.parquet"), held_out={"above": 1e10}).model_dump(mode="json", exclude_unset=True)
    (folder / "law.yaml").write_text(yaml.safe_dump(law))
    sweep = {
        "base": "paper",
        "cluster": "juwels-booster",
        "axes": {"model": ["ViT-B-16", "ViT-L-32"], "samples_seen": ["1B", "2B"], "optimizer.lr": [0.001, 0.002]},
        "overrides": {"parallel.recompute": "full"},
    }
    (folder / "next.yaml").write_text(yaml.safe_dump(sweep))
    return folder


def test_predict_says_what_the_library_says(folder: Path, fit: Fit) -> None:
    asked = ["--model", "ViT-L-14", "--model", "mammut_ViT-L-14", "--samples", "1B", "--samples", "12.8B"]
    found = fit.printed("predict", folder / "law.yaml", *asked)
    shapes = [Shape(model, samples) for model in ("ViT-L-14", "mammut_ViT-L-14") for samples in (10**9, 12_800_000_000)]
    expected = [p.to_json_dict() for p in predict_runs(run_spec(spec(), results()), shapes)]
    assert found["predictions"] == json.loads(json.dumps(expected))
    assert {r["group"] for r in found["record"]} == {"clip", "mammut"}


def test_predict_in_words_and_with_runs_held_out(folder: Path, fit: Fit) -> None:
    asked = ["predict", folder / "law.yaml", "--model", "ViT-L-14", "--samples", "1B"]
    said = fit.said(*asked)
    assert "| clip | ViT-L-14 | 1B |" in said
    assert "Held-out record of clip" in said
    (everything,) = fit.printed(*asked)["predictions"]
    (without,) = fit.printed(*asked, "--hold-out")["predictions"]
    (overridden,) = fit.printed(*asked, "form=power")["predictions"]
    assert without["x_max"] <= 1e10 < everything["x_max"]
    assert overridden["predicted"] != everything["predicted"]


def test_plan_next_of_a_sweep(folder: Path, fit: Fit) -> None:
    asked = ["plan-next", folder / "law.yaml", "--target", "1e13", "--group", "clip", "--candidates"]
    found = fit.printed(*asked, folder / "next.yaml", "--budget", "100000")
    cells = {(c["model"], c["samples_seen"]): c for c in found["candidates"]}
    assert found["hours"] == "GPU-hours"
    assert set(cells) == {("ViT-B-16", 2 * 10**9), ("ViT-L-32", 10**9), ("ViT-L-32", 2 * 10**9)}
    assert all(len(cell["runs"]) == 2 for cell in cells.values())  # both learning rates
    assert [n["reason"] for n in found["not_ranked"]] == ["measured already"]
    assert found["sequence"][-1]["hours_so_far"] <= 100_000
    assert cells["ViT-L-32", 2 * 10**9]["hours"] == pytest.approx(2 * cells["ViT-L-32", 10**9]["hours"], rel=1e-4)


def test_plan_next_of_axes_in_words(folder: Path, fit: Fit) -> None:
    asked = ["plan-next", folder / "law.yaml", "--of", "difference", "--target", "1e13", "--samples", "4B"]
    said = fit.said(*asked, "--model", "ViT-L-14", "--model", "mammut_ViT-L-14", "--budget", "1e6")
    assert "Now the error of clip less mammut at 1e+13" in said
    assert "| mammut | mammut_ViT-L-14 | 4B |" in said
    assert "| step |" in said


def test_what_is_missing_is_named(folder: Path, fit: Fit) -> None:
    law = folder / "law.yaml"
    axes = ["--model", "ViT-L-14", "--samples", "1B"]
    assert "--model and --samples" in fit.refused("predict", law)
    assert "--samples 1.5: expected a whole number" in fit.refused(
        "predict", law, "--model", "ViT-L-14", "--samples", "1.5"
    )
    assert "did you mean" in fit.refused("predict", law, "--model", "ViT-L-15", "--samples", "1B")
    assert "no such group" in fit.refused("predict", law, *axes, "--group", "siglip")
    assert "--candidates, or --model" in fit.refused("plan-next", law, "--target", "1e12", "--group", "clip")
    assert "--group: --of law needs 1" in fit.refused("plan-next", law, "--target", "1e12", *axes)
    assert "--target" in fit.refused("plan-next", law, "--group", "clip", *axes)
    sweep = ["--candidates", folder / "next.yaml", "--cluster", "jupiter", "--gpus", "8"]
    assert "--cluster, --gpus: --candidates says this already" in fit.refused(
        "plan-next", law, "--target", "1e12", "--group", "clip", *sweep
    )
    assert "leave it out with --of crossing" in fit.refused(
        "plan-next", law, "--of", "crossing", "--target", "1e12", *axes
    )
