"""A sweep of 12 runs on 4 nodes is disturbed in every way we know, and comes to the same as one that was not."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import SlurmCluster
from fault_table import Found
from sweep_checks import assert_same_runs
from sweep_faults import FAULTS, Scene
from sweep_observer import Observer
from toy_sweep import VICTIM, ToySweep, write_inputs

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

MOUNTS = ("log folder of a run unwritable", "log folder of the jobs unwritable", "full disk")


@pytest.fixture(scope="module")
def sweep_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def undisturbed(slurm: SlurmCluster, sweep_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToySweep]:
    sweep = ToySweep(sweep_file, tmp_path_factory.mktemp("undisturbed"), slurm)
    see_through("none", slurm, sweep)
    yield sweep


def see_through(fault: str, slurm: SlurmCluster, sweep: ToySweep) -> Observer:
    """Launch it, disturb it, wait for its end, and note what happened."""
    with Observer(sweep) as observer:
        scene = Scene(slurm, sweep, observer)
        began = time.monotonic()
        try:
            happened = FAULTS[fault](scene)
        except Exception as error:
            error.add_note(sweep.history())
            raise
        seconds = time.monotonic() - began
    Found(
        number=[*FAULTS].index(fault),
        fault=fault,
        happened=happened,
        ends=scene.ends(),
        standstill=observer.standstill(VICTIM, scene.disturbed_at),
        repeated=observer.repeated(VICTIM),
        seconds=seconds,
    ).save()
    return observer


def test_one_launch_brings_a_sweep_from_its_file_to_results_and_laws(undisturbed: ToySweep) -> None:
    assert len(undisturbed.run_names) == 12
    assert [len(undisturbed.ends(name)) for name in undisturbed.run_names] == [1] * 12
    nodes = {end.nodes for name in undisturbed.run_names for end in undisturbed.ends(name)}
    assert any("[" in one for one in nodes), "some ran on two nodes"


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "none"])
def test_a_disturbed_sweep_comes_to_the_same(
    slurm: SlurmCluster, undisturbed: ToySweep, sweep_file: Path, tmp_path: Path, fault: str
) -> None:
    if fault in MOUNTS and os.geteuid() != 0:
        pytest.skip("mounting needs root")
    sweep = ToySweep(sweep_file, tmp_path / "runs", slurm)
    observer = see_through(fault, slurm, sweep)
    assert observer.looks > 20 and not observer.overlaps, "no run may have two trainers at a time"
    assert_same_runs(sweep, undisturbed, tmp_path)
