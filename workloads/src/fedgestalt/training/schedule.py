"""The learning rate's multiplier over the whole run; never above 1, which the update bound relies on."""

import math

from .config import Schedule, ScheduleType


def multiplier(schedule: Schedule, epoch: float, epochs: int) -> float:
    """Factor in (0, 1] of the learning rate at the fractional `epoch` (0 .. `epochs`) of the whole run.

    Linear warm-up, then constant, half a cosine (SGDR without restarts, arXiv 1608.03983, equation 5), or constant with a
    linear decay at the end (the trapezoid of arXiv 2405.18392, section 3).
    """
    warmup = schedule.warmup_epochs
    if epoch < warmup:
        return max(epoch / warmup, 1e-3)
    if schedule.type is ScheduleType.CONSTANT or epochs <= warmup:
        return 1.0
    if schedule.type is ScheduleType.TRAPEZOID:
        wished = epochs / 5 if schedule.decay_epochs is None else schedule.decay_epochs
        decay = min(wished, epochs - warmup)
        return max(min(1.0, (epochs - epoch) / decay), 1e-3)
    return max(0.5 * (1.0 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))), 1e-3)
