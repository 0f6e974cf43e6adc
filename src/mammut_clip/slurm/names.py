"""Names of jobs in the queue, by which a launcher finds what it has submitted even where it never learned the id.

<sweep>.<tag of the folder>.<number of the submission>
"""

import hashlib
import re
from pathlib import Path


def sweep_prefix(sweep_dir: Path) -> str:
    """What the names of all jobs of one sweep's folder begin with. Two checkouts may hold sweeps of one name."""
    tag = hashlib.sha256(str(sweep_dir.resolve()).encode()).hexdigest()[:8]
    return f"{sweep_dir.resolve().name}.{tag}."


def job_name(sweep_dir: Path, number: int) -> str:
    """The name of the sweep's submission of this number."""
    return f"{sweep_prefix(sweep_dir)}{number}"


def submission_number(sweep_dir: Path, name: str) -> int | None:
    """The number in a job's name; None for a job that is not of this sweep's folder."""
    found = re.fullmatch(re.escape(sweep_prefix(sweep_dir)) + r"(\d+)", name)
    return None if found is None else int(found[1])
