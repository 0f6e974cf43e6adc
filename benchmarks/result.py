"""What a benchmark found, and where: the records in benchmarks/results/*.json.

A row holds every repetition of both sides, never a summary alone; ratios are taken between repetitions that ran
next to each other, so that a machine which slows down meanwhile slows both.
"""

from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import ConfigDict, TypeAdapter


@dataclass(frozen=True)
class Settings:
    """What the command line asks of a benchmark."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where the training benchmark trains; the others use the CPU alone."""
    repeats: int = 3
    """Repetitions of each measurement."""
    peers_python: Path | None = None
    """Interpreter that has the peers; None makes and uses .venv-peers."""
    results: Path = Path(__file__).parent / "results"
    """Where figures go, beside the JSON files."""


@dataclass(frozen=True)
class Row:
    """One quantity under one setting."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    setting: str
    unit: str
    better: Literal["higher", "lower", "equal"]
    """Which way is good; `equal` marks a check that both sides did the same work."""
    ours: list[float]
    """One value per repetition."""
    peer: str | None = None
    """The peer's name."""
    theirs: list[float] = field(default_factory=list)
    """One value per repetition, taken in turn with ours."""
    target: float | None = None
    """Our own bound, of the ratio where there is a peer: a floor where higher is better, a ceiling where lower is."""

    @property
    def ratios(self) -> list[float]:
        """Ours / theirs, per repetition; empty without a peer."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)] if self.theirs else []

    @property
    def ratio(self) -> float | None:
        """Median over repetitions of ours / theirs; None without a peer."""
        return median(self.ratios) if self.theirs else None


@dataclass(frozen=True)
class Measurement:
    """What a benchmark's `measure` returns."""

    rows: list[Row]
    notes: list[str]
    """What a reader must know to judge the rows."""


@dataclass(frozen=True)
class Facts:
    """Under which conditions a result was measured."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    date: str
    """Start, UTC, ISO 8601."""
    seconds: float
    """Duration of the whole benchmark."""
    command: str
    git_commit: str | None
    """None where there is no git repository."""
    uncommitted_changes: bool
    """Whether tracked files differed from the commit."""
    cpu: str
    cores: int
    """Cores this process may use."""
    memory_gb: float
    device: str
    """cpu, or the GPU's name."""
    versions: dict[str, str]
    """Of python and the packages on our side."""
    peer_versions: dict[str, str]
    """Of the same on the peer's side; empty where no peer has an environment of its own."""
    load_before: tuple[float, float, float]
    """Load average over 1, 5 and 15 minutes: above 0.5 at the start, other work was disturbing the timings."""
    load_after: tuple[float, float, float]


@dataclass(frozen=True)
class Result:
    """One benchmark's file in benchmarks/results."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    question: str
    rows: list[Row]
    notes: list[str]
    facts: Facts


_SCHEMA = TypeAdapter(Result)


def write_result(result: Result, folder: Path) -> Path:
    """Write <folder>/<name>.json."""
    path = folder / f"{result.name}.json"
    path.write_bytes(_SCHEMA.dump_json(result, indent=2) + b"\n")
    return path


def read_results(folder: Path) -> list[Result]:
    """All results of a folder by name. Raises pydantic's ValidationError for a file that is none."""
    return [_SCHEMA.validate_json(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
