"""Images -> batches of what a model is given, prepared ahead by threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

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
        unreadable: Index and reason of those that could not.
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

    Threads do it, as decoding, resizing and normalising all release Python's lock. They are
    a few batches ahead at most. A generator that is closed early ends them after the images that
    they are at.

    Args:
        images: Where they come from.
        indices: Which of them.
        preprocessing: What the model wants of them.
        batch_size: Images of a batch; the last one may be smaller, and one with unreadable
            images is.
        workers: Threads; 0 reads in the calling thread.
    """
    if batch_size < 1 or workers < 0:
        raise ValueError(f"batch_size {batch_size}, workers {workers}")
    chunks = deque(indices[at : at + batch_size] for at in range(0, len(indices), batch_size))
    if not workers:
        for chunk in chunks:
            inputs = _room(chunk, preprocessing)
            places = zip(chunk, inputs, strict=True)
            yield _batch(chunk, inputs, [_prepare(images, i, preprocessing, p) for i, p in places])
        return
    pool = ThreadPoolExecutor(workers, "images", initializer=_step_back)
    waiting: deque[tuple[Sequence[int], np.ndarray, list[Future[str | None]]]] = deque()
    try:
        while chunks or waiting:
            while chunks and len(waiting) <= _BATCHES_AHEAD:
                chunk = chunks.popleft()
                inputs = _room(chunk, preprocessing)
                places = zip(chunk, inputs, strict=True)
                jobs = [pool.submit(_prepare, images, i, preprocessing, p) for i, p in places]
                waiting.append((chunk, inputs, jobs))
            chunk, inputs, jobs = waiting.popleft()
            yield _batch(chunk, inputs, [job.result() for job in jobs])
    finally:
        pool.shutdown(cancel_futures=True)


def _step_back() -> None:
    """Let this thread have what is left of the processor by those that run a model.

    One of those that has to wait for its core holds up all the others of the model: with equal
    rights PyTorch had 0.81 of its own rate, on two cores with two such threads.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _room(chunk: Sequence[int], preprocessing: Preprocessing) -> np.ndarray:
    return np.empty((len(chunk), 3, *preprocessing.size), np.float32)


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
