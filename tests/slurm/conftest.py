"""The Slurm of the tests, started once."""

import os
from collections.abc import Iterator

import pytest
from cluster import SlurmCluster, missing_programs


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A running cluster with SLURM_CONF set for it. Skips where Slurm is not installed, and fails there in CI."""
    missing = missing_programs()
    if missing:
        reason = (
            f"no real Slurm here: {', '.join(missing)} not found; "
            "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    cluster = SlurmCluster()
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(cluster.conf)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        os.environ.pop("SLURM_CONF") if before is None else os.environ.update(SLURM_CONF=before)
