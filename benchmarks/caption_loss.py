"""The captioning loss with its gradients, beside cross-entropy over whole logits, each step in a fresh process.

The vocabulary and positions of CLIP's tokenizer at batch 256: captions that fill 20 of 76 positions, as on the web,
and captions that fill all, where nothing can be left out.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Literal

from benchmarks.processes import run_child
from benchmarks.result import Measurement, Row, Settings

QUESTION = "In how much memory and time is a captioning loss computed, beside cross-entropy over whole logits?"
PEER = "whole logits"
_FILLED = (20, 76)
_UNITS: dict[str, tuple[str, Literal["lower", "equal"]]] = {
    "peak_mb": ("peak memory beyond the inputs, MB", "lower"),
    "seconds": ("s", "lower"),
    "cpu_seconds": ("CPU s", "lower"),
    "loss": ("loss per token", "equal"),
}


def measure(settings: Settings) -> Measurement:
    """Rows of peak memory, time and value for both fillings."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for filled in _FILLED:
            ours, theirs = [], []
            for _ in range(settings.repeats):
                ours.append(_step("chunked", filled, Path(scratch)))
                theirs.append(_step("whole", filled, Path(scratch)))
            setting = f"256 x 76 x 49,408, width 512, {filled} of 76 filled, fp32"
            for key, (unit, better) in _UNITS.items():
                rows.append(Row(setting, unit, better, [s[key] for s in ours], PEER, [s[key] for s in theirs]))
    notes = [
        "Forward and backward from hidden states to their gradients and that of the head. Peak memory: what the "
        "process grows by, gradients included.",
        "Whole logits: torch's cross_entropy over all positions with padding ignored, from the same hidden states.",
    ]
    return Measurement(rows, notes)


def _step(form: str, filled: int, scratch: Path) -> dict[str, float]:
    script, log = Path(__file__).with_name("caption_loss_step.py"), scratch / "log"
    run_child([sys.executable, script, form, str(filled)], log)
    found: dict[str, float] = json.loads(log.read_text().splitlines()[-1])
    return found
