"""The command line of the benchmarks: what it lists, refuses and does when one of them fails."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.result import read_results
from benchmarks.run import BENCHMARKS, main

ROOT = Path(__file__).resolve().parents[2]


def test_list_names_every_benchmark_and_runs_none() -> None:
    command = [sys.executable, "-m", "benchmarks.run", "--list"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == list(BENCHMARKS)
    assert {"start_up", "fit_law", "toy_world", "data", "train", "models", "caption_loss"} <= set(names)


def test_an_unknown_name_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--only", "trian"])
    assert stop.value.code == 2
    assert "'trian' (choose from" in capsys.readouterr().err


def test_a_failing_benchmark_stops_no_other_and_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "no-python"
    which = ["--only", "train", "--only", "fit_law", "--repeats", "1"]
    assert main([*which, "--results", str(tmp_path), "--peers-python", str(missing)]) == 3
    shown = capsys.readouterr()
    assert f"failed: train: --peers-python {missing}: no such file" in shown.err
    assert [result.name for result in read_results(tmp_path)] == ["fit_law"]
    assert "## fit_law" in shown.out
    assert (tmp_path / "README.md").read_text().startswith("# Results")


def test_the_fits_are_as_good_as_scipys(tmp_path: Path) -> None:
    """No timing: both sides minimise the same sum, so ours may not be the larger one."""
    assert main(["--only", "fit_law", "--repeats", "1", "--results", str(tmp_path)]) == 0
    rows = [row for row in read_results(tmp_path)[0].rows if row.unit == "sum of squared errors"]
    assert rows and all(row.ratio is not None and row.ratio < 1 + 1e-6 for row in rows)
