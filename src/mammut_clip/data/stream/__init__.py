"""The elastic stream: positions -> batches, the same for any number of ranks and workers."""

from mammut_clip.data.stream.batch import Batch, StageSeconds
from mammut_clip.data.stream.stream import TrainStream, open_index, open_train_stream

__all__ = ["Batch", "StageSeconds", "TrainStream", "open_index", "open_train_stream"]
