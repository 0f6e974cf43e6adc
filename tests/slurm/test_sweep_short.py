"""Two runs from a sweep file to a results table, by `sweep launch` alone."""

from pathlib import Path

import pytest
from cluster import SlurmCluster
from sweep_observer import Observer
from toy_sweep import ToySweep, write_inputs

pytestmark = pytest.mark.slurm


def test_two_runs_are_trained_evaluated_and_tabulated_by_one_command(slurm: SlurmCluster, tmp_path: Path) -> None:
    axes = {"model": ["toy-XS", "mammut_toy-XS"], "samples_seen": ["1.28K"]}
    sweep = ToySweep(write_inputs(tmp_path, axes=axes, rules=[], laws=[]), tmp_path / "runs", slurm)
    with Observer(sweep) as observer:
        sweep.launch()
        sweep.wait()
    assert not observer.overlaps
    for name in sweep.run_names:
        assert [end.kind for end in sweep.ends(name)] == ["done"]
        assert [end.kind for end in sweep.ends(name, "evaluate")] == ["done"]
        assert [row["samples_seen"] for row in sweep.run(name).metrics] == [128 * row for row in range(1, 11)]
    [job] = {end.job for name in sweep.run_names for end in sweep.ends(name)}
    assert job is not None, "both ran side by side, in one job"
