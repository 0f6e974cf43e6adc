"""Telling a full disk from other failures: where a write fails inside PyTorch's zip writer, the system's error is lost
("unexpected pos 704 vs 598")."""

import math
import os
import tempfile
from pathlib import Path

from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future


class RoomTellingWriter(FileSystemWriter):
    """Writes as its parent; an error where there is no room for the rank's part is followed by the system's own."""

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Raises OSError (ENOSPC, EDQUOT) for want of room, otherwise what the parent raises."""
        try:
            return super().write_data(plan, planner)
        except Exception as error:
            try:
                _reserve(Path(self.path), _bytes_of(plan))
            except OSError as full:
                raise full from error
            raise


def _bytes_of(plan: SavePlan) -> int:
    """Size of the tensors in a rank's part."""
    tensors = [item.tensor_data for item in plan.items if item.tensor_data is not None]
    return sum(math.prod(tensor.chunk.sizes) * tensor.properties.dtype.itemsize for tensor in tensors)


def _reserve(folder: Path, size: int) -> None:
    """Take so much room for a moment; raises OSError where there is none."""
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, max(size, 4096))
