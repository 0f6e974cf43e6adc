"""A note of how far a sink got, beside what it writes; it outlives attempts."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from mammut_clip.config.atomic import write_text
from mammut_clip.runs import metrics

_EVER = 2**63
"""Later than any clock."""


class HandedOver:
    """The rows of metrics.jsonl that a sink has got, in all attempts together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        metrics.rewind(path, _EVER)  # a line that a crash cut off
        before = metrics.read(path)
        self.id: str = before[0]["id"] if before else uuid4().hex[:12]
        """Of the sink, the same in all attempts."""
        self.last: int = before[-1]["samples_seen"] if before else 0
        """Samples seen at the last of them."""
        if not before:
            write_text(path, f'{{"id": "{self.id}", "samples_seen": 0}}\n')

    def note(self, samples_seen: int) -> None:
        """The sink has every row until this one, and none after it."""
        if samples_seen != self.last:
            self.last = samples_seen
            metrics.append(self._path, {"samples_seen": samples_seen})

    def missing(self, metrics_file: Path) -> list[dict[str, Any]]:
        """The rows that the sink did not get."""
        return [row for row in metrics.read(metrics_file) if row["samples_seen"] > self.last]
