"""Results and laws of a sweep, from run directories that a toy of a training could have left."""

import json
from pathlib import Path

import pandas as pd
import pytest
from benchmarks.many_runs import make_runs

from mammut_clip.cli_sweep import collect as collect_command
from mammut_clip.config.errors import InputError
from mammut_clip.runs import Status, SweepDir, table
from mammut_clip.sweep.stored import StoredSweep, stored_file
from mammut_clip.sweep.turn import collecting
from mammut_clip.sweep_collect import collect

LAW = """
task: imagenet1k
metric: acc1
unit: accuracy
x: gflops_paper
group: model
form: power
frontier: {method: all}
bootstrap: {method: residual, count: 400, seed: 0}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    made = make_runs(tmp_path / "s", 40)
    for number, run in enumerate(made.runs()):  # so that compute differs: what a law is a function of
        manifest = run.manifest
        if manifest is not None:
            manifest.model_copy(update={"gflops_per_sample_paper": 1.0 + number}).write(run.manifest_file)
    (tmp_path / "law.yaml").write_text(LAW)
    (tmp_path / "soon.yaml").write_text(LAW.replace("imagenet1k", "not_measured_yet"))
    stored = StoredSweep.read(stored_file(made))
    assert stored is not None
    laws = [str(tmp_path / name) for name in ("law.yaml", "soon.yaml")]
    stored.model_copy(update={"laws": laws}).write(stored_file(made))
    return made


def test_results_and_laws_are_made_and_made_anew_only_where_something_changed(sweep: SweepDir) -> None:
    law, soon = (str(sweep.path.parent / name) for name in ("law.yaml", "soon.yaml"))
    first = collect(sweep.path)
    assert (first.fitted, first.unchanged, list(first.not_fitted)) == ([law], [], [soon])
    assert "not_measured_yet" in first.not_fitted[soon]
    fit = sweep.path / "fit" / "law"
    assert len(json.loads((fit / "fit.json").read_text())["groups"]) == 4
    assert first.rows == len(table.read(sweep.results_file)) > 32 * 9
    written = (fit / "fit.json").stat().st_mtime_ns

    assert collect(sweep.path).unchanged == [law]
    assert (fit / "fit.json").stat().st_mtime_ns == written

    run = next(iter(sweep.runs()))
    result = next(run.path.glob("evals/*/imagenet1k.json"))
    result.write_text(result.read_text().replace('"acc1": 0.', '"acc1": 0.0'))
    again = collect(sweep.path)
    assert again.fitted == [law] and again.rows == first.rows
    assert json.loads(json.dumps(again.to_json_dict()))["fitted"] == [law]
    assert f"{law}: fitted" in str(again)


def test_other_laws_can_be_asked_for(sweep: SweepDir) -> None:
    asked = collect(sweep.path, [str(sweep.path.parent / "law.yaml")])
    assert len(asked.fitted) == 1 and not asked.not_fitted
    missing = collect(sweep.path, ["no-such-law"])
    assert "no file of this name" in missing.not_fitted["no-such-law"]


def test_a_table_of_what_has_changed_is_the_table_of_all(sweep: SweepDir) -> None:
    table.write(sweep)
    runs = list(sweep.runs())
    Status(state="failed", samples_seen=5).write(runs[0].status_file)
    for result in runs[1].path.glob("evals/*/flickr30k.json"):
        result.unlink()
    late = runs[-1]
    late.eval_file(5, "imagenet1k").parent.mkdir(parents=True)
    for file in runs[2].path.glob("evals/*/imagenet1k.json"):
        late.eval_file(5, "imagenet1k").write_text(file.read_text())
    for file in runs[3].path.glob("*.*"):
        file.unlink()
    partly = table.write(sweep)
    sweep.results_file.unlink()
    whole = table.write(sweep)
    pd.testing.assert_frame_equal(partly, whole)
    assert set(partly[partly["run"] == runs[0].name]["state"]) == {"failed"}
    assert runs[3].name not in set(partly["run"])


def test_a_damaged_table_is_made_anew(sweep: SweepDir) -> None:
    rows = len(table.write(sweep))
    sweep.results_file.write_bytes(sweep.results_file.read_bytes()[:100])
    assert len(table.write(sweep)) == rows


def test_a_folder_without_a_sweep_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sweep here"):
        collect(tmp_path)


def test_the_command_waits_for_who_makes_the_same(sweep: SweepDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mammut_clip.sweep.turn.COLLECT_PATIENCE_SECONDS", 0.0)
    with collecting(sweep, 5), pytest.raises(InputError, match="works on this sweep now"):
        collect_command(sweep.path)
    assert not sweep.results_file.exists()
    collect_command(sweep.path)
    assert sweep.results_file.exists()
