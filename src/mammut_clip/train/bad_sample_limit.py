"""The end of a run whose data is damaged beyond `data.bad_samples.max_rate`: a figure, the places, and what to do.

Counted are positions whose own sample is damaged. What was drawn in its place and was damaged too does not count: it
comes from the same stretch of a shard, so that one bad shard would weigh three times.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Protocol, TypeVar

from mammut_clip.config.errors import InputError
from mammut_clip.data.bad_samples import Bad
from mammut_clip.runs import quarantine
from mammut_clip.runs.layout import RunDir

_ENOUGH = 50
"""Damaged samples before a share is taken seriously."""


class TooManyBadSamplesError(InputError):
    """More of the data is damaged than the run's config allows. All ranks raise it at the same step."""


class _Bad(Protocol):
    """A BadSample, or its line in a quarantine file."""

    @property
    def position(self) -> int: ...

    @property
    def kind(self) -> str: ...


B = TypeVar("B", bound=_Bad)


def damaged(bad: Iterable[B]) -> Iterator[B]:
    """The damaged samples among those replaced, without what was tried in their place; `bad` stands as it came."""
    for _, tried in groupby(bad, key=lambda one: one.position):
        own = next(tried)
        if not Bad(own.kind).is_filtered:
            yield own


def check_damage(run: RunDir, kinds: Counter[Bad], start: int, samples_seen: int, *, name_shards: bool) -> None:
    """Raise TooManyBadSamplesError where too much was damaged, counted over all ranks, from `start` to `samples_seen`.

    `name_shards`: find the worst shards in the quarantine files, which takes a while where they are long.
    """
    count, samples = kinds.total(), samples_seen - start
    limit = run.config.data.bad_samples.max_rate
    if count <= limit * samples or (count < _ENOUGH and limit > 0):
        return
    worst = _worst_shards(run, start) if name_shards else ""
    listed = ", ".join(f"{many:,} {kind}" for kind, many in kinds.most_common())
    raise TooManyBadSamplesError(
        f"{count:,} of {samples:,} samples were damaged ({count / samples:.2%}; data.bad_samples.max_rate is {limit:g}"
        f"): {listed}. Each is listed in {run.quarantine_folder}.{worst}\n"
        "Mend the shards, with as many samples in each as now, and run the same command again; or leave them out, or "
        "allow more, in a run of another name."
    )


def _worst_shards(run: RunDir, start: int) -> str:
    """The three shards with most of the damage since `start`, a line each."""
    since = (one for one in quarantine.walk(run.quarantine_folder) if one.position >= start)
    shards = Counter(one.shard for one in damaged(since))
    return " Most are in:" + "".join(f"\n  {count:,} in {shard}" for shard, count in shards.most_common(3))
