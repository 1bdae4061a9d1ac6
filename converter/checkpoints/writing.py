"""Write a checkpoint file: lay it out first, then let two threads fill it.

Each takes the next tensor and reads, transposes and writes it block by block; while one waits for
the disk, the other works. A thread holds one block of a tensor in memory.
"""

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue

import numpy as np

from ..errors import CheckpointError
from ._tensor import BLOCK, DTYPES, Tensor, runs
from .storage import CHUNK, Opened, Part, Storage

_WORKERS = 2  # a third gains little and needs more memory for its block

Job = Callable[[], Iterator[int]]

# Checksums of the tensors, in order -> offset and bytes of everything that depends on them.
Closing = Callable[[list[int]], list[tuple[int, bytes]]]

_buffers = threading.local()


class Layout:
    """The content of a file and where it goes, in order.

    Attributes:
        size: Bytes so far.
        fixed: Offset and bytes.
        tensors: Offset, name and tensor.
        closing: Gives the bytes that depend on the tensors' CRC-32; None if none do.
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


def write(handle: int, layout: Layout, check: bool = True) -> Generator[int, None, None]:
    """Fill a file that is open for writing. The same tensors give the same bytes.

    Args:
        handle: File descriptor, open for reading as well.
        layout: What goes where.
        check: Whether to read back every block as soon as it is written, and compare it bit for
            bit; and to compare the source with the checksums that its file has.

    Yields:
        The bytes of values written since the last time, for a progress display. A caller that stops
        early closes the generator before the file, because threads write to it.

    Raises:
        CheckpointError: A tensor cannot be read, does not fit the dtype it is cast to, is damaged,
            or did not come back as it was written.
    """
    checksums = [0] * len(layout.tensors)
    written = Opened(handle)

    def fill(index: int) -> Iterator[int]:
        offset, name, tensor = layout.tensors[index]
        width = DTYPES[tensor.dtype].itemsize
        sources = list(tensor.storage.checked()) if check else []
        for source in sources:
            source.watch()
        for start, piece in tensor.pieces():
            data, done = _read(name, piece), 0
            for first, count in runs(tensor.shape, start, piece.shape):
                run, at = data[done : done + count * width], offset + first * width
                _put(handle, run.data, at)
                if check:
                    _compare(name, run, written, at)
                done += len(run)
            yield len(data)
        for source in sources:
            source.check()
        if layout.closing is not None:
            checksums[index] = Part(written, offset, tensor.nbytes).crc32()

    for offset, data in layout.fixed:
        _put(handle, memoryview(data), offset)
    yield from _in_parallel(partial(fill, index) for index in range(len(checksums)))
    if layout.closing is not None:
        for offset, data in layout.closing(checksums):
            _put(handle, memoryview(data), offset)


def verify(written: Mapping[str, Tensor], layout: Layout) -> None:
    """Compare the tensors of a finished file with its layout.

    Raises:
        CheckpointError: A tensor is missing, differs in shape or dtype, or lies elsewhere.
    """
    meant = {name: (t.shape, t.dtype, at) for at, name, t in layout.tensors}
    found = {name: (t.shape, t.dtype, _place(t)) for name, t in written.items()}
    if found != meant:
        name = next(name for name in {**meant, **found} if meant.get(name) != found.get(name))
        raise CheckpointError(f"{name} did not come back as it was written.")


def _place(tensor: Tensor) -> int:
    """Give where in its file a tensor begins."""
    at, storage = tensor.offset, tensor.storage
    while isinstance(storage, Part):
        at, storage = at + storage.start, storage.whole
    return at


def _read(name: str, piece: Tensor) -> np.ndarray:
    """Read at most a block into a buffer of this thread, and give its bytes, uint8 [nbytes]."""
    data: np.ndarray = _buffer("block", BLOCK if piece.nbytes > CHUNK else CHUNK)[: piece.nbytes]
    try:
        piece.read_into(data.view(DTYPES[piece.dtype]).reshape(piece.shape))
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error
    return data


def _compare(name: str, meant: np.ndarray, written: Storage, offset: int) -> None:
    """Read back what was just written."""
    found = _buffer("found", CHUNK)
    for at in range(0, len(meant), CHUNK):
        expected = meant[at : at + CHUNK]
        piece = found[: len(expected)]
        written.read_into(offset + at, piece.data)
        words = np.uint64 if len(piece) % 8 == 0 else np.uint8
        if not np.array_equal(piece.view(words), expected.view(words)):
            raise CheckpointError(f"{name} did not come back as it was written.")


def _buffer(slot: str, size: int) -> np.ndarray:
    """Give a buffer of this thread, of at least that many bytes."""
    buffer = getattr(_buffers, slot, None)
    if buffer is None or len(buffer) < size:
        buffer = np.empty(size, np.uint8)
        setattr(_buffers, slot, buffer)
    return buffer


def _put(handle: int, data: memoryview, offset: int) -> None:
    """Write all of some bytes at a position."""
    while len(data):
        count = os.pwrite(handle, data, offset)
        data, offset = data[count:], offset + count


def _in_parallel(jobs: Iterable[Job]) -> Generator[int, None, None]:
    """Run jobs in threads, in order, and give the amounts they yield as they come.

    The first error ends all of them; so does closing this generator.
    """
    results: SimpleQueue[int | Future[None]] = SimpleQueue()
    stop = threading.Event()

    def work(job: Job) -> None:
        for amount in job():
            results.put(amount)
            if stop.is_set():
                return

    pool = ThreadPoolExecutor(_WORKERS)
    try:
        running = [pool.submit(work, job) for job in jobs]
        for one in running:
            one.add_done_callback(results.put)
        while running:
            result = results.get()
            if isinstance(result, int):
                yield result
            else:
                result.result()
                running.remove(result)
    finally:
        stop.set()
        # They write to a file that is closed next, so even a second Ctrl-C waits for them.
        is_done = False
        while not is_done:
            with suppress(KeyboardInterrupt):
                pool.shutdown(cancel_futures=True)
                is_done = True


# -- pieces of a pickle


def text(value: str) -> bytes:
    """Encode a text."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def integer(number: int) -> bytes:
    """Encode an integer of at most 64 bits."""
    if -(2**31) <= number < 2**31:
        return b"J" + number.to_bytes(4, "little", signed=True)
    return b"\x8a\x08" + number.to_bytes(8, "little", signed=True)
