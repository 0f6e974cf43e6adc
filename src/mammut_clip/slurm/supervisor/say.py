"""What the supervisor prints, in the job's log. A log that cannot be written (a full disk) must not end the job."""

import sys
import time
from contextlib import suppress


def say(text: str) -> None:
    """A line with the time."""
    with suppress(OSError, ValueError):
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)
