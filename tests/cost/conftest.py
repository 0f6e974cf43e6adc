"""Makes the top-level package `benchmarks` importable, however pytest was started: it counts what a step holds."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
