"""Checkpoints: sharded, written in the background, complete only with their marker; and the way back from them.

    state.py       what is in one
    staging.py     the copy that is written while training goes on
    folder.py      its way into its place on disk
    write.py       one checkpoint, on all ranks
    writer.py      what the loop sees
    restore.py     the newest that can be used

Saved by any number of processes, loaded by any other, sharded in any other way.
"""

from mammut_clip.train.checkpoint.restore import NOTHING_RESTORED, Restored, restore
from mammut_clip.train.checkpoint.write import CheckpointWriteError
from mammut_clip.train.checkpoint.writer import CheckpointWriter

__all__ = ["NOTHING_RESTORED", "CheckpointWriteError", "CheckpointWriter", "Restored", "restore"]
