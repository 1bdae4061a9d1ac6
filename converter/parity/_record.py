"""Record what goes into the paired layers of a live model and what comes out."""

import inspect
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import ParityError
from ..running.side import AnySide
from ..tables.kinds import Kind
from ._trace import Call, Tree, Writer, call_key, to_tree


class Paired:
    """A layer of a live model that a row of the table describes."""

    def __init__(self, layer: Any, name: str, own: str, kind: Kind) -> None:
        self.layer = layer
        self.name = name  # in PyTorch
        self.own = own  # in this model
        self.kind = kind


@dataclass
class LiveCall:
    """A call of a watched layer, before it is made.

    Attributes:
        layer: Its name.
        number: 1 for the first call of the layer.
        parent: Key of the call whose code makes this one; None for the first of all.
        args: What the layer is given, by position where that can be.
        kwargs: The rest.
    """

    layer: str
    number: int
    parent: str | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    forward: Callable[..., Any]
    running: list[str]  # keys of the calls that have begun

    @property
    def key(self) -> str:
        """Name of the call: that of the layer, with a number behind it from the second on."""
        return call_key(self.layer, self.number)

    def make(self) -> Any:
        """Let the layer compute."""
        self.running.append(self.key)
        try:
            return self.forward(*self.args, **self.kwargs)
        finally:
            self.running.pop()


Around = Callable[[LiveCall], Any]  # makes the call, and gives what the caller gets


@contextmanager
def watched(layers: Sequence[tuple[str, Any]], around: Around) -> Iterator[Callable[..., Any]]:
    """Let every call of these layers go through `around`.

    The method itself is replaced, for the two frameworks' hooks differ in what they are shown.

    Yields:
        call(name, forward, *args, **kwargs), which sends a call of anything else the same way.
    """
    counts, running = Counter[str](), list[str]()

    def call(layer: str, forward: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        counts[layer] += 1
        parent = running[-1] if running else None
        args, kwargs = _by_position(forward, args, kwargs)
        return around(LiveCall(layer, counts[layer], parent, args, kwargs, forward, running))

    def replace(name: str, layer: Any) -> Callable[[], None]:
        own = vars(layer).get("forward")
        layer.forward = partial(call, name, layer.forward)

        def restore() -> None:
            if own is None:
                del layer.forward
            else:
                layer.forward = own

        return restore

    restorers = [replace(name, layer) for name, layer in layers]
    try:
        yield call
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
        # Tensors that are written and still alive: one layer's output is another's input.
        self.written: dict[int, tuple[weakref.ref[Any], tuple[int, bytes], int]] = {}

    def around(self, call: LiveCall) -> Any:
        """Make a call, and write down its inputs and outputs."""
        inputs = self._tree([list(call.args), call.kwargs]) if self.inputs else None
        output = call.make()
        self.calls.append(Call(call.layer, call.number, call.parent, inputs, self._tree(output)))
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


def _by_position(
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
