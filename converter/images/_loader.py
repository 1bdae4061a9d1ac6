"""Images -> preprocessed batches, prepared ahead by threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import DataError
from ._images import Images
from ._preprocess import Preprocessing

_BATCHES_AHEAD = 2
_NICE = 10


@dataclass(frozen=True)
class Batch:
    """Some images, preprocessed.

    Attributes:
        indices: int64 [B], into the images, of those that could be read.
        images: float32 [B, 3, H, W], C-contiguous.
        unreadable: Index and reason of those that could not be read.
    """

    indices: np.ndarray
    images: np.ndarray
    unreadable: tuple[tuple[int, str], ...]


def load_batches(
    images: Images,
    indices: Sequence[int],
    preprocessing: Preprocessing,
    batch_size: int,
    workers: int,
) -> Generator[Batch]:
    """Read and preprocess images, in order.

    Threads do the work, because decoding, resizing and normalising all release Python's lock; they
    stay at most a few batches ahead. Closing the generator early ends them after their current
    images.

    Args:
        images: Where they come from.
        indices: Which of the images.
        preprocessing: The preprocessing that the model needs.
        batch_size: Images per batch; the last batch may be smaller, and so may one with
            unreadable images.
        workers: Threads; 0 reads in the calling thread.
    """
    if batch_size < 1 or workers < 0:
        raise ValueError(f"batch_size {batch_size}, workers {workers}")
    chunks = deque(indices[at : at + batch_size] for at in range(0, len(indices), batch_size))
    pool = ThreadPoolExecutor(workers, "images", initializer=_lower_priority) if workers else None
    ahead = _BATCHES_AHEAD if pool else 0
    waiting: deque[tuple[Sequence[int], np.ndarray, list[Callable[[], str | None]]]] = deque()
    try:
        while chunks or waiting:
            while chunks and len(waiting) <= ahead:
                chunk = chunks.popleft()
                inputs = np.empty((len(chunk), 3, *preprocessing.size), np.float32)
                jobs = [
                    partial(_prepare, images, i, preprocessing, place)
                    for i, place in zip(chunk, inputs, strict=True)
                ]
                waiting.append(
                    (chunk, inputs, [pool.submit(j).result if pool else j for j in jobs])
                )
            chunk, inputs, results = waiting.popleft()
            yield _batch(chunk, inputs, [result() for result in results])
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _lower_priority() -> None:
    """Give this thread a lower priority than those that run a model.

    If one thread of a model waits for its core, all its others wait, too: at equal priority PyTorch
    kept 0.81 of its rate, on two cores with two loading threads.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _prepare(
    images: Images, index: int, preprocessing: Preprocessing, out: np.ndarray
) -> str | None:
    """Fill one place of a batch; if that fails, say why."""
    try:
        image = images.open(index)
    except DataError as error:
        return str(error)
    try:
        seen = preprocessing.crop(image)
    except DataError as error:
        return f"{images.names[index]}: {error}"
    preprocessing.normalise(np.asarray(seen), out)
    return None


def _batch(chunk: Sequence[int], inputs: np.ndarray, reasons: Sequence[str | None]) -> Batch:
    indices = np.asarray(chunk, np.int64)
    unreadable = tuple(
        (int(i), reason) for i, reason in zip(chunk, reasons, strict=True) if reason is not None
    )
    if unreadable:
        good = np.array([reason is None for reason in reasons])
        indices, inputs = indices[good], inputs[good]
    return Batch(indices, inputs, unreadable)
