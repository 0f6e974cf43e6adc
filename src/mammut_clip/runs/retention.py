"""Which checkpoints stay for good."""

from collections.abc import Iterable

from mammut_clip.config.run import RunConfig


def kept_points(saved: Iterable[int], config: RunConfig) -> set[int]:
    """Those of the points of the clock at which a checkpoint was `saved` that stay, whatever comes later.

    For each of the config's permanent points the first at or after it, within one batch; the final one; and the one
    that a branch began with.
    """
    points = sorted(saved)
    keep = {point for point in points if point >= config.total_samples}
    if config.branched_from is not None:
        keep |= {config.branched_from.samples_seen} & set(points)
    for due in config.permanent_points:
        keep |= set([point for point in points if due <= point < due + config.global_batch_size][:1])
    return keep
