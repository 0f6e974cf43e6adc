"""Evaluation inside a training job: what is refused before it starts, and that sharding changes no result."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from gloo_processes import Results, run_processes
from mammut_clip.config.errors import InputError
from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.data.toy_shards import write_toy_evals, write_toy_train
from mammut_clip.distributed import Process
from mammut_clip.evals.training import evaluation_callback
from mammut_clip.evals.whole import whole_model
from mammut_clip.models import build_model
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.parallel import build_parallel

CPU = torch.device("cpu")


def config_of(folder: Path, **changes: Any) -> RunConfig:
    values = {
        "name": "a-run",
        "model": "mammut_toy-XS",
        "samples_seen": 128,
        "global_batch_size": 32,
        "data": {"train": [str(folder / "train")], "workers": 0},
        "optimizer": {"lr": 1e-3},
        "evaluation": {"suite": "toy", "data_root": str(folder / "evals")},
    }
    return validate(RunConfig, values | changes, "test")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy_train(folder / "train", 64, samples_per_shard=64)
    write_toy_evals(folder / "evals", pairs_per_class=1, retrieval=20, segmentation=1)
    return folder


@pytest.mark.parametrize("missing", ["wds_toy_pairs/classnames.txt", "wds_toy_retrieval/test/0.tar"])
def test_an_incomplete_dataset_is_named_before_training(data: Path, tmp_path: Path, missing: str) -> None:
    shutil.copytree(data, tmp_path / "toy")
    (tmp_path / "toy" / "evals" / missing).unlink()
    with pytest.raises(InputError, match=missing.rpartition("/")[2]):
        evaluation_callback(config_of(tmp_path / "toy"))


def test_no_suite_no_evaluation(data: Path) -> None:
    assert evaluation_callback(config_of(data, evaluation={"suite": None})) is None


def test_a_suite_without_a_task_for_the_model_is_refused_before_training(data: Path) -> None:
    with pytest.raises(InputError, match=r"evaluation.suite = 'toy': no task of it is one for cap_toy-XS"):
        evaluation_callback(config_of(data, model="cap_toy-XS"))


def rank_main(rank: int) -> Results:
    """The results of the toy suite for a model that lies in pieces on two processes."""
    world = torch.distributed.get_world_size()
    process = Process(rank, world, rank, CPU, world)
    folder = Path(os.environ["TEST_FOLDER"])
    config = config_of(folder, parallel={"mode": "fsdp"})
    model = build_parallel(config.model.architecture, config, process).eval()
    run = RunDir(folder / "run")
    callback = evaluation_callback(config)
    assert callback is not None
    callback(run, model, 128, process, lambda: False)
    whole = whole_model(model, config.model.architecture, CPU)
    return {name: value.detach() for name, value in whole.named_parameters()}


@pytest.mark.distributed
def test_a_sharded_model_is_evaluated_as_the_whole_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(data)
    run = RunDir.create(tmp_path, config)
    model = build_model(config.model.architecture, config.seed).eval()
    callback = evaluation_callback(config)
    assert callback is not None
    callback(run, model, 128, Process(0, 1, 0, CPU), lambda: False)
    shutil.copytree(run.path, data / "run", ignore=shutil.ignore_patterns("evals"))
    monkeypatch.setenv("TEST_FOLDER", str(data))
    for parameters in run_processes(rank_main, 2, tmp_path):
        assert all(torch.equal(parameters[name], value) for name, value in model.named_parameters())
    sharded = RunDir(data / "run").evals
    assert {key: record.metrics for key, record in sharded.items()} == {k: r.metrics for k, r in run.evals.items()}
    assert {record.processes for record in sharded.values()} == {2}
