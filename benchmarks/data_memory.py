"""Memory of the training stream over half a million samples: does it stay where it was after a tenth of them?

The main process and its workers, with pages that they share counted once (proportional set size), in a process of its
own. There is no peer; the end of the pass is compared with its beginning.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks.data_memory_pass import Job, Point
from benchmarks.processes import run_child
from benchmarks.result import Measurement, Row, Settings
from benchmarks.toy_shards import write_repeated
from mammut_clip.fit.style import LIGHT, new_figure

QUESTION = "Does the memory of the training stream grow while samples go through it?"
DISTINCT, SHARDS, PER_SHARD, IMAGE_SIZE = 20_000, 100, 1000, 64
SAMPLES, EVERY, BATCH, WORKERS = 500_000, 10_000, 256, 2
READ_AHEAD, LANES = "64MB", 64
CEILING = 1.05
FIGURE = "data_memory.png"
_SMOOTHED = 5
"""Measurements whose median is a row's value: batches that are just on their way differ."""


def measure(settings: Settings) -> Measurement:
    """One row of the memory at the end beside that at a tenth, and the figure of all measurements."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "shards"
        write_repeated(folder, SHARDS, PER_SHARD, distinct=DISTINCT, image_size=IMAGE_SIZE)
        job = Job(str(folder), SAMPLES, EVERY, BATCH, WORKERS, READ_AHEAD, LANES, IMAGE_SIZE)
        log = Path(scratch) / "log"
        run_child([sys.executable, "-m", "benchmarks.data_memory_pass", json.dumps(asdict(job))], log)
        points = [Point(**point) for point in json.loads(log.read_text().splitlines()[-1])]
    draw(points, settings.results / FIGURE)
    tenth = next(number for number, point in enumerate(points) if point.samples >= SAMPLES / 10)
    early, late = (
        median(point.megabytes for point in part) for part in (points[tenth:][:_SMOOTHED], points[-_SMOOTHED:])
    )
    setting = f"{SAMPLES:,} samples of {IMAGE_SIZE} px, {WORKERS} workers"
    row = Row(setting, "MB at the end", "lower", [late], "MB after a tenth", [early], CEILING)
    notes = [
        f"![memory over the samples]({FIGURE})",
        f"{SAMPLES / (SHARDS * PER_SHARD):g} epochs of {SHARDS} shards of {PER_SHARD:,} samples, `reading.ahead` "
        f"{READ_AHEAD}, {LANES} lanes: scaled down with the data, so that a tenth of it ends several windows a lane. "
        f"Measured every {EVERY:,} samples; a value is the median of {_SMOOTHED} measurements. One pass, whatever "
        "--repeats says.",
        "Proportional set sizes of the main process and its workers, PyTorch's heap among it, mapped files (libraries, "
        "the index) not.",
    ]
    return Measurement([row], notes)


def draw(points: list[Point], path: Path) -> None:
    """Memory over samples, from zero."""
    figure, axes = new_figure(LIGHT)
    axes.plot([p.samples for p in points], [p.megabytes for p in points], marker=".", color=LIGHT.groups[0])
    axes.set_xlabel("samples seen")
    axes.set_ylabel("memory of main process and workers, MB")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    figure.savefig(path, dpi=110)
