"""Cluster files: the shipped ones are valid, impossible ones are refused."""

from pathlib import Path

import pytest

from mammut_clip.config import ConfigError
from mammut_clip.config.cluster import ClusterConfig, available_cores, load_cluster, split_overrides
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
        ("kind: slurm\ntime_limit_minutes: 60\nmemory: 0G\nwhole_nodes: false", "memory 0 takes all of a node"),
        ("kind: slurm\ntime_limit_minutes: 60\nsrun_options: [-N2]", "one long option"),
        ("kind: slurm\ntime_limit_minutes: 60\nsrun_options: ['--comment=$(x)']", "one long option"),
        ("kind: slurm\ntime_limit_minutes: 60\nsbatch_options: [--mem=1G]", "a key of its own: memory"),
        ("kind: slurm\ntime_limit_minutes: 60\nsbatch_options: [--no-requeue]", "set for every job"),
        ("kind: local\nneeds_account: true", "needs_account belongs to kind slurm"),
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


def test_a_file_builds_on_another(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("extends: juwels-booster\naccount: site\nsrun_options: []\n")
    (tmp_path / "mine.yaml").write_text("extends: ./site.yaml\naccount: mine\nenvironment: {NCCL_DEBUG: INFO}\n")
    mine, base = load_cluster(tmp_path / "mine.yaml", ["time_limit_minutes=60"]), load_cluster("juwels-booster")
    assert (mine.account, mine.partition, mine.time_limit_minutes) == ("mine", base.partition, 60)
    assert mine.srun_options == []
    assert mine.environment == base.environment | {"NCCL_DEBUG": "INFO"}


@pytest.mark.parametrize(
    ("extends", "said"),
    [("juwels", "did you mean juwels-booster"), ("[generic]", "a name in slurm/ or a path"), ("./c.yaml", "a circle")],
)
def test_a_file_that_builds_on_nothing_is_refused(tmp_path: Path, extends: str, said: str) -> None:
    (tmp_path / "c.yaml").write_text(f"extends: {extends}\n")
    with pytest.raises(ConfigError, match=said):
        load_cluster(tmp_path / "c.yaml")


def test_overrides_of_a_cluster_are_told_from_others() -> None:
    assert split_overrides(["seed=1", "cluster.account=x"]) == (["seed=1"], ["account=x"])
