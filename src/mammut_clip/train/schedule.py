"""The learning rate as a pure function of samples seen."""

import math

from mammut_clip.config.run import ScheduleConfig


def learning_rate(samples_seen: int, total_samples: int, peak: float, schedule: ScheduleConfig) -> float:
    """The learning rate for the batch that starts at `samples_seen`.

    Linear warm-up from 0 to `peak`; then half a cosine to 0 (Loshchilov and Hutter 2017), or constant, or constant
    with a linear cooldown to 0 over the last `schedule.cooldown` samples.
    """
    if samples_seen < schedule.warmup:
        return peak * samples_seen / schedule.warmup
    if schedule.kind == "cosine":
        progress = (samples_seen - schedule.warmup) / max(1, total_samples - schedule.warmup)
        return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    if schedule.kind == "const_cooldown" and samples_seen > total_samples - schedule.cooldown:
        return peak * max(0, total_samples - samples_seen) / schedule.cooldown
    return peak
