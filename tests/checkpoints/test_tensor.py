"""Tensors of any strides and size are read correctly, in bounded pieces, and cast correctly."""

import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import write_tensors
from vitconvert import CheckpointError
from vitconvert.checkpoints import _tensor, held
from vitconvert.checkpoints._tensor import runs, view
from vitconvert.checkpoints.storage import Checked, Held, Joined, Latin, Part
from vitconvert.checkpoints.writing import Layout

RNG = np.random.default_rng(0)


class Counting(Held):
    """Counts the bytes read, and keeps the size of the largest piece."""

    total = 0
    largest = 0
    calls = 0

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer, and count."""
        self.total += len(buffer)
        self.calls += 1
        self.largest = max(self.largest, len(buffer))
        super().read_into(at, buffer)


def layouts() -> Iterator[tuple[str, tuple[int, ...], int, tuple[int, ...]]]:
    """Name, shape, offset and strides, in elements, of views of a large storage."""
    yield "rows", (1500, 1200), 0, (1200, 1)
    yield "turned", (1200, 1500), 0, (1, 1200)
    yield "turned, wide", (40_000, 45), 7, (1, 40_000)
    yield "turned, tall", (45, 40_000), 7, (1, 45)
    yield "every other", (700, 500), 3, (2400, 2)
    yield "columns", (900, 3), 11, (2000, 1)
    yield "permuted", (30, 40, 50, 30), 0, (1, 900, 36000, 30)
    yield "channels last", (64, 96, 3, 3), 0, (96 * 9, 1, 3 * 96, 96)
    yield "expanded", (300, 400), 5, (0, 1)
    yield "expanded within", (300, 4, 400), 5, (400, 0, 1)
    yield "scalar", (), 17, ()
    yield "one", (1, 1, 1), 17, (5, 3, 2)
    yield "none", (0, 5), 0, (5, 1)


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex128", "uint8"])
@pytest.mark.parametrize(
    ("name", "shape", "offset", "strides"), [pytest.param(*row, id=row[0]) for row in layouts()]
)
def test_every_layout_is_read_as_numpy_strides_it(
    name: str, shape: tuple[Any, ...], offset: int, strides: tuple[Any, ...], dtype: str
) -> None:
    """Also from big-endian bytes, and transposed."""
    base = RNG.integers(0, 255, 1_900_000 * np.dtype(dtype).itemsize, "u1").view(dtype)
    steps = tuple(step * base.itemsize for step in strides)
    expected = np.ndarray(shape, base.dtype, base, offset * base.itemsize, steps)

    tensor = view(Held(base.tobytes()), dtype, shape, offset, strides)
    swapped = view(Held(base.byteswap().tobytes()), dtype, shape, offset, strides, big_endian=True)

    for found in (tensor.read(), swapped.read()):
        assert found.tobytes() == np.ascontiguousarray(expected).tobytes(), name
    assert tensor.transposed().read().tobytes() == np.ascontiguousarray(expected.T).tobytes()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(3000, 700), (7, 11, 13, 17), (1, 2_000_000), (5,), (), (0, 3)])
def test_pieces_are_bounded_and_make_the_whole(
    shape: tuple[Any, ...], turned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No piece exceeds a block, no read exceeds a chunk, `runs` gives the places to write."""
    monkeypatch.setattr(_tensor, "BLOCK", 20_000)
    monkeypatch.setattr(_tensor, "CHUNK", 5_000)
    monkeypatch.setattr(_tensor, "_scratch", threading.local())  # kept between reads: of that size
    array = RNG.standard_normal(shape).astype("f4")
    storage = Counting(array.tobytes())
    tensor = view(storage, "float32", shape)
    if turned:
        tensor, array = tensor.transposed(), array.T

    whole = np.full(array.size, np.nan, "f4")
    for start, piece in tensor.pieces():
        assert piece.nbytes <= 20_000
        values, done = piece.read().reshape(-1), 0
        for first, count in runs(array.shape, start, piece.shape):
            assert np.isnan(whole[first : first + count]).all()
            whole[first : first + count] = values[done : done + count]
            done += count

    assert whole.tobytes() == np.ascontiguousarray(array).tobytes()
    assert storage.largest <= 20_000


def test_a_large_transposed_tensor_is_not_read_repeatedly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wide, tall or square: every byte is read once or twice, in few and long runs."""
    monkeypatch.setattr(_tensor, "BLOCK", 1 << 20)  # as small as makes the test quick
    monkeypatch.setattr(_tensor, "_GAP", 1 << 10)
    for shape in ((256, 32_768), (32_768, 256), (3000, 3000), (2_000_000, 4)):
        array = RNG.standard_normal(shape).astype("f4")
        storage = Counting(array.tobytes())
        turned = view(storage, "float32", shape).transposed()

        found = np.empty(turned.shape, "f4")
        written = 0
        for (row, column), piece in turned.pieces():
            height, width = piece.shape
            found[row : row + height, column : column + width] = piece.read()
            written += sum(1 for _ in runs(turned.shape, (row, column), piece.shape))

        assert found.tobytes() == array.T.tobytes()
        assert storage.total < 2 * array.nbytes
        assert max(storage.calls, written) < array.nbytes / 1000, shape


@pytest.mark.parametrize("size", [1, 1000, 70_000, 300_001])
@pytest.mark.parametrize("kind", ["random", "high", "low"])
def test_bytes_stored_as_text_are_decoded_anywhere(
    size: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protocol 2 has no bytes: each is a character, of one or two bytes of UTF-8."""
    monkeypatch.setattr("vitconvert.checkpoints.storage.CHUNK", 4097)
    low, high = {"random": (0, 256), "high": (128, 256), "low": (0, 128)}[kind]
    data = RNG.integers(low, high, size, "u1").tobytes()
    storage = Latin(Held(data.decode("latin1").encode()), size)

    assert storage.read(0, size) == data
    for at in RNG.integers(0, size, 20).tolist():
        length = min(9000, size - at)
        assert storage.read(at, length) == data[at : at + length]


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        (b"abc", 4, "has 3 bytes, not 4"),
        ("ab\u0142".encode(), 3, "not Latin-1"),
        (b"ab\xff", 3, "not Latin-1"),
    ],
)
def test_text_that_encodes_no_bytes_is_refused(text: bytes, size: int, message: str) -> None:
    """Characters beyond Latin-1, broken UTF-8, another length than stated."""
    with pytest.raises(CheckpointError, match=message):
        Latin(Held(text), size).read(0, size)


def test_joined_storages_read_as_one() -> None:
    """Across their borders."""
    data = bytes(range(100))
    whole = Held(data)
    storage = Joined([Part(whole, 0, 10), Part(whole, 10, 0), Part(whole, 10, 1), Held(data[11:])])

    for start in range(100):
        assert storage.read(start, 100 - start) == data[start:]


@pytest.mark.parametrize(
    ("shape", "offset", "strides"),
    [
        ((3, 4), 0, (4, 2)),
        ((3, 4), 1, (4, 1)),
        ((1,), 12, (1,)),
        ((2**60,), 0, (1,)),
        ((2**31, 2**31), 0, (0, 0)),
        ((3, 4), 0, (4,)),
        ((2, 2), 0, (1, 1)),
        ((2, 3, 2), 0, (1, 2, 3)),
    ],
)
def test_views_outside_their_storage_are_refused(
    shape: tuple[Any, ...], offset: int, strides: tuple[Any, ...]
) -> None:
    """So are those that repeat it too often or make no sense."""
    with pytest.raises(CheckpointError, match="a tensor of float32"):
        view(Held(bytes(48)), "float32", shape, offset, strides)


@pytest.mark.parametrize("number", [-1, 1.0, True, "1", None, 2.0**70, 2**63])
def test_other_values_than_natural_numbers_are_refused(number: object) -> None:
    """As an axis, an offset and a stride."""
    for arguments in (((number,), 0, (1,)), ((1,), number, (1,)), ((1,), 0, (number,))):
        with pytest.raises((ValueError, TypeError, CheckpointError)):
            view(Held(bytes(48)), "float32", *arguments)


def test_tensors_that_share_a_storage_are_checked_by_two_threads(tmp_path: Path) -> None:
    """Each sums up what it reads in order; together they find the one checksum."""
    data = RNG.integers(0, 255, 400_000, "u1").tobytes()
    layout = Layout()
    storage = Checked(Held(data), 0, len(data), zlib.crc32(data), "x")
    for i in range(200):
        layout.add_tensor(str(i), view(storage, "uint8", (200_000 - i,), i))

    for _ in range(5):
        storage.crc = storage.summed = 0
        write_tensors(tmp_path / "x", layout)
    storage.expected ^= 1
    with pytest.raises(CheckpointError, match="x: damaged"):
        write_tensors(tmp_path / "x", layout)


# -- casts


def floats_of_every_kind() -> np.ndarray:
    """Every float16, and float32 around the borders where rounding is decided."""
    half = np.arange(65536, dtype="u4").astype("u2").view("f2").astype("f4")
    bits = RNG.integers(0, 2**32, 200_000, "u4")
    ties = (bits & 0xFFFF0000) | 0x8000
    near = np.concatenate([ties, ties + 1, ties - 1, bits]).view("f4")
    return np.concatenate([half, near[np.isfinite(near)], np.array([0.0, -0.0], "f4")])


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("source", ["float64", "float32", "float16", "bfloat16"])
def test_casts_are_those_of_torch(source: str, dtype: str) -> None:
    """Bit for bit, ties to even, subnormals, infinities; a NaN stays one."""
    import torch

    values = torch.from_numpy(floats_of_every_kind()).to(getattr(torch, source))
    expected = values.to(getattr(torch, dtype))
    fits = torch.isfinite(expected) | ~torch.isfinite(values)
    values, expected = values[fits], expected[fits]
    raw = values.view(torch.uint8).numpy().tobytes()

    found = view(Held(raw), source, values.shape).cast(dtype).read()

    nan = torch.isnan(expected).numpy()
    ours = found.view("u1").reshape(len(found), -1)
    theirs = expected.view(torch.uint8).numpy().reshape(len(found), -1)
    np.testing.assert_array_equal(ours[~nan], theirs[~nan])
    as_float = torch.from_numpy(found.copy()).view(getattr(torch, dtype))
    assert torch.isnan(as_float[torch.from_numpy(nan)]).all()


@pytest.mark.parametrize(
    ("dtype", "value"), [("float16", 65520.0), ("bfloat16", 3.4e38), ("float16", -1e9)]
)
def test_values_that_would_become_infinite_are_refused(dtype: str, value: float) -> None:
    """The error gives the value."""
    tensor = held(np.array([1, value, np.inf], "f4")).cast(dtype)

    with pytest.raises(CheckpointError, match=f"a value of .* is too large for {dtype}"):
        tensor.read()
