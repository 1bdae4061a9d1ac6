"""Training batches: in random order, augmented, with soft targets; prepared ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError, listing
from ._random import Purpose, generator
from ._readable import reasons

if TYPE_CHECKING:
    from ...images import Images
    from ...running.team import Team
    from ._augment import Augmentation
    from ._settings import Settings

Arrays = tuple[np.ndarray, np.ndarray]  # images float32 [b, 3, H, W], targets float32 [b, classes]
_BATCHES_AHEAD = 2


@dataclass
class Batches:
    """The training batches of one process of a team.

    Every batch is a function of the run's seed, the epoch and the number of the step. If an image
    cannot be read, the next one that can takes its place, so batches keep their size.

    Attributes:
        images: Where they come from.
        chosen: int64 [N], indices of the images to train on.
        num_classes: Of the model.
        augmentation: Random changes of the images.
        settings: Has batch size, mixup, label smoothing, seed, workers.
        team: The processes that share every batch.
        unreadable: Index and reason of images that could not be read so far.
    """

    images: Images
    chosen: np.ndarray
    num_classes: int
    augmentation: Augmentation
    settings: Settings
    team: Team
    unreadable: dict[int, str] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        """Images of a step, of all processes together; fewer than asked for if there are few."""
        return min(self.settings.batch_size, len(self.chosen) // self.team.size * self.team.size)

    @property
    def steps(self) -> int:
        """Whole batches of an epoch; what is left over waits for another epoch's order."""
        return len(self.chosen) // self.batch_size

    def epoch(self, epoch: int, begin: int) -> Generator[Arrays, None, None]:
        """Give the batches of one epoch from a step on, this process's share of each.

        Closed early, it ends its threads after the batches that they are at.
        """
        order = generator(self.settings.seed, Purpose.ORDER, epoch).permutation(len(self.chosen))
        own = self.batch_size // self.team.size

        def make(step: int) -> Arrays:
            first = step * self.batch_size + self.team.rank * own
            return self._make(order[first : first + own], epoch, step)

        return _ahead(make, range(begin, self.steps), self.settings.workers)

    def _make(self, places: np.ndarray, epoch: int, step: int) -> Arrays:
        """Prepare the images at some places of `chosen`."""
        inputs = np.empty((len(places), 3, *self.augmentation.preprocessing.size), np.float32)
        labels = [self._fill(int(place), epoch, inputs[i]) for i, place in enumerate(places)]
        targets = smoothed(labels, self.num_classes, self.settings.label_smoothing)
        if self.settings.mixup:
            rng = generator(self.settings.seed, Purpose.MIXUP, epoch, step)
            return mixed(inputs, targets, rng.beta(self.settings.mixup, self.settings.mixup))
        return inputs, targets

    def _fill(self, place: int, epoch: int, out: np.ndarray) -> int:
        """Write one augmented image, or the next that can be read; give its label."""
        for at in range(len(self.chosen)):
            index = int(self.chosen[(place + at) % len(self.chosen)])
            if index in self.unreadable:
                continue
            rng = generator(self.settings.seed, Purpose.IMAGE, epoch, index)
            try:
                image = self.augmentation(self.images.open(index), rng)
            except DataError as error:
                name, why = self.images.names[index], str(error)
                self.unreadable[index] = why if name in why else f"{name}: {why}"
                continue
            self.augmentation.preprocessing.normalise(np.asarray(image), out)
            return int(self.images.labels[index])
        heading = f"{self.images.source}: none of the training images can be read:"
        raise DataError(listing(heading, reasons(self.images, self.unreadable)))


def spread(count: int, limit: int | None) -> np.ndarray:
    """Choose at most `limit` of `count` images, evenly spread over all classes: int64 [N]."""
    wanted = count if limit is None else min(limit, count)
    return np.linspace(0, count, wanted, endpoint=False).astype(np.int64)


def smoothed(labels: list[int], num_classes: int, share: float) -> np.ndarray:
    """Make targets float32 [b, classes]: 1 at the label, a share of it spread over all classes."""
    targets = np.full((len(labels), num_classes), share / num_classes, np.float32)
    targets[np.arange(len(labels)), labels] += np.float32(1 - share)
    return targets


def mixed(inputs: np.ndarray, targets: np.ndarray, share: float) -> Arrays:
    """Mix every image with its neighbour, and their targets alike.

    The order is random already, so neighbours are any two; and a share of a batch that begins at an
    even place is mixed as in the whole batch. An odd last one stays as it is.

    Args:
        inputs: float32 [b, 3, H, W].
        targets: float32 [b, classes].
        share: Of the image itself; its neighbour has the rest.
    """
    even = len(inputs) // 2 * 2
    partner = np.arange(len(inputs))
    partner[:even] ^= 1
    own, other = np.float32(share), np.float32(1 - share)
    return own * inputs + other * inputs[partner], own * targets + other * targets[partner]


def _ahead(
    make: Callable[[int], Arrays], steps: range, workers: int
) -> Generator[Arrays, None, None]:
    """Give batches in order, made ahead by threads; by none if there are no workers."""
    if not workers:
        yield from map(make, steps)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    waiting: deque[Future[Arrays]] = deque()
    try:
        for step in steps:
            waiting.append(pool.submit(make, step))
            if len(waiting) >= workers + _BATCHES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
