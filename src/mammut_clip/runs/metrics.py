"""metrics.jsonl: one JSON object per logged step, appended whole, read past a line that a crash cut off."""

import json
from pathlib import Path
from typing import Any

from mammut_clip.config.atomic import disk_errors, write_text


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one line. Raises DiskFullError where there is no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines, in order; none where the file is absent."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def rewind(path: Path, samples_seen: int) -> None:
    """Drop the lines after a point of the clock: a resumed run writes them again."""
    rows = read(path)
    kept = [row for row in rows if row.get("samples_seen", 0) <= samples_seen]
    if len(kept) != len(rows) or (path.exists() and not path.read_bytes().endswith(b"\n")):
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
