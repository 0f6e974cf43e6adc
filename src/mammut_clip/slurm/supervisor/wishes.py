"""launch/control.json as a job sees it: what the user wants of jobs that run."""

from pathlib import Path

from pydantic import Field

from mammut_clip.runs.records import Record


class Wishes(Record):
    """The launcher writes it (sweep.stored.Control)."""

    paused: bool = False
    """Jobs end in good order instead of going on."""
    cancelled: list[str] = Field(default_factory=list)
    """Names of runs that end in good order and are not started again."""

    @classmethod
    def at(cls, path: Path) -> "Wishes":
        """What holds now; nothing where the file cannot be read."""
        try:
            return cls.read(path) or cls()
        except OSError:
            return cls()
