"""Cluster files: the shipped ones are valid, impossible ones are refused."""

from pathlib import Path

import pytest

from mammut_clip.config import ConfigError
from mammut_clip.config.cluster import ClusterConfig, available_cores, load_cluster
from mammut_clip.config.files import shipped


@pytest.mark.parametrize("name", sorted(shipped("slurm")))
def test_every_shipped_cluster_is_valid(name: str) -> None:
    assert isinstance(load_cluster(name), ClusterConfig)


def test_local_takes_as_many_jobs_as_cores_or_gpus_allow() -> None:
    assert load_cluster("local").slots == available_cores()
    assert load_cluster("local", ["parallel_jobs=3"]).slots == 3
    assert load_cluster("local", ["gpus_per_node=8"]).slots == 8
    assert load_cluster("local", ["cpus_per_task=100000"]).slots == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("kind: slurm", "time_limit_minutes"),
        ("kind: slurm\ntime_limit_minutes: 5\nsignal_seconds: 300", "leaves no time"),
        ("kind: slurm\ntime_limit_minutes: 60\nparallel_jobs: 2", "parallel_jobs belongs to kind local"),
        ("kind: local\naccount: x", "account belongs to kind slurm"),
        ("kind: local\nsetup: [module load x]", "setup belongs to kind slurm"),
        ("kind: slum", "'local' or 'slurm'"),
        ("kind: local\npartitions: x", "did you mean partition"),
        ("kind: slurm\ntime_limit_minutes: 60\npartition: 'a; rm -rf /'", "expected one word"),
        ("kind: slurm\ntime_limit_minutes: 60\nhost_suffix: 'i $(x)'", "host_suffix"),
        ("kind: local\nenvironment: {'A B': 1}", "not a name of an environment variable"),
        ("kind: local\nenvironment: {A: [1]}", "expected text or a number"),
        ('kind: local\nenvironment: {A: "x\\ny"}', "one line"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, lines: str, said: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(lines + "\npeak_tflops: 1\nefficiency: 0.5\n")
    with pytest.raises(ConfigError) as caught:
        load_cluster(file)
    assert "c.yaml" in str(caught.value)
    assert said in str(caught.value)
