"""A branch, trained: equal bit for bit to a run that was to be cooled down from the start."""

from collections.abc import Callable

import pytest
import torch

from mammut_clip.config.errors import InputError
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.distributed import Process
from mammut_clip.models import build_model
from mammut_clip.models.sharded import read_sharded
from mammut_clip.runs.branch import create_branch
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.trainer import Trainer

MakeRun = Callable[..., RunDir]
ONE = Process(0, 1, 0, torch.device("cpu"))


def train(run: RunDir) -> None:
    Trainer(run, ONE).train()


def weights(run: RunDir) -> dict[str, torch.Tensor]:
    model = build_model(run.config.model.architecture)
    read_sharded(model, run.checkpoints[-1].path)
    return model.state_dict()


def test_a_branch_equals_a_run_that_was_to_be_cooled_down_from_the_start(make_run: MakeRun) -> None:
    parent = make_run(name="const", samples_seen=384, schedule={"kind": "const", "warmup": 64})
    cooled = make_run(samples_seen=320, schedule={"kind": "const_cooldown", "warmup": 64, "cooldown": 64})
    train(parent)
    train(cooled)
    branch = create_branch(f"{parent.path}@256", "20%", [], parent.path.parents[1])
    parent.remove_checkpoint(parent.checkpoint(256))
    train(branch)
    assert branch.status.state == "finished"
    assert branch.config.schedule == cooled.config.schedule
    expected = {row["samples_seen"]: (row["loss"], row["lr"]) for row in cooled.metrics}
    assert {row["samples_seen"]: (row["loss"], row["lr"]) for row in branch.metrics} == {
        samples: values for samples, values in expected.items() if samples > 256
    }
    assert all(torch.equal(value, weights(cooled)[key]) for key, value in weights(branch).items())


def test_a_branch_without_its_checkpoint_is_not_trained_from_first_weights(make_run: MakeRun) -> None:
    parent = make_run(name="const", samples_seen=128, schedule={"kind": "const"})
    train(parent)
    branch = create_branch(f"{parent.path}@128", "50%", [], parent.path.parents[1])
    branch.remove_checkpoint(branch.checkpoints[0])
    with pytest.raises(InputError, match="has no usable one"):
        train(branch)
    assert not branch.checkpoints


def test_a_branch_refuses_other_shards_than_its_parents(
    make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shards = tmp_path_factory.mktemp("shards") / "train"
    write_toy_train(shards, 128, samples_per_shard=64)
    data = {"train": [str(shards)], "workers": 0}
    parent = make_run(name="const", samples_seen=128, schedule={"kind": "const"}, data=data)
    train(parent)
    branch = create_branch(f"{parent.path}@128", "50%", [], parent.path.parents[1])
    (shards / "toy.json").unlink()
    (shards / "00001.tar").unlink()
    with pytest.raises(InputError, match="hold other numbers of samples"):
        train(branch)
