"""Write a checkpoint file: where everything goes is settled first, then two threads fill it.

Each takes the next tensor, reads and turns a block of it, and writes that; while one waits for the
disk the other works. A thread holds one block, or two when it compares.
"""

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

import numpy as np

from .._errors import CheckpointError
from ._storage import CHUNK, Opened, Part, Storage
from ._tensor import BLOCK, DTYPES, Tensor, runs

_WORKERS = 2  # a third gains little on a disk and needs blocks of its own

Job = Callable[[], Iterator[int]]

# Checksums of the tensors, in order -> offset and bytes of all that depends on them.
Closing = Callable[[list[int]], list[tuple[int, bytes]]]

_buffers = threading.local()


class Layout:
    """What goes where in a file, in order.

    Attributes:
        size: Bytes so far.
        fixed: Offset and bytes.
        tensors: Offset, name and tensor.
        closing: Gives what depends on the tensors' CRC-32; None if nothing does.
    """

    def __init__(self) -> None:
        self.size = 0
        self.fixed: list[tuple[int, bytes]] = []
        self.tensors: list[tuple[int, str, Tensor]] = []
        self.closing: Closing | None = None

    def add(self, data: bytes) -> None:
        """Put bytes next."""
        self.fixed.append((self.size, data))
        self.size += len(data)

    def add_tensor(self, name: str, tensor: Tensor) -> None:
        """Put the values of a tensor next."""
        self.tensors.append((self.size, name, tensor))
        self.size += tensor.nbytes


def write(handle: int, layout: Layout) -> Generator[int, None, None]:
    """Fill a file that is open for writing. The same tensors give the same bytes.

    Args:
        handle: File descriptor, open for reading as well.
        layout: What goes where.

    Yields:
        The bytes of values written since the last, for a progress display. Whoever stops asking
        closes the generator before the file: threads write to it.

    Raises:
        CheckpointError: A tensor cannot be read, or does not fit the dtype it is cast to.
    """
    checksums = [0] * len(layout.tensors)
    written = Opened(handle)

    def fill(index: int) -> Iterator[int]:
        offset, name, tensor = layout.tensors[index]
        width = DTYPES[tensor.dtype].itemsize
        for start, piece in tensor.pieces():
            data, done = _read(name, piece).data, 0
            for first, count in runs(tensor.shape, start, piece.shape):
                _put(handle, data[done : done + count * width], offset + first * width)
                done += count * width
            yield len(data)
        if layout.closing is not None:
            checksums[index] = Part(written, offset, tensor.nbytes).crc32()

    for offset, data in layout.fixed:
        _put(handle, memoryview(data), offset)
    yield from _in_parallel(partial(fill, index) for index in range(len(checksums)))
    if layout.closing is not None:
        for offset, data in layout.closing(checksums):
            _put(handle, memoryview(data), offset)


def verify(
    written: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> Generator[int, None, None]:
    """Compare a written file with what it was made of, bit for bit.

    What the writer transposed is read the other way round, in the order of the source. Where the
    source has checksums they are checked as well.

    Yields:
        The bytes compared since the last.

    Raises:
        CheckpointError: The file does not hold what was meant, or the source is damaged.
    """
    if sorted(written) != sorted(expected):
        raise CheckpointError("the names of the tensors did not come back as they were written.")
    sources = {id(c): c for tensor in expected.values() for c in tensor.storage.checked()}
    jobs: list[Job] = [partial(_check, source) for source in sources.values()]
    jobs += [partial(_compare, name, written[name], meant) for name, meant in expected.items()]
    yield from _in_parallel(jobs)


def _check(source: Storage) -> Iterator[int]:
    source.check()
    yield 0


def _compare(name: str, found: Tensor, meant: Tensor) -> Iterator[int]:
    different = CheckpointError(f"{name} did not come back as it was written.")
    if (found.shape, found.dtype) != (meant.shape, meant.dtype):
        raise different
    is_turned = meant.strides != tuple(sorted(meant.strides, reverse=True))
    for start, expected in meant.pieces():
        piece = found.region(start, expected.shape)
        if is_turned:
            expected, piece = expected.transposed(), piece.transposed()
        a, b = _read(name, piece, "found"), _read(name, expected)
        for at in range(0, len(a), CHUNK):
            if not np.array_equal(a[at : at + CHUNK], b[at : at + CHUNK]):
                raise different
        yield len(a)


def _read(name: str, piece: Tensor, slot: str = "block") -> np.ndarray:
    """Read at most a block into a buffer of this thread; gives its bytes, uint8 [nbytes]."""
    buffer = getattr(_buffers, slot, None)
    if buffer is None or len(buffer) < piece.nbytes:
        buffer = np.empty(BLOCK if piece.nbytes > CHUNK else CHUNK, np.uint8)
        setattr(_buffers, slot, buffer)
    data: np.ndarray = buffer[: piece.nbytes]
    try:
        piece.read_into(data.view(DTYPES[piece.dtype]).reshape(piece.shape))
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error
    return data


def _put(handle: int, data: memoryview, offset: int) -> None:
    """Write all of some bytes at a position."""
    while len(data):
        count = os.pwrite(handle, data, offset)
        data, offset = data[count:], offset + count


def _in_parallel(jobs: Iterable[Job]) -> Generator[int, None, None]:
    """Run jobs in threads, in order, and give the amounts they yield as they come.

    The first error ends all of them; so does closing this generator.
    """
    waiting: SimpleQueue[Job] = SimpleQueue()
    for job in jobs:
        waiting.put(job)
    results: SimpleQueue[int | BaseException | None] = SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                for amount in waiting.get_nowait()():
                    results.put(amount)
                    if stop.is_set():
                        return
        except Empty:
            pass
        except BaseException as error:
            results.put(error)
        finally:
            results.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(_WORKERS)]
    try:
        for thread in threads:
            thread.start()
        running = len(threads)
        while running:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                running -= 1
            else:
                yield result
    finally:
        stop.set()
        for thread in threads:
            # They write to a file that is closed next, so not even a second Ctrl-C leaves them.
            while thread.is_alive():
                with suppress(KeyboardInterrupt):
                    thread.join()
