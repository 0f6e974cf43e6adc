"""One suite of ten datasets with `mammut-clip eval` and with clip_benchmark, from cold processes to results.

Both read the same shards and the same model folder. clip_benchmark's time is that of its fastest number of workers, in
each repetition anew. A repetition whose metrics differ by more than 1e-6 between the sides is an error.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.machine import cores
from benchmarks.peers import peers_python
from benchmarks.photos import photos
from benchmarks.processes import Cost, run_child
from benchmarks.result import Measurement, Row, Settings
from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.data.shards.shard_writer import ShardSetWriter, eval_key, eval_shard_name, write_eval_description
from mammut_clip.data.toy_words import vocabulary

QUESTION = "How long does a suite of ten datasets take, from the start of the command to the last result?"
PEER = "clip_benchmark"
WORKERS = (0, 1, 2)
PROCESSES = 2
BATCH = 64
SHARDS = 4
"""Of each dataset: clip_benchmark's loader needs as many as it has workers."""
TOLERANCE = 1e-6
_CAPTIONS = 5


@dataclass(frozen=True)
class Dataset:
    """What is drawn for one dataset."""

    name: str
    """clip_benchmark takes the task from it."""
    size: tuple[int, int]
    """Width and height of its pictures."""
    classes: int
    """0 for retrieval, with five captions for each picture."""


DATASETS = (
    Dataset("vtab/caltech101", (300, 224), 102),
    Dataset("vtab/dtd", (480, 360), 47),
    Dataset("vtab/flowers", (480, 480), 102),
    Dataset("vtab/pets", (400, 300), 37),
    Dataset("food101", (384, 384), 101),
    Dataset("voc2007", (480, 360), 20),
    Dataset("imagenet_sketch", (360, 480), 200),
    Dataset("flickr8k", (480, 360), 0),
    Dataset("flickr30k", (480, 320), 0),
    Dataset("mscoco_captions", (480, 360), 0),
)


@dataclass(frozen=True)
class Case:
    """One model and how many pictures of each dataset it sees."""

    label: str
    model: ModelConfig
    pictures: int
    target: float | None
    """What several processes are to take, in parts of clip_benchmark's time."""


def cases() -> list[Case]:
    """One in which the pictures are most of the work, and one in which the model is."""
    small = {
        "family": "clip",
        "embed_dim": 128,
        "vision_cfg": {"image_size": 224, "patch_size": 32, "width": 128, "layers": 4},
        "text_cfg": {"width": 128, "heads": 2, "layers": 4},
    }
    return [
        Case("ViT 4 x 128", load_model_config(small), 400, 1 / 3),
        Case("ViT-S-32", load_model_config("ViT-S-32"), 100, None),
    ]


@dataclass(frozen=True)
class Place:
    """Where everything stands."""

    folder: Path
    peers_python: Path

    @property
    def data(self) -> Path:
        """The datasets."""
        return self.folder / "data"

    @property
    def model(self) -> Path:
        """The model, as open_clip reads it."""
        return self.folder / "model"


Metrics = dict[str, dict[str, float]]
"""Dataset -> metric -> value."""


@dataclass(frozen=True)
class Found:
    """What one repetition took."""

    ours: dict[int, Cost]
    """By number of processes."""
    theirs: dict[int, Cost]
    """In one process, by number of workers."""
    theirs_shared: Cost
    """With datasets shared by PROCESSES processes."""
    mean_metric: tuple[float, float]
    """Over all datasets and clip_benchmark's metrics, ours and theirs."""


def measure(settings: Settings) -> Measurement:
    """Rows of seconds, and of what both sides found. Raises where a side fails or results differ."""
    python = peers_python(settings.peers_python)
    rows: list[Row] = []
    notes = _conditions()
    for case in cases():
        with tempfile.TemporaryDirectory() as scratch:
            place = Place(Path(scratch), python)
            write_case(case, place)
            found = [repetition(place, number) for number in range(settings.repeats)]
        rows += _rows(case, found)
        notes.append(f"{case.label}: {_by_workers(found)}.")
    return Measurement(rows, notes)


def write_case(case: Case, place: Place) -> None:
    """Datasets, suite and model of a case."""
    import torch

    from mammut_clip.models import build_model
    from mammut_clip.open_clip_folder import Preprocessing, write_model_folder

    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:  # spawned: torch may hold threads
        list(pool.map(_write_dataset, [(place.data, dataset, case.pictures) for dataset in DATASETS]))
    entries = [
        {
            "name": dataset.name.replace("/", "-"),
            "dataset": dataset.name,
            "kind": "classification" if dataset.classes else "retrieval",
            "batch_size": BATCH,
        }
        for dataset in DATASETS
    ]
    (place.folder / "suite.yaml").write_text(json.dumps({"name": "bench", "tasks": entries}))  # JSON is YAML
    with torch.random.fork_rng():
        write_model_folder(place.model, build_model(case.model, seed=0), case.model, Preprocessing())


def _write_dataset(job: tuple[Path, Dataset, int]) -> None:
    root, dataset, count = job
    folder = root / f"wds_{dataset.name.replace('/', '-')}"
    rng = np.random.default_rng(list(dataset.name.encode()))
    words = vocabulary()

    def text(length: int) -> str:
        return " ".join(rng.choice(words, length))

    with ShardSetWriter(folder / "test", -(-count // SHARDS), eval_shard_name) as writer:
        for number, picture in enumerate(photos(rng, dataset.size, count)):
            if dataset.classes:
                target = {"cls": str(rng.integers(dataset.classes)).encode()}
            else:
                target = {"txt": "\n".join(text(int(rng.integers(8, 16))) for _ in range(_CAPTIONS)).encode()}
            writer.add(eval_key(number), {"jpg": picture} | target)
    if dataset.classes:
        names = [f"{text(2)} {number}" for number in range(dataset.classes)]
        templates = ["a photo of a {c}.", "a picture of the {c}."]
        write_eval_description(folder, "test", writer.shards, classnames=names, templates=templates)
    else:
        write_eval_description(folder, "test", writer.shards, dataset_type="retrieval")


def repetition(place: Place, number: int) -> Found:
    """Every way of either side once, in turn. Raises RuntimeError where their metrics differ."""
    ways: dict[str, Callable[[Path], Cost]] = {"ours 1": lambda out: _ours(place, 1, out)}
    for workers in WORKERS:
        ways[f"theirs {workers}"] = lambda out, workers=workers: _theirs(place, workers, 1, out)  # type: ignore[misc]
    ways[f"ours {PROCESSES}"] = lambda out: _ours(place, PROCESSES, out)
    ways["theirs shared"] = lambda out: _theirs(place, 0, PROCESSES, out)
    costs: dict[str, Cost] = {}
    metrics: dict[str, Metrics] = {}
    for way, run in ways.items():
        out = place.folder / f"results-{number}-{way.replace(' ', '-')}"
        costs[way] = run(out)
        metrics[way] = _read(out)
        if metrics[way].keys() != {dataset.name for dataset in DATASETS}:
            raise RuntimeError(f"{way}: results of {sorted(metrics[way])}; expected one of each dataset")
    for way in ways:
        _compare(metrics["ours 1"], metrics[way], way)
    return Found(
        {1: costs["ours 1"], PROCESSES: costs[f"ours {PROCESSES}"]},
        {workers: costs[f"theirs {workers}"] for workers in WORKERS},
        costs["theirs shared"],
        _means(metrics["ours 1"], metrics[f"theirs {WORKERS[0]}"]),
    )


def _ours(place: Place, processes: int, out: Path) -> Cost:
    arguments: list[str | Path] = [
        "eval",
        place.model,
        "--suite",
        place.folder / "suite.yaml",
        "--data-root",
        place.data,
        "--out",
        out,
    ]
    command = [sys.executable, *_several(processes), "-m", "mammut_clip.cli", *arguments, "--device", "cpu"]
    return run_child(command, place.folder / "log", _threads(processes))


def _theirs(place: Place, workers: int, processes: int, out: Path) -> Cost:
    out.mkdir()
    arguments = [
        *("--model", f"local-dir:{place.model}", "--pretrained", "none", "--no_amp"),
        *("--dataset", *(f"wds/{dataset.name}" for dataset in DATASETS)),
        *("--dataset_root", place.data / "wds_{dataset_cleaned}", "--output", out / "{dataset}.json"),
        *("--batch_size", BATCH, "--num_workers", workers, "--recall_k", 1, 5, 10, "--quiet"),
        *(("--distributed",) if processes > 1 else ()),
    ]
    command = [place.peers_python, *_several(processes), "-m", "clip_benchmark.cli", "eval", *map(str, arguments)]
    return run_child(command, place.folder / "log", _threads(processes) | {"CUDA_VISIBLE_DEVICES": ""})


def _several(processes: int) -> list[str]:
    if processes == 1:
        return []
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]


def _threads(processes: int) -> dict[str, str]:
    """Every way may use all cores, and wastes none by waiting for them: pictures are decoded beside the model."""
    return {"OMP_NUM_THREADS": str(max(1, cores() // processes)), "OMP_WAIT_POLICY": "PASSIVE"}


def _read(folder: Path) -> Metrics:
    """Either side's results; the keys are the same."""
    records: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]
    return {record["dataset"].removeprefix("wds/"): record["metrics"] for record in records}


def _compare(ours: Metrics, theirs: Metrics, way: str) -> None:
    """Times of results that differ compare nothing."""
    for dataset, metrics in theirs.items():
        for metric, value in metrics.items():
            if not abs(ours[dataset][metric] - value) <= TOLERANCE:
                raise RuntimeError(f"{dataset}: {metric} is {value} by {way} and {ours[dataset][metric]} by ours 1")


def _means(ours: Metrics, theirs: Metrics) -> tuple[float, float]:
    """Over what clip_benchmark measures; ours has means of recalls besides."""
    pairs = [(ours[name][metric], value) for name, values in theirs.items() for metric, value in values.items()]
    return mean(a for a, _ in pairs), mean(b for _, b in pairs)


def _rows(case: Case, found: list[Found]) -> list[Row]:
    pictures = len(DATASETS) * case.pictures
    setting = f"{case.label}, {pictures:,} pictures, batch {BATCH}"
    best = [min(one.theirs.values(), key=lambda cost: cost.seconds) for one in found]
    alone = f"{PEER}, best of {', '.join(map(str, WORKERS))} workers"
    shared = f"{PEER} --distributed, {PROCESSES} processes"
    several = f"{setting}, {PROCESSES} processes"

    def rows(setting: str, processes: int, peer: str, theirs: list[Cost], target: float | None = None) -> Iterator[Row]:
        ours = [one.ours[processes] for one in found]
        yield Row(setting, "s", "lower", [c.seconds for c in ours], peer, [c.seconds for c in theirs], target)
        yield Row(setting, "CPU s", "lower", [c.cpu_seconds for c in ours], peer, [c.cpu_seconds for c in theirs])

    means = [[one.mean_metric[side] for one in found] for side in (0, 1)]
    return [
        *rows(f"{setting}, 1 process", 1, alone, best, 1.0),
        *rows(several, PROCESSES, alone, best, case.target),
        *rows(several, PROCESSES, shared, [one.theirs_shared for one in found]),
        Row(setting, "mean of all metrics", "equal", means[0], PEER, means[1]),
    ]


def _by_workers(found: list[Found]) -> str:
    times = [f"{mean(one.theirs[workers].seconds for one in found):.1f} s with {workers}" for workers in WORKERS]
    return f"{PEER}'s mean times by its workers are {', '.join(times)}"


def _conditions() -> list[str]:
    kinds = [sum(bool(dataset.classes) is kind for dataset in DATASETS) for kind in (True, False)]
    return [
        f"{kinds[0]} sets for classification with 20 to 200 classes and two prompts each, {kinds[1]} for retrieval "
        f"with {_CAPTIONS} captions for each picture; photograph-like JPEGs of 300 x 224 to 480 x 480, {SHARDS} shards "
        "of each set. Wall time of the whole command, from a cold process with a warm file cache to its end; fp32.",
        f"Every command may use all {cores()} cores: OMP_NUM_THREADS is the cores' number, shared by the processes of "
        "torchrun where there are several; with OMP_WAIT_POLICY=PASSIVE on both sides, without which threads that wait "
        "take the cores from those that decode.",
        f"All metrics of all runs agree to {TOLERANCE:g}, or there would be no result. {PEER} does all sets in one "
        "command, which builds the model anew for each; with --distributed each process takes whole sets.",
    ]
