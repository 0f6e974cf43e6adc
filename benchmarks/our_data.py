"""Batches as our training stream loads them, in a process of its own: `python -m benchmarks.our_data JOB`.

Prints one JSON line, a `Loading`.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import torch

from benchmarks.loading import Job, Loading, clocked
from mammut_clip.config.data import DataConfig
from mammut_clip.data.stream import open_train_stream
from mammut_clip.data.stream.batch import StageSeconds
from mammut_clip.data.text import ClipTokenizer


def batches(job: Job, stages: StageSeconds) -> Iterable[tuple[Any, Any]]:
    """The first batches of a run; adds to `stages`."""
    config = DataConfig(train=[job.folder], workers=job.workers, decode=job.side, crop_scale=job.crop_scale)
    stream = open_train_stream(config, ClipTokenizer(), image_size=job.image_size, seed=0, global_batch_size=job.batch)
    for batch in stream.batches(0, job.batches * job.batch):
        stages.add(batch.seconds)
        yield batch.images, batch.ids


def measure(job: Job) -> Loading:
    """Load one batch in this process, then those that count."""
    clocked(lambda: batches(replace(job, workers=0, batches=1), StageSeconds()), 1, job.batch)
    stages = StageSeconds()
    found = clocked(lambda: batches(job, stages), job.batches, job.batch)
    pixels, tokens = found.images.double().mean().item() / 255, (found.ids != 0).sum(dim=1).double().mean().item()
    return Loading(found.seconds, found.cpu_seconds, pixels, tokens, asdict(stages))


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(asdict(measure(Job(**json.loads(sys.argv[1]))))))
