"""Record what goes into the paired layers of a live model and what comes out."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import ParityError
from ..running.side import AnySide
from ..sides import NAMES, Side
from ..tables.kinds import Kind, TensorRule
from ._arguments import Arguments
from ._distance import FLOAT64_LIMIT
from ._forms import Form, restore, same
from ._trace import Call, Writer, call_key, to_tree


@dataclass(frozen=True)
class Paired:
    """A layer of a live model that a row of the table describes."""

    layer: Any
    name: str  # in PyTorch
    own: str  # in this model
    kind: Kind
    form: Form | None = None  # how it computes, if it is not of the kind's class

    def tensors(self, side: Side) -> Iterator[tuple[str, str, TensorRule]]:
        """Yield each tensor that a side has: key in PyTorch, key in this model, rule."""
        for rule in self.kind.tensors:
            leaf = rule.name_on(side)
            if leaf is not None:
                keys = [
                    f"{a}.{b}" if b else a for a, b in ((self.name, rule.leaf), (self.own, leaf))
                ]
                yield keys[0], keys[1], rule


def as_in_torch(
    array: np.ndarray, rule: TensorRule, side: Side, sizes: Mapping[str, int], key: str
) -> np.ndarray:
    """Give a tensor of a live model as PyTorch lays it out.

    Raises:
        ParityError: The axes of its kind do not fit its shape.
    """
    if side == "torch" or rule.axes is None:
        return array
    axes = rule.axes.back()
    try:
        return axes.apply_array(array, sizes)
    except ValueError as error:
        shape = list(array.shape)
        raise ParityError(f"{key}: shape {shape} does not fit axes '{axes}': {error}.") from error


# Relative; by how much two ways to compute one layer in float32 may differ at most.
_FLOAT32_LIMIT = 1e-4
_UNWATCHED = ""  # among the keys of calls that have begun


@dataclass
class LiveCall:
    """A call of a watched layer, before it is made.

    Attributes:
        layer: Its name.
        number: 1 for the first call of the layer.
        parent: Key of the call whose code makes this one; None for the first of all.
        arguments: What the layer is given.
    """

    layer: str
    number: int
    parent: str | None
    arguments: Arguments
    forward: Callable[..., Any]
    running: list[str]  # keys of the calls that have begun

    @property
    def key(self) -> str:
        """Name of the call: that of the layer, with a number behind it from the second on."""
        return call_key(self.layer, self.number)

    @property
    def args(self) -> tuple[Any, ...]:
        """What the layer is given, by position where that can be."""
        return self.arguments.args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The rest."""
        return self.arguments.kwargs

    def make(self) -> Any:
        """Let the layer compute."""
        return self._make(self.arguments, self.key)

    def repeat(self, arguments: Arguments) -> Any:
        """Let it compute once more with other arguments; nobody watches the calls within."""
        return self._make(arguments, _UNWATCHED)

    def _make(self, arguments: Arguments, key: str) -> Any:
        self.running.append(key)
        try:
            return self.forward(*arguments.args, **arguments.kwargs)
        finally:
            self.running.pop()


Around = Callable[[LiveCall], Any]  # makes the call, and returns what the caller gets


# Hears of a layer with a form in parts: its name, what the parts give, and what it gives itself.
Beside = Callable[[str, Any, Any], None]


@contextmanager
def watched(
    layers: Sequence[tuple[str, Any]],
    around: Around,
    forms: Mapping[int, Form] | None = None,
    beside: Beside | None = None,
) -> Iterator[Callable[..., Any]]:
    """Let every call of these layers go through `around`.

    The method itself is replaced, for the two frameworks' hooks differ in what they are shown. If a
    layer has a form in parts, its base is what is called, and what follows runs behind that.

    Args:
        layers: Their names, and they themselves.
        around: Makes the call.
        forms: id of a layer -> how it computes, where that is known.
        beside: Hears of each layer with a form in parts. Its caller then gets what its own code
            gives, so that the model is what it is without being watched; else what the parts give.

    Yields:
        call(name, forward, *args, **kwargs), which sends a call of anything else the same way.
    """
    counts, running = Counter[str](), list[str]()

    def call(layer: str, forward: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if running and running[-1] == _UNWATCHED:
            return forward(*args, **kwargs)
        counts[layer] += 1
        parent = running[-1] if running else None
        arguments = Arguments(forward, args, kwargs)
        return around(LiveCall(layer, counts[layer], parent, arguments, forward, running))

    def both(
        layer: str,
        parted: Callable[..., Any],
        forward: Callable[..., Any],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if beside is None:
            return parted(*args, **kwargs)
        unwatched = bool(running) and running[-1] == _UNWATCHED
        made = None if unwatched else parted(*args, **kwargs)
        running.append(_UNWATCHED)
        try:
            given = forward(*args, **kwargs)
        finally:
            running.pop()
        if not unwatched:
            beside(layer, made, given)
        return given

    with ExitStack() as stack:
        for name, layer in layers:
            stack.callback(restore, layer, vars(layer).get("forward"))
            form, see = (forms or {}).get(id(layer)), partial(call, name)
            if form is not None and form.in_parts:
                layer.forward = partial(both, name, form.parted(see), layer.forward)
            else:
                layer.forward = partial(see, layer.forward)
        yield call


class Recorder:
    """Writes every call of the watched layers to a file, as they happen."""

    def __init__(
        self, side: AnySide, writer: Writer, tick: Callable[[], None], inputs: bool
    ) -> None:
        self.side, self.writer, self.tick, self.inputs = side, writer, tick, inputs
        self.calls: list[Call] = []
        # Tensors that are written and still alive: one layer's output is another's input.
        self.written: dict[int, tuple[weakref.ref[Any], tuple[int, bytes], int]] = {}

    def around(self, call: LiveCall) -> Any:
        """Make a call, and write down its inputs and outputs."""
        inputs, at_default = None, list[str]()
        if self.inputs:
            inputs = to_tree(call.arguments.values, self._put)
            at_default = call.arguments.at_default
        output = call.make()
        outputs = to_tree(output, self._put)
        self.calls.append(Call(call.layer, call.number, call.parent, inputs, outputs, at_default))
        self.tick()
        return output

    def beside(self, layer: str, parts: Any, own: Any) -> None:
        """Hear what the parts of a layer give, and what its own code gives.

        Raises:
            ParityError: It computes something else than when its form was found.
        """
        tensors = self.side.is_tensor(parts) and self.side.is_tensor(own)
        given, made = map(self.side.array, (own, parts)) if tensors else (None, None)
        limit = FLOAT64_LIMIT
        if given is not None and given.dtype != np.float64:
            limit = _FLOAT32_LIMIT
        if not same(given, made, limit):
            name = NAMES[self.side.name]
            raise ParityError(
                f"{layer}: the {name} layer does not compute in every call and precision what it "
                f"computes at first. Its class needs a kind of its own."
            )

    def _put(self, value: Any) -> int | None:
        """Write a tensor, unless that very tensor is there already."""
        if isinstance(value, np.ndarray):
            return self.writer.add(value)
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


def _sums(array: np.ndarray) -> bytes:
    """Sum up an array, and every other value of it: quicker than to write it once more."""
    with np.errstate(all="ignore"):
        half = array[..., ::2] if array.ndim else array
        sums = array.sum(dtype=np.float64), half.sum(dtype=np.float64)
    return np.array(sums).tobytes()
