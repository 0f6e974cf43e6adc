"""What is in a checkpoint: everything that the next step depends on, to the last bit, and nothing that is no tensor."""

from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from checkpoint_case import ONE, Case, require_equal, run_with
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import get_state_dict

from mammut_clip.config.errors import InputError
from mammut_clip.models.sharded import UnreadableError, open_sharded
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint import CheckpointWriter
from mammut_clip.train.checkpoint.state import buffers_of, load_state, state_of


def saved(run: RunDir, case: Case) -> Path:
    with CheckpointWriter(run, case.model, case.optimizer, ONE) as writer:
        writer.save(64)
    return run.checkpoint(64).path


# ours; then timm's that count in tensors, in numbers, in their groups, not at all, and with factored moments
@pytest.mark.parametrize("timm", [None, "nadamw", "adabelief", "lamb", "adan", "lion", "adafactor"])
def test_the_next_steps_are_the_same_to_the_last_bit(tmp_path: Path, timm: str | None) -> None:
    run = run_with(tmp_path)
    first, second = Case(run, steps=3, timm=timm), Case(run, steps=1, seed=1, timm=timm)
    folder = saved(run, first)
    load_state(second.model, second.optimizer, open_sharded(folder))
    require_equal(second.values(), first.values())
    second.continue_as(first)
    for case in (first, second):
        case.step()
        case.step()
    require_equal(second.values(), first.values())


def test_a_parameter_that_no_loss_has_reached_has_no_state_afterwards_either(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    first, second = Case(run, steps=0), Case(run, steps=2)
    reached = list(first.model.parameters())[:3]
    for parameter in reached:
        parameter.grad = torch.ones_like(parameter)
    first.optimizer.step()
    folder = saved(run, first)
    load_state(second.model, second.optimizer, open_sharded(folder))
    require_equal(second.values(), first.values())
    assert len(second.optimizer.state) == len(reached)


def test_before_the_first_update_there_is_nothing_to_save_of_an_optimizer(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    first, second = Case(run, steps=0, timm="lamb"), Case(run, steps=2, seed=1, timm="lamb")
    before = first.values()
    folder = saved(run, first)
    require_equal(first.values(), before)
    load_state(second.model, second.optimizer, open_sharded(folder))
    require_equal(second.values(), before)


def test_settings_come_from_the_config_and_not_from_the_checkpoint(tmp_path: Path) -> None:
    old = run_with(tmp_path / "old", optimizer={"lr": 1e-3, "weight_decay": 0.2})
    new = run_with(tmp_path / "new", optimizer={"lr": 3e-4, "weight_decay": 0.1, "betas": [0.8, 0.9]})
    folder, case = saved(old, Case(old)), Case(new)
    load_state(case.model, case.optimizer, open_sharded(folder))
    assert [group["weight_decay"] for group in case.optimizer.param_groups] == [0.1, 0.0]
    assert {(group["lr"], group["betas"]) for group in case.optimizer.param_groups} == {(3e-4, (0.8, 0.9))}
    assert all(parameter.grad is None for parameter in case.model.parameters())


def test_there_are_only_tensors_in_it(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    case = Case(run, timm="adan")
    index = open_sharded(saved(run, case)).index
    assert all(isinstance(entry, TensorStorageMetadata) for entry in index.state_dict_metadata.values())
    state = state_of(case.model, case.optimizer)
    assert set(index.state_dict_metadata) == {f"{part}.{name}" for part in state for name in state[part]}


def test_a_checkpoint_of_the_program_before_is_read(tmp_path: Path) -> None:
    """It held the optimizer's settings too, and a marker without a list of files."""
    run = run_with(tmp_path)
    first, second = Case(run, steps=3), Case(run, steps=1, seed=1)
    weights, gathered = get_state_dict(first.model, first.optimizer)
    folder = run.checkpoint(128).path
    dcp.save({"model": weights, "optimizer": gathered}, checkpoint_id=folder, no_dist=True)
    (folder / "complete").write_text('{"samples_seen": 128, "world_size": 1}\n')
    assert run.checkpoint(128).damage() is None
    load_state(second.model, second.optimizer, open_sharded(folder))
    require_equal(second.values(), first.values())


def test_another_optimizer_is_refused_by_name(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    case = Case(run, timm="lion")
    with pytest.raises(InputError, match=r"is of another optimizer than Lion") as refused:
        load_state(case.model, case.optimizer, open_sharded(saved(run, Case(run))))
    assert not isinstance(refused.value, UnreadableError)


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    clip, mammut = run_with(tmp_path / "a", model="toy-XS"), run_with(tmp_path / "b", model="mammut_toy-XS")
    case = Case(mammut)
    with pytest.raises(InputError, match=r"these weights are not this model's") as refused:
        load_state(case.model, case.optimizer, open_sharded(saved(clip, Case(clip))))
    assert "they fit toy-XS" in str(refused.value)
    assert not isinstance(refused.value, UnreadableError)


def test_what_no_checkpoint_can_hold_is_said(tmp_path: Path) -> None:
    case = Case(run_with(tmp_path))
    next(iter(case.optimizer.state.values()))["history"] = [1, 2]
    with pytest.raises(InputError, match=r"AdamW keeps a list \(state\..*\.history\)"):
        state_of(case.model, case.optimizer)


def test_buffers_are_told_from_parameters() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    model.register_parameter("tied", model[0].weight)
    assert buffers_of(model) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
