"""Opens the training stream somewhere in an epoch and prints the seconds to its first batch: `data_start_once JOB`."""

import json
import sys
import time
from dataclasses import dataclass

from mammut_clip.config.data import DataConfig
from mammut_clip.data.stream import open_train_stream
from mammut_clip.data.text import ClipTokenizer


@dataclass(frozen=True)
class Job:
    """Where to start."""

    folder: str
    share: float
    """Of the epoch."""
    samples: int
    """In the epoch."""
    batch: int
    workers: int
    image_size: int


def measure(job: Job) -> float:
    """Seconds from opening the stream to the first batch. Raises RuntimeError where the batch is not the one due."""
    start = int(job.share * job.samples) // job.batch * job.batch
    stop = max(start + job.batch, job.samples // job.batch * job.batch)
    config, tokenizer = DataConfig(train=[job.folder], workers=job.workers), ClipTokenizer()
    began = time.perf_counter()
    stream = open_train_stream(config, tokenizer, image_size=job.image_size, seed=0, global_batch_size=job.batch)
    batches = stream.batches(start, stop)
    first = next(batches)
    seconds = time.perf_counter() - began
    if first.positions != range(start, start + job.batch):
        raise RuntimeError(f"expected the positions from {start}, found {first.positions}")
    return seconds


if __name__ == "__main__":
    print(measure(Job(**json.loads(sys.argv[1]))))
