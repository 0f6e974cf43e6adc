"""The Slurms of the tests: the plain one, started once; one with accounting; one whose nodes have networks; a picky
one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import pytest
from cluster import SlurmCluster, missing_programs
from cluster_database import AccountedCluster, missing_accounting
from cluster_network import NetworkedCluster, why_no_network
from cluster_picky import PickyCluster

C = TypeVar("C", bound=SlurmCluster)


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A running cluster with SLURM_CONF set for it. Skips where Slurm is not installed, and fails there in CI."""
    _need_slurm()
    with _running(SlurmCluster()) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def accounted_slurm() -> Iterator[AccountedCluster]:
    """One with slurmdbd and MariaDB, so that sacct answers; for slow tests. Skips where they are not installed."""
    _need_slurm()
    if missing := missing_accounting():
        packages = "slurmdbd mariadb-server"
        pytest.skip(f"{', '.join(missing)} not found; apt-get install --no-install-recommends {packages}")
    with _running(AccountedCluster()) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def networked_slurm() -> Iterator[NetworkedCluster]:
    """One whose nodes have eth0 and ib0. Skips without root, and where there are no namespaces; fails there in CI."""
    _need_slurm()
    if (why := why_no_network()) is not None:
        _skip_or_fail(why)
    with _running(NetworkedCluster()) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def picky_slurm() -> Iterator[PickyCluster]:
    """One whose nodes can be made to fail at starting jobs, and which takes small arrays only."""
    _need_slurm()
    with _running(PickyCluster()) as cluster:
        yield cluster


def _need_slurm() -> None:
    if missing := missing_programs():
        _skip_or_fail(
            f"no real Slurm here: {', '.join(missing)} not found; "
            "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
        )


def _skip_or_fail(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def _running(cluster: C) -> Iterator[C]:
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(cluster.conf)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        os.environ.pop("SLURM_CONF") if before is None else os.environ.update(SLURM_CONF=before)
