"""The signs of life of a training: the renewals of its run's lease, which its rank 0 writes every few seconds."""

import time
from pathlib import Path

from mammut_clip.runs.lease_files import newest


class Heartbeat:
    """Judged by this process's clock alone: what counts is that the lease's record changes."""

    def __init__(self, lock_file: Path, longest_silence: float) -> None:
        """`longest_silence` in seconds, also before the first sign of life."""
        self._path, self._longest = lock_file, longest_silence
        self._seen: tuple[int, bytes] | None = None
        self._changed = time.monotonic()
        self._looked = self._changed
        self._every = min(15.0, longest_silence / 4)

    def is_silent(self) -> bool:
        """Whether it has been silent for too long. Looks at the file every few seconds at most."""
        now = time.monotonic()
        if now - self._looked < self._every:
            return False
        self._looked = now
        try:
            found = newest(self._path)
        except OSError:  # of the file system: then its writer hangs too, or will be heard of later
            return now - self._changed > self._longest
        seen = None if found is None else (found.number, found.data)
        if seen != self._seen:
            self._seen, self._changed = seen, now
        return now - self._changed > self._longest
