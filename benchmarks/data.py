"""Images per second from shards to batches: ours beside open_clip_train's own pipeline and plain webdataset.

All load the same shards of photograph-like JPEGs with as many workers, crop to the same size, tokenize with CLIP's BPE
and shuffle; each pass is a process of its own. CPU time is what counts, that of the whole tree of processes: it is what
a training node runs out of, and other work on the machine disturbs it least.
"""

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.loading import Job, Loading, Side
from benchmarks.peers import peers_python
from benchmarks.photos import write_photos
from benchmarks.processes import run_child
from benchmarks.result import Measurement, Row, Settings

QUESTION = "How many images per second come from shards to batches, beside open_clip_train and webdataset?"
SHARDS, PER_SHARD = 10, 1024
BATCH, WORKERS, IMAGE_SIZE, CROP_SCALE = 256, 2, 224, (0.9, 1.0)
OURS: tuple[Side, ...] = ("pil", "fast")
PEERS: tuple[Side, ...] = ("open_clip_train", "webdataset")


@dataclass(frozen=True)
class Pictures:
    """One set of shards."""

    width: int
    height: int
    pil: float
    """What `decode: pil` is to reach in images per CPU second, times open_clip_train's."""
    fast: float
    """Likewise `decode: fast`."""

    def __str__(self) -> str:
        return f"{self.width} x {self.height} JPEG"


PICTURES = (Pictures(512, 384, 1.2, 2.0), Pictures(1024, 768, 1.2, 4.0))

Passes = dict[Side, list[Loading]]
"""One per repetition."""


def measure(settings: Settings) -> Measurement:
    """Rows of images per CPU second and per second, and of what all sides shall have alike. Raises where one fails."""
    python = peers_python(settings.peers_python)
    rows, notes = [], []
    for pictures in PICTURES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "shards"
            write_photos(folder, (pictures.width, pictures.height), SHARDS, PER_SHARD)
            passes: Passes = {side: [] for side in (*OURS, *PEERS)}
            for _ in range(settings.repeats):
                for side in passes:
                    passes[side].append(_load(side, folder, python))
        for ours in OURS:
            rows += _rows(pictures, ours, passes)
            notes.append(f"{pictures}, {ours}: the workers' time goes to {_shares(passes[ours])}.")
    return Measurement(rows, [*_conditions(), *notes])


def _load(side: Side, folder: Path, python: Path) -> Loading:
    job = Job(side, str(folder), SHARDS, BATCH, SHARDS * PER_SHARD // BATCH, WORKERS, IMAGE_SIZE, CROP_SCALE)
    module = "benchmarks.our_data" if side in OURS else "benchmarks.peer_data"
    interpreter: str | Path = python if side == "open_clip_train" else sys.executable
    log = folder.with_name("log")
    run_child([interpreter, "-m", module, json.dumps(asdict(job))], log, {"OMP_NUM_THREADS": "1"})
    return Loading(**json.loads(log.read_text().splitlines()[-1]))


def _rows(pictures: Pictures, ours: Side, passes: Passes) -> list[Row]:
    setting = f"{pictures}, {ours}"
    targets = {"pil": pictures.pil, "fast": pictures.fast}
    images = SHARDS * PER_SHARD
    rows = []
    for peer in PEERS:
        target = targets[ours] if peer == "open_clip_train" else None
        pair = passes[ours], passes[peer]
        rates = [[images / found.cpu_seconds for found in side] for side in pair]
        rows.append(Row(setting, "images / CPU second", "higher", rates[0], peer, rates[1], target))
        rates = [[images / found.seconds for found in side] for side in pair]
        rows.append(Row(setting, "images / s", "higher", rates[0], peer, rates[1]))
    pair = passes[ours], passes[PEERS[0]]
    pixels = [[found.mean_pixel for found in side] for side in pair]
    rows.append(Row(setting, "mean pixel of a batch, 0 to 1", "equal", pixels[0], PEERS[0], pixels[1]))
    tokens = [[found.mean_tokens for found in side] for side in pair]
    rows.append(Row(setting, "mean tokens of a caption", "equal", tokens[0], PEERS[0], tokens[1]))
    return rows


def _shares(passes: list[Loading]) -> str:
    """decode 61%, resize 30%, ...: medians over repetitions."""
    shares = {
        stage: median(found.stages[stage] / sum(found.stages.values()) for found in passes)
        for stage in passes[0].stages
    }
    return ", ".join(f"{stage} {share:.0%}" for stage, share in sorted(shares.items(), key=lambda item: -item[1]))


def _conditions() -> list[str]:
    return [
        f"{SHARDS * PER_SHARD:,} different pictures to {IMAGE_SIZE} px, captions in 77 tokens, batches of {BATCH}, "
        f"{WORKERS} workers on each side. A pass over all of them: seconds from opening the shards to the last batch, "
        "CPU seconds until the workers have ended. Imports and one batch in the main process come before both clocks.",
        "open_clip_train: its get_wds_dataset and image_transform with the old webdataset that it needs. webdataset: "
        "WebDataset, decode('pilrgb') and torchvision's transforms. Both hand over normalised floats, ours bytes that "
        "are normalised on the device.",
        "Indices of our shards are made by the batch before the clock, as they are made once for many runs.",
    ]
