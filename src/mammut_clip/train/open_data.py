"""Opening a run's training data: rank 0 looks at the shards and finds the samples of new ones; the others wait, and get
its index. A file system that a thousand ranks ask about a hundred thousand shards has nothing else to do."""

import time

import torch

from mammut_clip.config.run import RunConfig
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.stream import TrainStream, open_index, open_train_stream
from mammut_clip.data.text import load_tokenizer
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import all_reduce_sum, from_main
from mammut_clip.train.logs import tell

_SIGN_EVERY = 60.0
"""Seconds between signs of life; a collective that waits for ten minutes ends the job."""
_TELL_EVERY = 10.0
"""Seconds between lines about the progress."""
_MANY = 1_000
"""Shards whose indexing is better not waited for by a whole job."""


def open_data(config: RunConfig, process: Process) -> TrainStream:
    """This rank's stream. Collective. Raises InputError for missing or damaged shards."""
    if process.is_main:
        index = from_main(_found(config, process))
    else:
        while not _is_done(False, process):
            continue
        found: ShardIndex = from_main(None)
        index = found.reading_through(ShardStorage(config.data.reading, config.data.cache))
    architecture = config.model.architecture
    return open_train_stream(
        config.data,
        load_tokenizer(architecture.text_cfg),
        image_size=architecture.vision_cfg.image_size,
        seed=config.seed,
        global_batch_size=config.global_batch_size,
        rank=process.rank,
        world_size=process.world_size,
        index=index,
    )


def _found(config: RunConfig, process: Process) -> ShardIndex:
    """On rank 0: the index, while the others are told that it goes on, and when it is done."""
    index = open_index(config.data, _Progress(config, process))
    _is_done(True, process)
    return index


def _is_done(done: bool, process: Process) -> bool:
    """Whether rank 0 is done; it says so, or sends a sign of life. Collective."""
    return bool(all_reduce_sum(torch.tensor(int(done), device=process.device)))


class _Progress:
    """Called by the index on rank 0 after each shard that had to be walked."""

    def __init__(self, config: RunConfig, process: Process) -> None:
        self._config, self._process = config, process
        self._signed = self._told = time.monotonic()
        self._has_told = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done <= 1 and total > _MANY:
            sources = " ".join(source for dataset in self._config.data.datasets for source in dataset.sources)
            tell(
                f"{total:,} shards have no index yet. Once made, it is kept: `mammut-clip data index {sources}` makes "
                "it before a job of many GPUs has to wait; --counts-only takes counts that stand beside the shards"
            )
        if now - self._told >= _TELL_EVERY or (done == total and self._has_told):
            self._told, self._has_told = now, True
            tell(f"indexed {done:,} of {total:,} shards")
        if now - self._signed >= _SIGN_EVERY:
            self._signed = now
            _is_done(False, self._process)
