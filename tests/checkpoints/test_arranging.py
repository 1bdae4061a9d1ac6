"""Tensors made of others: joined, cut, split and merged are as NumPy makes them, read on demand."""

import threading
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import COMMON
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import write_tensors
from vitconvert import CheckpointError
from vitconvert.checkpoints import Tensor, _tensor, arranged, held, joined, part, writing, zeros
from vitconvert.checkpoints._tensor import DTYPES, runs, view
from vitconvert.checkpoints.arranging import Packed, permuted
from vitconvert.checkpoints.storage import Checked, Held, Storage
from vitconvert.checkpoints.writing import Layout

RNG = np.random.default_rng(0)
QUICK = settings(max_examples=200, derandomize=True, **COMMON)


class Pattern(Storage):
    """Bytes that are computed: of a large file that needs no room."""

    def __init__(self, size: int) -> None:
        self.size, self.total, self.calls, self.lock = size, 0, 0, threading.Lock()

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer with the low bytes of their positions, divided by 4."""
        first = at // 4 * 4
        words = np.arange(first // 4, (at + len(buffer) + 3) // 4, dtype="<u4")
        buffer[:] = words.view(np.uint8)[at - first :][: len(buffer)].data
        with self.lock:
            self.total, self.calls = self.total + len(buffer), self.calls + 1


def turned(array: np.ndarray, order: Any, big_endian: bool = False) -> Tensor:
    """Make a tensor with the values of an array whose bytes lie in another order of axes."""
    stored = np.ascontiguousarray(array.transpose(order))
    data = (stored.byteswap() if big_endian else stored).tobytes()
    tensor = view(Held(data), str(array.dtype), stored.shape, big_endian=big_endian)
    return permuted(tensor, np.argsort(order).tolist())


@st.composite
def joins(draw: Any) -> tuple[list[Tensor], list[np.ndarray], int]:
    """Draw tensors of any order of bytes and axes that can be joined, and the axis."""
    shape = draw(st.lists(st.integers(0, 4) | st.integers(1, 4), min_size=1, max_size=4))
    axis = draw(st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from(["float32", "float16", "uint8", "complex128"]))
    tensors, arrays = [], []
    for _ in range(draw(st.integers(1, 4))):
        own = [*shape[:axis], draw(st.integers(0, 4)), *shape[axis + 1 :]]
        array = RNG.integers(0, 99, own).astype(dtype)
        if draw(st.integers(0, 3)) == 0:
            array = np.zeros_like(array)
            tensors.append(zeros(array.shape, dtype))
        else:
            order = draw(st.permutations(range(len(own))))
            tensors.append(turned(array, order, draw(st.booleans())))
        arrays.append(array)
    return tensors, arrays, axis


@QUICK
@given(case=joins(), data=st.data())
def test_joined_tensors_are_as_numpy_joins_them(case: Any, data: Any) -> None:
    """Whole, permuted, any part of them, any run of their bytes, and joined and arranged again."""
    tensors, arrays, axis = case
    whole, expected = joined(tensors, axis), np.concatenate(arrays, axis)

    assert (whole.shape, whole.dtype) == (expected.shape, str(expected.dtype))
    assert whole.read().tobytes() == expected.tobytes()
    order = data.draw(st.permutations(range(expected.ndim)))
    whole, expected = permuted(whole, order), expected.transpose(order)
    assert whole.read().tobytes() == expected.tobytes()
    for at, length in enumerate(expected.shape):
        first = data.draw(st.integers(0, length))
        last = data.draw(st.integers(first, length))
        whole = part(whole, at, first, last - first)
        expected = expected[(*[slice(None)] * at, slice(first, last))]
        assert whole.read().tobytes() == np.ascontiguousarray(expected).tobytes()
    twice = joined([whole, zeros(whole.shape, whole.dtype), whole], 0)
    flat = arranged(twice, twice.shape, [range(len(twice.shape))[::-1]])
    expected = np.concatenate([expected, np.zeros_like(expected), expected])
    assert flat.read().tobytes() == expected.T.tobytes()


@QUICK
@given(case=joins(), data=st.data())
def test_any_run_of_bytes_is_read(case: Any, data: Any) -> None:
    """Also one that begins or ends within an element."""
    tensors, arrays, axis = case
    parts = [permuted(t, [axis, *(a for a in range(len(t.shape)) if a != axis)]) for t in tensors]
    parts = [one for one in parts if one.nbytes]
    if not parts:
        return
    storage = Packed(parts)
    content = b"".join(np.moveaxis(array, axis, 0).tobytes() for array in arrays)
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))

    assert storage.size == len(content)
    assert storage.read(start, end - start) == content[start:end]
    assert storage.crc32() == zlib.crc32(content)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_pieces_of_a_join_are_bounded_and_make_the_whole(
    axis: int, order: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a storage is read that reads others meanwhile."""
    monkeypatch.setattr(_tensor, "BLOCK", 20_000)
    monkeypatch.setattr(_tensor, "CHUNK", 5_000)
    monkeypatch.setattr(_tensor, "_scratch", threading.local())  # kept between reads: of that size
    arrays = [RNG.standard_normal((180, 190)).astype("f4") for _ in range(3)]
    inner = joined([turned(arrays[0], order), turned(arrays[1], order[::-1])], axis)
    whole = joined([inner, turned(arrays[2], order)], axis)
    for made, expected in (
        (whole, np.concatenate(arrays, axis)),
        (whole.transposed(), np.concatenate(arrays, axis).T),
        (
            arranged(whole, [2, whole.shape[0] // 2, whole.shape[1]], [[2], [1, 0]]),
            np.concatenate(arrays, axis)
            .reshape(2, whole.shape[0] // 2, whole.shape[1])
            .transpose(2, 1, 0)
            .reshape(whole.shape[::-1]),
        ),
    ):
        found = np.full(expected.size, np.nan, "f4")
        for start, piece in made.pieces():
            assert piece.nbytes <= 20_000
            values, done = piece.read().reshape(-1), 0
            for first, count in runs(expected.shape, start, piece.shape):
                found[first : first + count] = values[done : done + count]
                done += count
        assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_what_strides_can_say_is_a_view_of_the_same_bytes() -> None:
    """A permutation, axes of length 1, neighbours that merge; all else is read on demand."""
    tensor = held(RNG.standard_normal((6, 4, 1, 1)).astype("f4"))
    same = [
        arranged(tensor, [6, 4], [[1], [0]]),
        arranged(tensor, [2, 3, 4], [[], [0, 1], [2], []]),
        arranged(tensor, [2, 3, 4], [[1, 2], [0]]),
        arranged(tensor, [6, 4], [[0, 1]]),
    ]
    other = arranged(tensor, [2, 3, 4], [[1, 0], [2]])

    assert all(made.storage is tensor.storage for made in same)
    assert isinstance(other.storage, Packed)
    assert joined([tensor], 1) is tensor


@pytest.mark.parametrize("split", [[6], [5, 4], [6, 2, 2, 7], [24], [4, 6], [1, 6, 4]])
def test_lengths_that_are_not_those_of_the_tensor_are_refused(split: list[int]) -> None:
    """Nor may one be left out or used twice."""
    tensor = held(np.zeros((6, 4), "f4"))
    if split == [1, 6, 4]:
        groups: list[list[int]] = [[0], [1, 1]]
    else:
        groups = [[axis] for axis in range(len(split))]
    with pytest.raises(CheckpointError, match=r"cannot (arrange|split)"):
        arranged(tensor, split, groups)


@pytest.mark.parametrize(
    ("shapes", "axis", "message"),
    [
        ([], 0, "nothing to join"),
        ([(2, 3), (2, 4)], 0, r"cannot join \[2, 3\] and \[2, 4\] along axis 0"),
        ([(2, 3), (2,)], 0, "cannot join"),
        ([(2, 3)], 2, "along axis 2"),
        ([()], 0, "along axis 0"),
        ([(2, 3), (2, 3)], -1, "along axis -1"),
    ],
)
def test_tensors_that_cannot_be_joined_are_refused(
    shapes: list[tuple[int, ...]], axis: int, message: str
) -> None:
    """With their shapes."""
    with pytest.raises(CheckpointError, match=message):
        joined([held(np.zeros(shape, "f4")) for shape in shapes], axis)


def test_tensors_of_several_dtypes_are_not_joined() -> None:
    """Nothing is cast unasked; cast alike, they can be."""
    ones = [held(np.ones(2, "f4")), held(np.ones(2, "f2"))]
    with pytest.raises(CheckpointError, match="of float32 and float16; expected one dtype"):
        joined(ones, 0)
    made = joined([one.cast("float16") for one in ones], 0)
    assert (made.dtype, made.read().tolist()) == ("float16", [1, 1, 1, 1])


@pytest.mark.parametrize("mixed", [False, True])
def test_values_that_a_cast_made_zero_are_counted(mixed: bool) -> None:
    """Whether it was cast before the join, by itself or not, or after it."""
    tiny = np.array([[1e-9, 1], [2, 3e-9]], "f4")
    other = held(tiny.astype("f8" if mixed else "f4"))
    before = joined([held(tiny).cast("float16"), other.cast("float16")], 1)
    woven = arranged(before, (2, 2, 2), [[1, 0], [2]])
    made = [before, woven]
    if not mixed:
        made.append(joined([held(tiny), other], 1).cast("float16"))

    for tensor in made:
        tensor.lost.clear()
        tensor.read()
        count, largest = tensor.vanished()
        assert (count, round(largest * 1e9, 3)) == (4, 3)


@pytest.mark.parametrize("at", [(2, 0, 1), (0, -1, 1), (0, 2, 2), (0, 1, -1), (1, 0, 4)])
def test_parts_that_are_not_there_are_refused(at: tuple[int, int, int]) -> None:
    """No index wraps around."""
    with pytest.raises(CheckpointError, match="has no indices"):
        part(held(np.zeros((3, 3), "f4")), *at)


def test_every_dtype_is_joined() -> None:
    """Its bits, whatever NumPy makes of them."""
    for dtype, held_as in DTYPES.items():
        array = RNG.integers(0, 2, (3, 4)).astype(held_as)
        tensor = view(Held(array.tobytes()), dtype, array.shape)
        made = joined([tensor, zeros((3, 2), dtype), tensor], 1)
        expected = np.concatenate([array, np.zeros((3, 2), held_as), array], 1)
        assert (made.dtype, made.read().tobytes()) == (dtype, expected.tobytes())


def test_the_parts_behind_a_join_are_checked_when_it_is_written(tmp_path: Path) -> None:
    """Each by its own checksum, also if it is read in another order."""
    data = [RNG.integers(0, 255, 40_000, "u1").tobytes() for _ in range(2)]
    parts = [
        Checked(Held(one), 0, len(one), zlib.crc32(one), f"x{i}") for i, one in enumerate(data)
    ]
    tensors = [view(storage, "uint8", (200, 200)) for storage in parts]
    whole = joined([tensors[0], tensors[1].transposed(), tensors[0]], 1)
    layout = Layout()
    layout.add_tensor("w", whole)

    assert list(whole.storage.checked()) == parts
    write_tensors(tmp_path / "x", layout)
    parts[1].expected ^= 1
    with pytest.raises(CheckpointError, match="x1: damaged"):
        write_tensors(tmp_path / "x", layout)


def test_zeros_need_no_memory() -> None:
    """However many."""
    tracemalloc.start()
    many = zeros((1 << 20, 1 << 20), "float32")
    cut = part(joined([many, many], 1), 1, (1 << 20) - 1, 2)
    assert not part(cut, 0, 5, 7).read().any()
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["rows", "columns", "woven"])
def test_large_joins_are_written_in_bounded_memory_and_read_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of transposed tensors, as they are and transposed: 25 MB with blocks of 1 MB."""
    for module in (_tensor, writing):
        monkeypatch.setattr(module, "BLOCK", 1 << 20)
    monkeypatch.setattr(_tensor, "CHUNK", 1 << 18)
    monkeypatch.setattr(_tensor, "_GAP", 1 << 10)
    side = 1448
    storages = [Pattern(4 * side * side) for _ in range(3)]
    tensors = [view(storage, "float32", (side, side)).transposed() for storage in storages]
    if kind == "woven":
        whole = joined(tensors, 0)
        whole = arranged(whole, [3, 8, side // 8, side], [[3], [1, 0, 2]])
    else:
        whole = joined(tensors, int(kind == "columns")).transposed()
    layout = Layout()
    layout.add_tensor("w", whole)

    tracemalloc.start()
    write_tensors(tmp_path / "x", layout)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8_000_000
    assert sum(one.total for one in storages) < 2 * whole.nbytes
    own = np.arange(side * side, dtype="<u4").reshape(side, side).T
    expected = np.concatenate([own] * 3, int(kind == "columns"))
    expected = (
        expected.reshape(3, 8, side // 8, side).transpose(3, 1, 0, 2)
        if kind == "woven"
        else expected.T
    )
    assert (tmp_path / "x").read_bytes() == np.ascontiguousarray(expected).tobytes()


def test_two_threads_read_one_join() -> None:
    """Each with buffers of its own."""
    arrays = [RNG.standard_normal((700, 600)).astype("f4") for _ in range(3)]
    whole = joined([turned(array, (1, 0)) for array in arrays], 0).transposed()
    expected = np.concatenate(arrays).T.tobytes()
    found: list[bool] = []

    def read() -> None:
        found.extend(whole.read().tobytes() == expected for _ in range(5))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 10
