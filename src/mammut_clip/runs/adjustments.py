"""adjustments.json of a run: what a start may do otherwise than its config says, because it could not do it so.

Only what does not change the result of a step but for rounding: how many pairs a process takes at a time.
"""

import time
from typing import Self

from pydantic import ConfigDict, Field

from mammut_clip.config.errors import InputError
from mammut_clip.config.run import RunConfig
from mammut_clip.runs.ends import End
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.records import Record

KEY = "parallel.micro_batch_size"


class Adjustments(Record):
    """What is adjusted, and why. Removing the file undoes it."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    micro_batch_size: int = Field(ge=1, alias=KEY)
    """Pairs that a process takes at a time, at most."""
    why: str
    """What made it necessary."""
    since: float
    """Unix time, seconds: what happened before has been answered by it."""

    @classmethod
    def of(cls, run: RunDir) -> Self | None:
        """Those of a run, if there are any."""
        return cls.read(run.adjustments_file)


def adjusted(config: RunConfig, adjustments: Adjustments | None, world_size: int) -> RunConfig:
    """The config to train by. Adjustments only ever make the micro-batch smaller; otherwise it is the same object."""
    if adjustments is None or adjustments.micro_batch_size >= micro_batch_of(config, world_size):
        return config
    parallel = config.parallel.model_copy(update={"micro_batch_size": adjustments.micro_batch_size})
    return config.model_copy(update={"parallel": parallel})


def micro_batch_of(config: RunConfig, world_size: int) -> int:
    """Pairs that each of so many processes takes at a time."""
    share = config.global_batch_size // world_size
    return min(config.parallel.micro_batch_size or share, share)


def with_micro_batch(end: End, run: RunDir, world_size: int) -> End:
    """The end of an attempt at a run; where its training was out of memory, with the micro-batch that it had then."""
    if end.kind != "out_of_memory" or end.work != "train":
        return end
    try:
        size = micro_batch_of(adjusted(run.config, Adjustments.of(run), world_size), world_size)
    except InputError:  # the config cannot be read: the trainer will say so
        return end
    return end.model_copy(update={"micro_batch": size})


def make_micro_batch_smaller(run: RunDir, world_size: int, why: str, happened: float) -> int | None:
    """Let the next start take half as many pairs at a time as the one that was out of memory at unix time `happened`.

    Returns their number, or None where it was 1 already. Asked twice for one event, it halves once. Raises
    DiskFullError or InputError where the file cannot be written.
    """
    before = Adjustments.of(run)
    size = micro_batch_of(adjusted(run.config, before, world_size), world_size)
    if before is not None and before.since >= happened:
        return size
    if size == 1:
        return None
    made = Adjustments(micro_batch_size=size // 2, why=why, since=max(happened, time.time()))
    made.write(run.adjustments_file)
    return made.micro_batch_size
