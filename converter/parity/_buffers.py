"""Tensors that Paddle alone has, compared with what PyTorch computes in their place."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from ..errors import ParityError, listing
from ..running.side import AnySide
from ..tables.patterns import compile_pattern, join
from ..tables.table import Table
from ._distance import FLOAT64_LIMIT, scale_of
from ._lone import Lone
from ._record import Paired
from ._trace import Buffer, Trace, Writer

# What a table of floats may lose that one side computes in float32: four units in the last place.
_FLOAT32_LIMIT = 4 * float(np.finfo(np.float32).eps)


def write_buffers(
    side: AnySide,
    model: Any,
    table: Table,
    paired: Sequence[Paired],
    others: Callable[[str, Any], bool],
    writer: Writer,
) -> list[Buffer]:
    """Write the tensors that no row pairs: Paddle's by [paddle_only], what PyTorch computes.

    Args:
        side: The framework.
        model: The live model.
        table: Its rows.
        paired: Layers and bare tensors that rows pair.
        others: Tells whether no row claims a tensor, by key and value.
        writer: Gets the values of those that are not trained.

    Raises:
        ParityError: A pattern of [paddle_only] matches nothing in the model.
    """
    computed, state = side.buffers(model), side.state_of(model)
    if side.name == "torch":
        return [
            _write(key.rpartition(".")[0], key, tensor, table.ignored(key) or "", side, writer)
            for key, tensor in computed.items()
            if others(key, tensor)
        ]
    if not table.variants:  # a table of many variants describes more than one model has
        _check_patterns(table, state)
    layers, found = _layers(paired), []
    for key, tensor in state.items():
        reason = table.ignored(key, "paddle") or side.left_out(key)
        if reason is not None and others(key, tensor):
            layer, kept = _layer_of(key, layers), writer if key in computed else None
            found.append(_write(layer, key, tensor, reason, side, kept))
    return found


def _write(
    layer: str, key: str, tensor: Any, reason: str, side: AnySide, writer: Writer | None
) -> Buffer:
    """Describe a tensor, and write it as float32 where that loses nothing."""
    shape = tuple(map(int, tensor.shape))
    if writer is None:
        return Buffer(layer, key, shape, reason)
    array = side.array(tensor)
    array = narrowed(array) if array.dtype == np.float64 else array
    return Buffer(layer, key, shape, reason, writer.add(array))


def narrowed(array: np.ndarray) -> np.ndarray:
    """Return an array as float32, half as large, if it loses nothing."""
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array, equal_nan=True) else array


def _check_patterns(table: Table, state: Collection[str]) -> None:
    """Refuse patterns that match nothing."""
    unused = [
        f"{pattern}: the model has no such tensor."
        for pattern in table.paddle_only
        if not any(compile_pattern(pattern).fullmatch(key) for key in state)
    ]
    if unused:
        raise ParityError(
            listing(f"the Paddle model does not fit {table.file}, paddle_only:", unused)
        )


def _layers(paired: Sequence[Paired]) -> dict[str, str]:
    """Pair Paddle layers with PyTorch's: those of rows, and those around all that rows pair."""
    around = defaultdict[str, set[str]](set)
    for one in paired:
        around[one.own.rpartition(".")[0]].add(one.name.rpartition(".")[0])
    held = {own: next(iter(names)) for own, names in around.items() if len(names) == 1}
    return {**held, **{one.own: one.name for one in paired}, "": ""}


def _layer_of(key: str, layers: dict[str, str]) -> str:
    """Name the PyTorch layer that goes with the layer of a Paddle tensor."""
    owner = holder = key.rpartition(".")[0]
    while holder not in layers:
        holder = holder.rpartition(".")[0]
    rest = owner[len(holder) :].strip(".")
    return join(layers[holder], rest) if layers[holder] else rest


def compare_buffers(reference: Trace, candidate: Trace) -> tuple[Lone, ...]:
    """Compare what Paddle alone has with what the reference computes, if the candidate is Paddle's.

    Integers must be equal. Floats may differ by the float64 limit, or by the rounding of float32 if
    either table holds no more than float32. The shape may be another one of the same size.
    """
    if candidate.facts.framework != "paddle" or not candidate.facts.buffers:
        return ()
    partners = _partners(reference, candidate)
    return tuple(
        _compared(own, partners.get(own.own), reference, candidate)
        for own in candidate.facts.buffers
    )


def differing_buffers(reference: Trace, candidate: Trace) -> dict[str, list[str]]:
    """Say which tensors that Paddle alone has are not what PyTorch computes, by PyTorch layer."""
    found: dict[str, list[str]] = {}
    for lone in compare_buffers(reference, candidate):
        if lone.reference and lone.note:
            found.setdefault(lone.layer or candidate.facts.output, []).append(lone.note)
    return found


def _partners(reference: Trace, candidate: Trace) -> dict[str, Buffer]:
    """Find for tensors of Paddle those of PyTorch: of the same name, else the only alike ones."""
    there = [buffer for buffer in reference.facts.buffers if buffer.array is not None]
    mine = [buffer for buffer in candidate.facts.buffers if buffer.array is not None]
    found: dict[str, Buffer] = {}
    for own in mine:
        for scope in (_in(own.layer, there), _beneath(own.layer, there)):
            named = [one for one in scope if _last(one.own) == _last(own.own)]
            if len(named) == 1 and own.own not in found:
                found[own.own] = named[0]
    taken = {one.own for one in found.values()}
    alike = defaultdict[Any, list[Buffer]](list)
    for own in mine:
        if own.own not in found:
            alike[own.layer, _form(own, candidate)].append(own)
    for (layer, form), owns in alike.items():
        left = [one for one in there if one.own not in taken and _form(one, reference) == form]
        for scope in (_in(layer, left), _beneath(layer, left) if layer else []):
            if len(scope) == len(owns) == 1:
                found.setdefault(owns[0].own, scope[0])
    return found


def _in(layer: str, buffers: Sequence[Buffer]) -> list[Buffer]:
    return [one for one in buffers if one.layer == layer]


def _beneath(layer: str, buffers: Sequence[Buffer]) -> list[Buffer]:
    return [one for one in buffers if not layer or one.layer.startswith(f"{layer}.")]


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _form(buffer: Buffer, trace: Trace) -> tuple[int, bool]:
    """Give the size of a tensor, and whether it holds floats."""
    assert buffer.array is not None
    dtype = np.dtype(trace.arrays("buffers").dtype(buffer.array))
    return int(np.prod(buffer.shape, dtype=np.int64)), dtype.kind in "fc"


def _compared(own: Buffer, other: Buffer | None, reference: Trace, candidate: Trace) -> Lone:
    """Compare one tensor."""
    lone = Lone(own.own, own.layer, own.shape, own.reason)
    if other is None or other.array is None or own.array is None:
        return lone
    expected = reference.arrays("buffers")[other.array]
    found = candidate.arrays("buffers")[own.array]
    masks = [array.dtype.kind == "b" for array in (expected, found)]
    floats = [array.dtype.kind in "fc" for array in (expected, found)]
    if expected.size != found.size or (any(masks) and any(floats)):
        forms = [f"{array.dtype.name} {list(array.shape)}" for array in (expected, found)]
        note = (
            f"{reference.label}'s {_last(other.own)} is {forms[0]}, {candidate.label}'s {forms[1]}"
        )
        return Lone(own.own, own.layer, own.shape, own.reason, note=note)
    layer, name = other.layer, _last(own.own)
    theirs = "" if _last(other.own) == name else f" {_last(other.own)}"
    note = _apart(expected.reshape(-1), found.reshape(-1))
    note = note and f"its {name} differs from the reference's{theirs}{note}"
    return Lone(own.own, layer, own.shape, own.reason, other.own, note)


def _apart(expected: np.ndarray, found: np.ndarray) -> str:
    """Say in how many places two tensors of one size differ; nothing if they are equal."""
    unequal = (expected != found) & ~((expected != expected) & (found != found))
    if expected.dtype.kind in "fc" or found.dtype.kind in "fc":
        wide = all(array.dtype.name in ("float64", "complex128") for array in (expected, found))
        finite = np.isfinite(expected) & np.isfinite(found)
        scale = scale_of(expected[finite], found[finite]) or 1.0
        limit = (FLOAT64_LIMIT if wide else _FLOAT32_LIMIT) * scale
        close = np.zeros_like(unequal)
        close[finite] = np.abs(np.subtract(found[finite], expected[finite])) <= limit
        unequal &= ~close
    if not unequal.any():
        return ""
    first = int(unequal.argmax())
    values = f"{found[first]:.9g}, not {expected[first]:.9g}"
    if found.dtype.kind == "b":
        values = f"{found[first]}, not {expected[first]}"
    return f" in {int(unequal.sum())} of {found.size} places, first at {first}: {values}"
