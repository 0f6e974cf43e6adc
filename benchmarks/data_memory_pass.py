"""A pass through the training stream that measures its memory on the way: `data_memory_pass JOB`, in JSON.

Prints one JSON line, a list of `Point`.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from mammut_clip.config.data import DataConfig
from mammut_clip.data.stream import open_train_stream
from mammut_clip.data.text import ClipTokenizer


@dataclass(frozen=True)
class Job:
    """What goes through."""

    folder: str
    samples: int
    every: int
    """Samples between two measurements."""
    batch: int
    workers: int
    read_ahead: str
    lanes: int
    image_size: int


@dataclass(frozen=True)
class Point:
    """One measurement."""

    samples: int
    """Seen before it."""
    megabytes: float
    """Of this process and its workers, without mapped files; a page that n processes share counts 1/n in each."""


def measure(job: Job) -> list[Point]:
    """Load all batches, in this process and its workers."""
    reading, shuffle = {"ahead": job.read_ahead}, {"lanes": job.lanes}
    config = DataConfig.model_validate(
        {"train": job.folder, "workers": job.workers, "reading": reading, "shuffle": shuffle}
    )
    stream = open_train_stream(config, ClipTokenizer(), image_size=job.image_size, seed=0, global_batch_size=job.batch)
    points: list[Point] = []
    seen = 0
    for batch in stream.batches(0, job.samples // job.batch * job.batch):
        seen += len(batch.ids)
        if seen // job.every > len(points):
            points.append(Point(seen, megabytes(os.getpid())))
    return points


def megabytes(process: int) -> float:
    """MB (1e6 bytes) of a process and its descendants, of memory that no file backs; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        threads = list(Path(f"/proc/{process}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # not of mapped files: how many share a library changes with what else runs, and an index can be paged in again
    own = sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))) * 1024 / 1e6
    return own + sum(megabytes(child) for thread in threads for child in _children(thread))


def _children(thread: Path) -> list[int]:
    """Processes that a thread has started; none where it has ended since it was listed."""
    try:
        return [int(child) for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


if __name__ == "__main__":
    print(json.dumps([asdict(point) for point in measure(Job(**json.loads(sys.argv[1])))]))
