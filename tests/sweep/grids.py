"""Small sweeps, written out, for the tests of the grid."""

from typing import Any

from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig

BASE: dict[str, Any] = {
    "model": "toy-S",
    "samples_seen": "12.8K",
    "global_batch_size": 128,
    "data": {"train": "data/toy"},
    "optimizer": {"lr": 1e-3},
}
MODELS = ["toy-XS", "toy-S", "toy-M", "mammut_toy-XS", "mammut_toy-S"]


def sweep(**values: Any) -> SweepConfig:
    """A sweep of toy runs; by default a single one."""
    return validate(SweepConfig, {"name": "s", "base": BASE, **values}, "sweeps/s.yaml")
