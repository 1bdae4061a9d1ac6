"""Record what goes into the paired layers of a live model and what comes out."""

import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import ParityError
from ..running.side import AnySide
from ..tables.kinds import Kind
from ._trace import Call, Tree, Writer, to_tree

Around = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class Paired:
    """A layer of a live model that a row of the table describes."""

    def __init__(self, layer: Any, name: str, own: str, kind: Kind) -> None:
        self.layer = layer
        self.name = name  # in PyTorch
        self.own = own  # in this model
        self.kind = kind


@contextmanager
def watched(layers: Sequence[tuple[str, Any]], around: Around) -> Iterator[None]:
    """Let every call of these layers go through `around(name, forward, args, kwargs)`.

    The method itself is replaced, for the two frameworks' hooks differ in what they are shown.
    """

    def replace(name: str, layer: Any) -> Callable[[], None]:
        own = vars(layer).get("forward")
        forward = layer.forward

        def forward_watched(*args: Any, **kwargs: Any) -> Any:
            return around(name, forward, args, kwargs)

        def restore() -> None:
            if own is None:
                del layer.forward
            else:
                layer.forward = own

        layer.forward = forward_watched
        return restore

    restorers = [replace(name, layer) for name, layer in layers]
    try:
        yield
    finally:
        for restore in restorers:
            restore()


class Recorder:
    """Writes every call of the watched layers to a file, as they happen."""

    def __init__(
        self,
        side: AnySide,
        writer: Writer,
        tick: Callable[[], None],
        inputs: bool,
    ) -> None:
        self.side, self.writer, self.tick, self.inputs = side, writer, tick, inputs
        self.calls: list[Call] = []
        self.counts: dict[str, int] = {}
        self.running: list[str] = []
        # Tensors that are written and still alive: one layer's output is another's input.
        self.written: dict[int, tuple[weakref.ref[Any], tuple[int, bytes], int]] = {}

    def around(
        self,
        layer: str,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call a layer and write down its inputs and outputs."""
        number = self.counts[layer] = self.counts.get(layer, 0) + 1
        parent = self.running[-1] if self.running else None
        key = Call(layer, number, parent, None, None).key
        args, kwargs = normal(forward, args, kwargs)
        inputs = self._tree([list(args), kwargs]) if self.inputs else None
        self.running.append(key)
        try:
            output = forward(*args, **kwargs)
        finally:
            self.running.pop()
        self.calls.append(Call(layer, number, parent, inputs, self._tree(output)))
        self.tick()
        return output

    def _tree(self, value: Any) -> Tree:
        return to_tree(value, self._put)

    def _put(self, value: Any) -> int | None:
        """Write a tensor, unless that very tensor is there already."""
        if isinstance(value, np.ndarray | np.generic):
            return self.writer.add(np.asarray(value))
        if not self.side.is_tensor(value):
            return None
        array = self.side.array(value)
        if array.dtype.kind not in "fiub":
            raise ParityError(f"a layer takes or gives {array.dtype}, which cannot be compared.")
        # The count of changes misses some, those of torch's `.data` for one: a sum does not.
        state = self.side.version(value), _sums(array)
        if (known := self.written.get(id(value))) is not None:
            reference, at_state, index = known
            if reference() is value and at_state == state:
                return index
        index = self.writer.add(array)
        self.written[id(value)] = (weakref.ref(value), state, index)
        return index


def normal(
    forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give arguments by position where they can be: with or without a name they are the same."""
    try:
        bound = inspect.signature(forward).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return args, kwargs
    return bound.args, bound.kwargs


def _sums(array: np.ndarray) -> bytes:
    """Sum up an array, and every other value of it: quicker than to write it once more."""
    with np.errstate(all="ignore"):
        half = array[..., ::2] if array.ndim else array
        sums = array.sum(dtype=np.float64), half.sum(dtype=np.float64)
    return np.array(sums).tobytes()
