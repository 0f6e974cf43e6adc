"""When a run writes something, and how much disk its checkpoints take, from its config alone.

Points of the clock lie between two steps, or at the end of one: what is due there happens at the end of the step that
reaches or passes them.
"""

from dataclasses import dataclass
from itertools import pairwise

from mammut_clip.config.run import RunConfig

_STATE_BYTES = 12


@dataclass(frozen=True)
class Checkpoints:
    """What is written on the way, with the final one."""

    written: int
    permanent: tuple[int, ...]
    """Points that stay, in samples seen, as configured."""
    kept: int
    """How many there are at the end of the run."""
    bytes_each: int
    """Weights and both moments of AdamW in float32."""
    longest_gap: int
    """The longest way from one to the next, in samples seen."""

    @property
    def bytes_kept(self) -> int:
        """Disk that they take at the end of the run."""
        return self.kept * self.bytes_each


def steps_at_multiples(config: RunConfig, every: int | None) -> int:
    """How many steps of a run reach or pass a multiple of `every` samples; the last step counts in any case."""
    batch, steps = config.global_batch_size, config.steps
    if every is None:
        return 1
    if every <= batch:
        return steps - _first_step(config)
    return config.total_samples // every - first_samples(config) // every + (not _passes(steps, batch, every))


def first_samples(config: RunConfig) -> int:
    """Samples seen where the run begins: 0, or those of the checkpoint that it was branched off from."""
    return 0 if config.branched_from is None else config.branched_from.samples_seen


def _first_step(config: RunConfig) -> int:
    return first_samples(config) // config.global_batch_size


def _passes(step: int, batch: int, every: int | None) -> bool:
    return every is not None and step * batch // every > (step - 1) * batch // every


def checkpoints_of(config: RunConfig, count: int) -> Checkpoints:
    """The checkpoints of a run of a model with `count` parameters."""
    batch, every, start, end = config.global_batch_size, config.checkpoint.every, _first_step(config), config.steps
    points = tuple(point for point in config.permanent_points if point > start * batch)
    permanent = {-(-point // batch) for point in points} - {end}
    last = sorted({end, *permanent, *_last_at_multiples(config)})[-config.checkpoint.keep_last :]
    ends = [start, *sorted(permanent), end]
    gap = batch * max(after - before for before, after in pairwise(ends))
    return Checkpoints(
        written=steps_at_multiples(config, every) + sum(not _passes(step, batch, every) for step in permanent),
        permanent=points,
        kept=len({end, *permanent, *last}) + (start > 0),
        bytes_each=_STATE_BYTES * count,
        longest_gap=gap if every is None else min(gap, max(every, batch)),
    )


def _last_at_multiples(config: RunConfig) -> list[int]:
    """The last steps that pass a multiple of checkpoint.every, as many as stay."""
    batch, every, kept = config.global_batch_size, config.checkpoint.every, config.checkpoint.keep_last
    if every is None:
        return []
    newest = config.steps if every <= batch else config.total_samples // every
    found = (-(-number * max(every, batch) // batch) for number in range(newest, newest - kept, -1))
    return [step for step in found if step > _first_step(config)]
