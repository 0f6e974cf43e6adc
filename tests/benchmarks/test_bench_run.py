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
    assert {"start_up", "fit", "toy_world", "data", "train", "models", "caption_loss"} <= set(names)


def test_an_unknown_name_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--only", "trian"])
    assert stop.value.code == 2
    assert "'trian' (choose from" in capsys.readouterr().err


def test_a_failing_benchmark_stops_no_other_and_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "no-python"
    which = ["--only", "train", "--only", "toy_world", "--repeats", "1"]
    assert main([*which, "--results", str(tmp_path), "--peers-python", str(missing)]) == 3
    shown = capsys.readouterr()
    assert f"failed: train: --peers-python {missing}: no such file" in shown.err
    assert [result.name for result in read_results(tmp_path)] == ["toy_world"]
    assert "## toy_world" in shown.out
    assert (tmp_path / "README.md").read_text().startswith("# Results")
