"""What two runs that should be the same are compared by."""

from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from mammut_clip.runs.layout import Checkpoint, RunDir
from mammut_clip.runs.metrics import WALL_CLOCK_FIELDS


def rows(run: RunDir) -> list[dict[str, Any]]:
    """Its metrics without what a clock on the wall decides."""
    return [{key: value for key, value in row.items() if key not in WALL_CLOCK_FIELDS} for row in run.metrics]


def state(checkpoint: Checkpoint, scratch: Path) -> dict[str, Any]:
    """Weights and optimizer state, whole."""
    dcp_to_torch_save(checkpoint.path, scratch)
    loaded: dict[str, Any] = torch.load(scratch, weights_only=False)  # written by this test
    return loaded


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one, by path."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {path: leaf for key, part in items for path, leaf in flat(part, f"{prefix}/{key}").items()}
    return {prefix: value}
