"""Forward and backward of our models beside open_clip's classes, and beside MaMMUT written straightforwardly."""

import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.model_step import Job, Side
from benchmarks.processes import run_child
from benchmarks.result import Measurement, Row, Settings

QUESTION = (
    "How fast is a forward and backward pass, and in how much memory, beside open_clip's classes and whole logits?"
)
_NAMES: dict[Side, str] = {
    "open_clip": "open_clip's class, dense losses",
    "plain": "plain MaMMUT, whole logits",
    "released": "plain MaMMUT with the released code's discarded product",
}


@dataclass(frozen=True)
class Case:
    """One model and batch that both sides run."""

    model: str
    batch: int
    text: str
    peer: Side
    recompute: str = "none"
    compile: bool = False

    def __str__(self) -> str:
        texts = "captions of 15 to 25 tokens" if self.text == "captions" else "texts that fill the context"
        recompute = "" if self.recompute == "none" else f", recompute {self.recompute} (ours)"
        compiled = ", blocks compiled (ours)" if self.compile else ""
        return f"{self.model}, batch {self.batch}, {texts}{recompute}{compiled}"


def cases(device: str) -> list[Case]:
    """Small batches on a CPU, whole ones in bf16 on a GPU; compiled as well there."""
    small, large = (32, 16) if device == "cpu" else (1024, 512)
    found = [
        Case("ViT-S-32", small, "captions", "open_clip"),
        Case("ViT-S-32", small, "full", "open_clip"),
        Case("ViT-B-32", large, "captions", "open_clip"),
        Case("mammut_ViT-S-32", small, "captions", "plain"),
        Case("mammut_ViT-S-32", small, "captions", "plain", recompute="full"),
        Case("mammut_ViT-S-32", small, "captions", "released"),
        Case("mammut_ViT-S-32", small, "full", "plain"),
        Case("mammut_ViT-B-32", large, "captions", "plain"),
        Case("mammut_ViT-B-32", large, "captions", "plain", recompute="full"),
        Case("coca_ViT-S-32", small, "captions", "open_clip"),
    ]
    if device == "cuda":
        found += [replace(case, compile=True) for case in found]
    return found


def measure(settings: Settings) -> Measurement:
    """Rows of samples per second and peak memory. Raises where a side fails."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases(settings.device):
            pairs = [_pair(case, settings.device, Path(scratch)) for _ in range(settings.repeats)]
            ours, theirs = zip(*pairs, strict=True)
            rows += [
                _row(case, "samples/s", [[case.batch / median(r["seconds"]) for r in s] for s in (ours, theirs)]),
                _row(case, "peak memory, MB", [[r["peak_mb"] for r in s] for s in (ours, theirs)]),
            ]
    notes = [
        "Random weights and inputs, no optimiser; fp32 on a CPU, bf16 autocast on a GPU. Each measurement is a process "
        "of its own: one step to warm up, then the median of the timed ones.",
        "Peak memory: above what the imports took, weights and gradients among it; resident set on a CPU, allocated "
        "tensors on a GPU.",
        "Ours leaves out what padding costs without changing any number: CLIP's text columns behind the longest "
        "caption, the captioning pass behind it, vocabulary products without a label.",
    ]
    return Measurement(rows, notes)


def _pair(case: Case, device: str, folder: Path) -> list[dict]:
    """Ours, then the peer's."""
    return [_run(case, "ours", device, folder), _run(case, case.peer, device, folder)]


def _run(case: Case, side: Side, device: str, folder: Path) -> dict:
    ours = {"recompute": case.recompute, "compile": case.compile} if side == "ours" else {}
    job = Job(side, case.model, case.batch, case.text, device, 3, **ours)  # type: ignore[arg-type]
    log = folder / "log"
    run_child([sys.executable, "-m", "benchmarks.model_step", json.dumps(asdict(job))], log)
    return json.loads(log.read_text().splitlines()[-1])


def _row(case: Case, unit: str, values: list[list[float]]) -> Row:
    better = "higher" if unit == "samples/s" else "lower"
    return Row(str(case), unit, better, values[0], _NAMES[case.peer], values[1])
