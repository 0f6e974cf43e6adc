"""A run's clock: samples seen, and what is due at a step."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class Clock:
    """Where a run stands. Points between two steps are due at the end of the step that passes them."""

    samples_seen: int
    total: int
    """Samples seen at the end of the run."""
    batch: int
    """Samples of one step."""

    def advance(self) -> None:
        """One step is done."""
        self.samples_seen += self.batch

    @property
    def step(self) -> int:
        """Steps done since the first weights."""
        return self.samples_seen // self.batch

    @property
    def ended(self) -> bool:
        """Whether the budget is reached."""
        return self.samples_seen >= self.total

    def passes_multiple(self, every: int | None) -> bool:
        """Whether a multiple of `every` was reached by the last step; never for None."""
        return every is not None and self.samples_seen // every > (self.samples_seen - self.batch) // every

    def passes_any(self, points: Iterable[int]) -> bool:
        """Whether one of the points was reached by the last step."""
        return any(self.samples_seen - self.batch < point <= self.samples_seen for point in points)
