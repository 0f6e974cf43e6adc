"""Reading the model out of a run's sharded checkpoint, in one process and without its optimiser state."""

import warnings
from pathlib import Path

import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException

from mammut_clip.config.errors import InputError


def read_sharded(model: nn.Module, folder: Path) -> None:
    """Load the parameters of a torch.distributed.checkpoint folder into `model` (whole, on its device).

    Raises InputError where the folder holds no complete checkpoint or one of another architecture.
    """
    if not (folder / "complete").is_file():
        raise InputError(f"{folder}: not a complete checkpoint (it has no marker file `complete`)")
    state = {"model": model.state_dict()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dcp.load(state, checkpoint_id=folder, no_dist=True)
    except (Exception, CheckpointException) as error:  # the latter is no Exception
        raise InputError(f"{folder}: this checkpoint does not fit the model ({error})") from error
    model.load_state_dict(state["model"])
