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

_TEXTS = {
    "captions": "captions of 15 to 25 tokens",
    "tail": "captions of 15 to 25 tokens and one that fills the context",
    "full": "texts that fill the context",
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
        texts = _TEXTS[self.text]
        recompute = "" if self.recompute == "none" else f", recompute {self.recompute} (ours)"
        compiled = ", blocks compiled (ours)" if self.compile else ""
        return f"{self.model}, batch {self.batch}, {texts}{recompute}{compiled}"


def speed_cases(device: str) -> list[Case]:
    """Small batches on a CPU, whole ones in bf16 on a GPU; compiled as well there."""
    small, large = (16, 8) if device == "cpu" else (1024, 512)
    found = [
        Case("ViT-S-32", small, "captions", "open_clip"),
        Case("ViT-S-32", small, "full", "open_clip"),
        Case("ViT-B-32", large, "captions", "open_clip"),
        Case("mammut_ViT-S-32", small, "captions", "plain"),
        Case("mammut_ViT-S-32", small, "captions", "plain", recompute="full"),
        Case("mammut_ViT-S-32", small, "captions", "released"),
        Case("mammut_ViT-S-32", small, "tail", "plain"),
        Case("mammut_ViT-B-32", large, "captions", "plain"),
        Case("mammut_ViT-B-32", large, "captions", "plain", recompute="full"),
        Case("coca_ViT-S-32", small, "captions", "open_clip"),
    ]
    if device == "cuda":
        found += [replace(case, compile=True) for case in found]
    return found


def memory_cases(device: str) -> list[Case]:
    """Batches in which activations outweigh the weights."""
    small, large = (64, 32) if device == "cpu" else (1024, 512)
    return [
        Case("ViT-B-32", large, "captions", "open_clip"),
        Case("mammut_ViT-S-32", small, "captions", "plain"),
        Case("mammut_ViT-S-32", small, "captions", "plain", recompute="selective"),
        Case("mammut_ViT-S-32", small, "captions", "plain", recompute="full"),
        Case("mammut_ViT-B-32", large, "captions", "plain"),
        Case("mammut_ViT-B-32", large, "captions", "plain", recompute="full"),
        Case("coca_ViT-S-32", small, "captions", "open_clip"),
    ]


def measure(settings: Settings) -> Measurement:
    """Rows of samples per second and peak memory. Raises where a side fails."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for case in speed_cases(settings.device):
            pairs = [_pair(case, settings.device, 2, Path(scratch)) for _ in range(settings.repeats)]
            speeds = [[case.batch / median(run["seconds"]) for run in side] for side in zip(*pairs, strict=True)]
            rows.append(Row(str(case), "samples/s", "higher", speeds[0], _NAMES[case.peer], speeds[1]))
        for case in memory_cases(settings.device):
            ours, theirs = _pair(case, settings.device, 0, Path(scratch))
            peaks = [ours["peak_mb"]], [theirs["peak_mb"]]
            rows.append(Row(str(case), "peak memory, MB", "lower", peaks[0], _NAMES[case.peer], peaks[1]))
    notes = [
        "Random weights and inputs, no optimiser; fp32 on a CPU, bf16 autocast on a GPU. Each measurement is a process "
        "of its own. Speed: one step to warm up, then the median of the timed ones.",
        "Peak memory of one step, measured once since it hardly varies: above what the imports took, weights and "
        "gradients among it; resident set on a CPU, allocated tensors on a GPU.",
        "Ours leaves out what padding costs without changing any number: CLIP's text columns behind the longest "
        "caption, the captioning pass behind it, vocabulary products without a label. In a batch of hundreds of web "
        "captions one often fills the context; then only the vocabulary products are left out.",
    ]
    return Measurement(rows, notes)


def _pair(case: Case, device: str, steps: int, folder: Path) -> list[dict]:
    """Ours, then the peer's."""
    ours = {"recompute": case.recompute, "compile": case.compile}
    shared = (case.model, case.batch, case.text, device, steps)
    jobs = [Job("ours", *shared, **ours), Job(case.peer, *shared)]  # type: ignore[arg-type]
    return [_run(job, folder / "log") for job in jobs]


def _run(job: Job, log: Path) -> dict:
    run_child([sys.executable, "-m", "benchmarks.model_step", json.dumps(asdict(job))], log)
    return json.loads(log.read_text().splitlines()[-1])
