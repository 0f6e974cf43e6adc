"""One thing that the doctor has looked at, and what is to be thought of it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ok", "note", "warning", "problem"]
"""ok: as it should be. note: worth knowing. warning: works, but worse than it could. problem: sweeps will not work."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and what to do about it."""

    what: str
    """A word or two, such as `partition`."""
    verdict: Verdict
    found: str
    """In one line."""
    advice: str = ""
    """What to do; empty where there is nothing to be done."""

    def __str__(self) -> str:
        line = f"{self.verdict:<8} {self.what:<12} {self.found}"
        return f"{line}\n{'':<22}-> {self.advice}" if self.advice else line

    def to_json_dict(self) -> dict[str, Any]:
        return asdict(self)


def ok(what: str, found: str) -> Finding:
    return Finding(what, "ok", found)


def note(what: str, found: str, advice: str = "") -> Finding:
    return Finding(what, "note", found, advice)


def warning(what: str, found: str, advice: str) -> Finding:
    return Finding(what, "warning", found, advice)


def problem(what: str, found: str, advice: str) -> Finding:
    return Finding(what, "problem", found, advice)
