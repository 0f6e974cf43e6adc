"""What ranks and rank 0 say to each other in the watch, and what they say to the reader."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mammut_clip.runs.failures import ErrorKind

_LISTED = 8
"""So many numbers (or ranges) of ranks, hosts or groups stand in a sentence; the rest is counted."""


@dataclass(frozen=True)
class Report:
    """What one rank says of itself. Seconds are by its own clock: clocks of hosts are never compared."""

    rank: int
    host: str
    pid: int
    samples_seen: int
    what: str
    """What the main thread does, such as `computing`."""
    paused: bool = False
    """Whether that may take as long as it likes."""
    hung: bool = False
    """Whether nothing has moved for longer than a step may take."""
    failure: str | None = None
    """What went wrong on this rank, which it noticed itself."""
    failure_kind: ErrorKind | None = None
    """Of which kind that is."""
    informed: bool = False
    """Whether it knows the verdict."""
    leaving: bool = False
    """Goodbye: it leaves in good order."""

    @property
    def place(self) -> str:
        return f"{self.what} at {self.samples_seen:,} samples"


@dataclass(frozen=True)
class Order:
    """What rank 0 says to a rank; an empty one is a sign of life."""

    answer: bool = False
    """Report at once."""
    stacks: bool = False
    """Write down where all threads are."""
    verdict: str | None = None
    """Why the job ends."""
    kind: ErrorKind = "crash"
    """Of which kind that is."""
    leaving: bool = False
    """Goodbye: rank 0 leaves in good order, and the watch over other ranks with it."""


Reports = Mapping[int, Report]
"""By rank; one that has never reported is missing."""


def name_ranks(ranks: Sequence[int], reports: Reports) -> str:
    """`rank 3 on host n2 (pid 123)`, `ranks 4 to 7 and 9 on hosts n2 and n3`."""
    known = [reports[rank] for rank in ranks if rank in reports]
    if not known:
        where = ""
    elif len(ranks) == 1:
        where = f" on host {known[0].host} (pid {known[0].pid})"
    else:
        hosts = sorted({report.host for report in known})
        where = f" on {'host' if len(hosts) == 1 else 'hosts'} {_listed(hosts)}"
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {_listed(_ranges(ranks))}{where}"


def describe_ended(ranks: Sequence[int], how: str, reports: Reports) -> str:
    """`rank 3 on host n2 (pid 123) gave no sign of life for 30 s; it last reported computing at 12,800 samples`."""
    sentence = f"{name_ranks(ranks, reports)} {how}"
    last = next((reports[rank] for rank in ranks if rank in reports), None)
    if last is None:
        return sentence
    who = "it" if len(ranks) == 1 else f"rank {last.rank}"
    return f"{sentence}; {who} last reported {last.place}"


def describe_hang(seconds: float, reports: Reports) -> str:
    """Which ranks hold up the others: those with the least samples seen, or that do something else than most.

    `nothing has moved for 600 s: rank 5 on host n3 (pid 77) is still waiting for data at 12,736 samples; all others are
    computing at 12,800 samples`.
    """
    places: dict[tuple[int, str], list[int]] = defaultdict(list)
    for rank, report in sorted(reports.items()):
        places[report.samples_seen, report.place].append(rank)
    start = f"nothing has moved for {seconds:.0f} s: "
    if len(places) == 1:
        (((_, place), ranks),) = places.items()
        who = f"all {len(ranks)} ranks are" if len(ranks) > 1 else f"{name_ranks(ranks, reports)} is"
        return f"{start}{who} {place}"
    behind, others = _behind(places)
    parts = [_standing(places[place], f"still {place[1]}", reports) for place in behind[:_LISTED]]
    if len(others) == 1:
        ranks = places[others[0]]
        parts.append(f"{'all others are' if len(ranks) > 1 else 'the other is'} {others[0][1]}")
    else:
        parts += [_standing(places[place], place[1], reports) for place in others[:_LISTED]]
    hidden = len(behind[_LISTED:]) + len(others[_LISTED:])
    return start + "; ".join(parts) + (f"; and {hidden} other places" if hidden else "")


def _behind(places: Mapping[tuple[int, str], list[int]]) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """The places of those who are behind, and the places of the rest, each the farthest behind first."""
    ordered = sorted(places)
    least, most = ordered[0][0], ordered[-1][0]
    if least < most:
        behind = [place for place in ordered if place[0] == least]
    else:  # all have seen the same samples: the largest group is where one should be, if there is a largest
        largest = max(len(ranks) for ranks in places.values())
        behind = [place for place in ordered if len(places[place]) < largest] or ordered
    return behind, [place for place in ordered if place not in behind]


def _standing(ranks: Sequence[int], place: str, reports: Reports) -> str:
    return f"{name_ranks(ranks, reports)} {'is' if len(ranks) == 1 else 'are'} {place}"


def _ranges(ranks: Sequence[int]) -> list[str]:
    """Runs of three or more as `4 to 7`."""
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    return [text for run in runs for text in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run))]


def _listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    shown = list(parts)
    if len(parts) > _LISTED:
        shown = [*parts[: _LISTED - 1], f"{len(parts) - _LISTED + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
