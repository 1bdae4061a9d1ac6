"""Random numbers that depend on their purpose, not on earlier numbers.

Threads, restarts and the number of devices then change nothing. Philox computes its numbers from a
key and a counter of four words; seed and purpose are the key, epoch and image words of the
counter, and the lowest word counts what is drawn.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What the numbers are for."""

    ORDER = 1  # of the images in an epoch
    IMAGE = 2  # augmentation of one image
    MIXUP = 3  # of one step
    LAYERS = 4  # dropout and drop path of one step


def generator(seed: int, purpose: Purpose, epoch: int, index: int = 0) -> np.random.Generator:
    """Make the generator of one purpose.

    Args:
        seed: Of the run.
        purpose: What for.
        epoch: Epoch, or step over all epochs.
        index: Of the image, or of the process.
    """
    key = np.array([seed, purpose], np.uint64)
    counter = np.array([0, 0, index, epoch], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
