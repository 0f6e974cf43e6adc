"""Writes the table of docs/reliability.md from what the fault tests found:

.venv/bin/python -m pytest tests/slurm/test_sweep_faults.py
.venv/bin/python tests/slurm/fault_table.py
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOUND = ROOT / "build" / "faults"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: made by tests/slurm/fault_table.py -->", "<!-- faults: end -->"


@dataclass(frozen=True)
class Found:
    """What one fault did."""

    number: int
    """Its place in the table."""
    fault: str
    happened: str
    """In words."""
    ends: list[str]
    """How the attempts of the run that was hit ended."""
    standstill: float
    """Seconds: the longest time after the fault in which the run was no further than before."""
    repeated: int
    """Samples that it was trained on again, as they were behind its newest checkpoint."""
    seconds: float
    """From the launch to the last law."""

    def save(self) -> None:
        FOUND.mkdir(parents=True, exist_ok=True)
        (FOUND / f"{self.number:02}.json").write_text(json.dumps(asdict(self), indent=2) + "\n")


def table(found: list[Found]) -> str:
    """Markdown."""
    head = ["Fault", "What happened", "Ends of the run", "Stood still, s", "Samples again", "Sweep, s"]
    rows = [
        [
            one.fault,
            one.happened,
            ", ".join(one.ends),
            f"{one.standstill:.0f}",
            f"{one.repeated:,}",
            f"{one.seconds:.0f}",
        ]
        for one in sorted(found, key=lambda one: one.number)
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * 3 + ["---:"] * 3, *rows])


def main() -> None:
    found = [Found(**json.loads(file.read_text())) for file in FOUND.glob("*.json")]
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}")


if __name__ == "__main__":
    main()
