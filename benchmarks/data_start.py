"""Time to the first batch at the beginning of an epoch and far inside it: resuming costs nothing that grows.

A stream is opened in a fresh process each time, on shards whose indices are stored and whose bytes are in the page
cache. There is no peer: open_clip_train begins a new epoch when it resumes.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.data_start_once import Job
from benchmarks.processes import run_child
from benchmarks.result import Measurement, Row, Settings
from benchmarks.toy_shards import write_repeated

QUESTION = "How long does the first batch take from the middle of an epoch, beside from its beginning?"
SHARDS, PER_SHARD, DISTINCT, IMAGE_SIZE, BATCH, WORKERS = 1000, 100, 1000, 32, 256, 2
SHARES = (0.1, 0.9)
"""Of the epoch, at which a stream starts."""
LEAST_REPEATS = 9
CEILING = 1.10


def measure(settings: Settings) -> Measurement:
    """One row per place in the epoch, in seconds, beside those from position 0."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch) / "shards", Path(scratch) / "log"
        write_repeated(folder, SHARDS, PER_SHARD, distinct=DISTINCT, image_size=IMAGE_SIZE)
        _seconds(folder, 0.0, log)  # makes the indices
        seconds: dict[float, list[float]] = {share: [] for share in (0.0, *SHARES)}
        for _ in range(max(LEAST_REPEATS, settings.repeats)):
            for share, found in seconds.items():
                found.append(_seconds(folder, share, log))
    setting = f"{SHARDS:,} shards of {PER_SHARD:,}, {WORKERS} workers"
    rows = [
        Row(
            f"{setting}, at {share:.0%}",
            "s to the first batch",
            "lower",
            seconds[share],
            "at 0%",
            seconds[0.0],
            CEILING,
        )
        for share in SHARES
    ]
    notes = [
        f"From opening the stream to a batch of {BATCH}, start of the workers included, imports not. A process each "
        f"time; at least {LEAST_REPEATS} repetitions, whatever --repeats says."
    ]
    return Measurement(rows, notes)


def _seconds(folder: Path, share: float, log: Path) -> float:
    job = Job(str(folder), share, SHARDS * PER_SHARD, BATCH, WORKERS, IMAGE_SIZE)
    run_child([sys.executable, "-m", "benchmarks.data_start_once", json.dumps(asdict(job))], log)
    return float(log.read_text().splitlines()[-1])
