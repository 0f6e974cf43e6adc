"""What rank 0 knows of all ranks, and what it makes of that. Neither sockets nor clocks: the time is handed in."""

from dataclasses import dataclass, field

from mammut_clip.runs.failures import ErrorKind
from mammut_clip.train.watch.clock import Limits
from mammut_clip.train.watch.report import Order, Report, describe_ended, describe_hang, name_ranks


@dataclass
class Judge:
    """Hears what the ranks report, notices those that are lost or silent, and finds out what came first.

    The first trouble heard of need not be the cause: where a process is killed, the others' collectives fail, and their
    error may travel faster than the news of the death. So everybody is asked to answer and the verdict waits a moment.
    A death beats the errors of others; then the first error reported counts.
    """

    world_size: int
    hang_after: float
    limits: Limits
    verdict: str | None = None
    kind: ErrorKind = "crash"
    """Of the verdict."""

    _reports: dict[int, Report] = field(default_factory=dict)
    _heard: dict[int, float] = field(init=False)
    """When, of those that should be there. (Turns are many and so may ranks be: nothing here looks at all reports.)"""
    _hung: set[int] = field(default_factory=set)
    _lost: dict[int, str] = field(default_factory=dict)  # how, in the order of time
    _failure: str | None = None
    _failure_kind: ErrorKind | None = None
    _trouble_since: float | None = None

    def __post_init__(self) -> None:
        self._heard = dict.fromkeys(range(self.world_size), 0.0)

    def hear(self, report: Report, now: float) -> None:
        """A rank reports."""
        self._reports[report.rank] = report
        self._heard[report.rank] = now
        self._hung.discard(report.rank)
        if report.leaving:
            del self._heard[report.rank]
        elif report.hung:
            self._hung.add(report.rank)
        if self._failure is None:
            self._failure, self._failure_kind = report.failure, report.failure_kind

    def lose(self, rank: int, how: str) -> None:
        """A rank's connection is gone; `how` completes the sentence `rank 3 ...`."""
        self._heard.pop(rank, None)
        self._hung.discard(rank)
        last = self._reports.get(rank)
        if last is None or not (last.leaving or last.informed or last.failure):
            self._lost[rank] = how

    def decide(self, now: float) -> Order | None:
        """What to tell all ranks now, if anything. To be called every turn, after everything that came was heard."""
        if self.verdict is not None or not self._trouble(now):
            self._trouble_since = None
            return None
        if self._trouble_since is None:
            self._trouble_since = now
            return Order(answer=True, stacks=bool(self._hung))
        if now - self._trouble_since < (self.limits.collect if self._hung else self.limits.settle):
            return None
        return self._conclude(now)

    def decide_at_once(self) -> Order | None:
        """The verdict where rank 0 leaves before trouble has settled."""
        if self.verdict is not None or self._trouble_since is None:
            return None
        return self._conclude(self._trouble_since)

    def _conclude(self, now: float) -> Order:
        self.verdict = self._verdict(now)
        if not self._lost:
            self.kind = self._failure_kind or ("hung" if self._hung else "crash")
        return Order(verdict=self.verdict, kind=self.kind)

    @property
    def everyone_knows(self) -> bool:
        """Whether each rank has left, is lost, or knows the verdict."""
        return all(rank in self._reports and self._reports[rank].informed for rank in self._heard)

    def _trouble(self, now: float) -> bool:
        return bool(self._failure or self._lost or self._hung or self._silent(now))

    def _verdict(self, now: float) -> str:
        if self._lost:
            how = next(iter(self._lost.values()))
            return describe_ended([rank for rank in self._lost if self._lost[rank] == how], how, self._reports)
        silent = self._silent(now)
        parts = [] if self._failure is None else [self._failure]
        if self._hung:
            present = {rank: self._reports[rank] for rank in self._heard if rank in self._reports}
            parts.append(describe_hang(self.hang_after, present))
        elif silent and not parts:
            seconds = min(now - self._heard[rank] for rank in silent)
            return describe_ended(silent, f"gave no sign of life for {seconds:.0f} s", self._reports)
        mute = [rank for rank, heard in self._heard.items() if heard < (self._trouble_since or 0.0)]
        if mute:
            parts.append(f"no answer from {name_ranks(mute, self._reports)}")
        return "; ".join(parts)

    def _silent(self, now: float) -> list[int]:
        candidates = [rank for rank, heard in self._heard.items() if now - heard > self.limits.silence]
        return [rank for rank in candidates if now - self._heard[rank] > self._patience(rank)]

    def _patience(self, rank: int) -> float:
        """Loading a library from a busy file system holds up all threads; it happens where a rank is paused."""
        paused = rank in self._reports and self._reports[rank].paused
        return max(self.limits.silence, self.hang_after) if paused else self.limits.silence
