"""The learning rate of every step: up linearly, then down as a cosine."""

import math

from ._settings import Settings


def learning_rate(step: int, settings: Settings, steps_per_epoch: int) -> float:
    """Compute the learning rate of one step.

    A function of the step's number alone, so that a resumed run needs no history. The last step of
    the warm-up is the first with the highest rate, the last step of all has the lowest.

    Args:
        step: From 0, over all epochs.
        settings: Has the rates and lengths.
        steps_per_epoch: Steps of one epoch.
    """
    last = settings.epochs * steps_per_epoch - 1
    rising = min(round(settings.warmup * steps_per_epoch), last + 1)
    if step < rising:
        return settings.lr * (step + 1) / rising
    done = (step - rising + 1) / (last - rising + 1)  # over 0, at most 1
    half = (settings.lr - settings.lowest_lr) / 2
    return settings.lowest_lr + half * (1 + math.cos(math.pi * done))
