"""Whether two sweeps came to the same: the weights bit for bit, each sample in its place, the same evaluations."""

from pathlib import Path
from typing import Any

import torch
from toy_sweep import ToySweep

from finished_runs import flat, rows, state
from mammut_clip.runs import quarantine
from mammut_clip.runs.layout import RunDir


def assert_same_runs(found: ToySweep, expected: ToySweep, scratch: Path) -> None:
    """All runs of both; `scratch` is a folder for temporary files."""
    for name in expected.run_names:
        assert_same_run(found.run(name), expected.run(name), scratch)


def assert_same_run(found: RunDir, expected: RunDir, scratch: Path) -> None:
    assert found.status.state == expected.status.state == "finished", found.name
    assert rows(found) == rows(expected), found.name
    assert quarantine.read(found.quarantine_folder) == quarantine.read(expected.quarantine_folder), found.name
    assert [c.samples_seen for c in found.checkpoints] == [c.samples_seen for c in expected.checkpoints], found.name
    theirs, ours = (flat(state(run.checkpoints[-1], scratch / "state.pt")) for run in (expected, found))
    assert ours.keys() == theirs.keys() and any("exp_avg" in path for path in ours)
    for path, value in theirs.items():
        same = torch.equal(ours[path], value) if isinstance(value, torch.Tensor) else ours[path] == value
        assert same, f"{found.name}: {path}"
    assert measured(found) == measured(expected), found.name


def measured(run: RunDir) -> dict[tuple[int, str], dict[str, Any]]:
    """Its evaluations' numbers."""
    return {key: record.metrics for key, record in run.evals.items()}
