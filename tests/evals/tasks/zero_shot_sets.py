"""Sets for the zero-shot tasks that need more than a label: groups beside it, and cues with their candidates."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mammut_clip.data.evalsets import TarEvalSet
from mammut_clip.evals.task import Task
from mammut_clip.evals.tasks import kinds
from real_pictures import DIGITS, digits, encoded, npy_bytes, write_set

REGIONS = ("north", "south", "west")


def region(number: int) -> int:
    """Of the digit `number` in the set: the north has most, the west few."""
    return (0, 0, 0, 1, 1, 0, 1, 0, 0, 2)[number % 10] if number % 7 else 0


def write_regions(folder: Path, count: int = 300, keep: Callable[[int], bool] = lambda _: True) -> Path:
    """Digits with .json metadata, {"region": its name}, and .npy metadata [.., region number]."""
    pictures, labels = digits()
    samples = [
        encoded(pictures[n], n)
        | {"cls": str(labels[n]).encode(), "npy": npy_bytes(np.array([7, region(n)]))}
        | {"json": json.dumps({"region": REGIONS[region(n)]}).encode()}
        for n in range(count)
        if keep(n)
    ]
    return write_set(folder, samples, classnames=DIGITS)


def write_winogavil(folder: Path, count: int = 20) -> Path:
    """Which of 5, 6, 10 or 12 handwritten digits go with a number's name? Pictures stand in several samples."""
    pictures, labels = digits()
    (folder / "winogavil_images").mkdir(parents=True)
    for n in range(60):
        (folder / "winogavil_images" / f"digit{n}.jpg").write_bytes(encoded(pictures[n], 1)["jpg"])
    generator = np.random.default_rng(0)
    with (folder / "winogavil_dataset.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["ID", "cue", "candidates", "associations"])
        table.writeheader()
        for number in range(count):
            shown = generator.choice(60, (5, 6, 10, 12)[number % 4], replace=False).tolist()
            cue = labels[shown[0]]
            fitting = [n for n in shown if labels[n] == cue]
            texts = {key: json.dumps([f"digit{n}" for n in some]) for key, some in (("c", shown), ("a", fitting))}
            row = {"ID": number, "cue": DIGITS[cue].title(), "candidates": texts["c"], "associations": texts["a"]}
            table.writerow(row)
    return folder


def open_task(folder: Path, kind: str | None = None, **values: Any) -> Task[Any]:
    """The task of a kind (the set's own where None) on a set."""
    kind = kind or TarEvalSet.open(folder).type
    return kinds()[kind].open(kinds()[kind].config(name="test", kind=kind, **values), folder)
