"""Wall time of the commands that have to answer at once on a login node: planning and the law fits' import."""

import sys
import tempfile
from pathlib import Path

from benchmarks.processes import run_child
from benchmarks.result import Measurement, Row, Settings

QUESTION = "How long do planning a sweep and importing the law fits take from a cold process?"
CEILING = 1.0
_COMMANDS = {
    "mammut-clip sweep plan quickstart --json": ["-m", "mammut_clip.cli", "sweep", "plan", "quickstart", "--json"],
    'python -c "import mammut_clip.fit"': ["-c", "import mammut_clip.fit"],
}


def measure(settings: Settings) -> Measurement:
    """One row per command, in seconds; a first call that fills the file cache is not counted."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for label, arguments in _COMMANDS.items():
            costs = [
                run_child([sys.executable, *arguments], Path(scratch) / "log") for _ in range(settings.repeats + 1)
            ]
            rows.append(Row(label, "s", "lower", [cost.seconds for cost in costs[1:]], target=CEILING))
    return Measurement(rows, ["A process each time; the file cache is warm. There is no peer."])
