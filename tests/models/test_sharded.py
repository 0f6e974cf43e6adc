"""The model out of a sharded checkpoint: whole, of the right architecture, and without trusting any pickle in it."""

import json
import pickle
import subprocess
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict

from mammut_clip.config.errors import InputError
from mammut_clip.config.model import load_model_config
from mammut_clip.models import build_model
from mammut_clip.models.sharded import UnreadableError, open_sharded, read_sharded, sharded_shapes


class Harmful:
    """Starts a program when a plain unpickler meets it."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple:
        return subprocess.check_call, (["touch", str(self.touched)],)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint as the trainer writes it, with optimiser state."""
    model = build_model(load_model_config("mammut_toy-XS"), seed=1)
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    weights, state = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optimizer": state}, checkpoint_id=tmp_path / "64", no_dist=True)
    marker = {"samples_seen": 64, "world_size": 1, "files": {"__0_0.distcp": 1}}
    (tmp_path / "64" / "complete").write_text(json.dumps(marker))
    torch.save(model.state_dict(), tmp_path / "expected.pt")
    return tmp_path / "64"


def test_every_parameter_comes_back(checkpoint: Path) -> None:
    model = build_model(load_model_config("mammut_toy-XS"), seed=2)
    read_sharded(model, checkpoint)
    expected = torch.load(checkpoint.parent / "expected.pt", weights_only=True)
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_another_architecture_is_refused_by_name(checkpoint: Path) -> None:
    model = build_model(load_model_config("toy-XS"), seed=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError) as refused:
        read_sharded(model, checkpoint)
    assert "not in the model: map_viz2txt_kv, text.cross_attn.0" in str(refused.value)
    assert str(refused.value).endswith("they fit mammut_toy-XS and cap_toy-XS")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_is_cut_off_is_refused(checkpoint: Path) -> None:
    model = build_model(load_model_config("mammut_toy-XS"))
    index = (checkpoint / ".metadata").read_bytes()
    (checkpoint / ".metadata").write_bytes(index[: len(index) // 2])
    with pytest.raises(InputError, match="index cannot be read"):
        read_sharded(model, checkpoint)
    (checkpoint / ".metadata").write_bytes(index)
    for shard in checkpoint.glob("*.distcp"):
        shard.unlink()
    with pytest.raises(UnreadableError, match="cannot be read"):
        read_sharded(model, checkpoint)
    (checkpoint / "complete").unlink()
    with pytest.raises(InputError, match="not a complete checkpoint"):
        read_sharded(model, checkpoint)


def test_an_index_that_brings_code_is_refused_and_the_code_not_run(checkpoint: Path) -> None:
    touched = checkpoint.parent / "touched"
    harmful = pickle.dumps(Harmful(touched))
    pickle.loads(harmful)
    assert touched.exists()  # so it would do harm
    touched.unlink()
    (checkpoint / ".metadata").write_bytes(harmful)
    with pytest.raises(InputError, match=r"subprocess\.check_call is no part of an index"):
        read_sharded(build_model(load_model_config("mammut_toy-XS")), checkpoint)
    # a name that is merely imported by a module of torch's is no way round
    module = b"torch.distributed.checkpoint.filesystem"
    (checkpoint / ".metadata").write_bytes(b"c" + module + b"\nos\n.")
    with pytest.raises(InputError, match=r"filesystem\.os is no part of an index"):
        read_sharded(build_model(load_model_config("mammut_toy-XS")), checkpoint)
    assert not touched.exists()


def test_a_value_that_is_a_pickle_is_never_read(checkpoint: Path) -> None:
    """A format that may hold any object: here one stands where a tensor should."""
    touched, folder = checkpoint.parent / "touched", checkpoint.parent / "harmful"
    dcp.save({"model": {"logit_scale": Harmful(touched)}}, checkpoint_id=folder, no_dist=True)
    (folder / "complete").touch()
    state = {"model": {"logit_scale": torch.zeros(1)}}
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    assert touched.exists()  # so it would do harm
    touched.unlink()
    assert sharded_shapes(folder) == {}
    with pytest.raises(UnreadableError, match=r"model\.logit_scale is no tensor"):
        open_sharded(folder).read({"model": {"logit_scale": torch.zeros(1)}})
    assert not touched.exists()


def test_the_index_that_was_checked_is_the_one_that_is_used(checkpoint: Path) -> None:
    opened = open_sharded(checkpoint)
    (checkpoint / ".metadata").write_bytes(pickle.dumps(Harmful(checkpoint.parent / "touched")))
    found = {"model": {"logit_scale": torch.zeros(1)}}
    opened.read(found)
    expected = torch.load(checkpoint.parent / "expected.pt", weights_only=True)
    assert torch.equal(found["model"]["logit_scale"], expected["logit_scale"])
    assert not (checkpoint.parent / "touched").exists()
