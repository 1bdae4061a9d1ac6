"""Layers that compute what a class of a kind does without being of that class, found by trying.

A subclass may compute its base's function, or that and then layers of its own, or over the channels
of NCHW; a layer norm may be written out. The model runs once, and whenever such a layer is called,
what it gives is compared with what the class of the kind gives for the same input.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ..running.side import AnySide, class_name, find_class, is_class
from ..tables.kinds import Kind
from ._distance import FLOAT64_LIMIT, apart
from ._trace import Likeness

_Compute = Callable[..., Any]

_NORM = "layer_norm"  # the kind of which a layer may be written out
_EPSILONS = ("eps", "epsilon", "_epsilon", "variance_epsilon")  # what such a layer calls its own


@dataclass(frozen=True)
class Form:
    """How a layer computes what a class of a kind does.

    Attributes:
        own: Its class.
        base: The class of the kind.
        compute: What the base gives for an input.
        holder: The layer that has the kind's settings.
        move: Moves an axis of a tensor; None where `compute` takes the layer's input as it is. Else
            axis 1, the channels, goes to the end before it and comes back behind it.
        then: What follows, by name.
        rounded: Attribute of the layer that Paddle computes with as float32; empty if none.
        inherits: Whether its class is derived from that of the kind.
        runs: Whether the model runs the layer.
    """

    own: str
    base: str
    compute: _Compute
    holder: Any
    move: Callable[[Any, int, int], Any] | None = None
    then: Mapping[str, _Compute] = field(default_factory=dict)
    rounded: str = ""
    inherits: bool = True
    runs: bool = True

    @property
    def in_parts(self) -> bool:
        """Whether the base takes or gives something else than the layer."""
        return bool(self.move or self.then)

    def parted(self, see: _Compute) -> _Compute:
        """Give the layer's function in parts.

        Args:
            see: Makes the call of the base: it is called with what the base computes and with what
                that is given.
        """

        def forward(*args: Any, **kwargs: Any) -> Any:
            if self.move:
                args = self.move(args[0], 1, -1), *args[1:]
            made = see(self.compute, *args, **kwargs)
            if self.move:
                made = self.move(made, -1, 1)
            for follow in self.then.values():
                made = follow(made)
            return made

        return forward

    def unmoved(self) -> "Form":
        """Give the same form with the axes moved within what the base computes."""
        return replace(self, compute=replace(self, then={}).parted(_call), move=None)


def find_forms(
    side: AnySide, layers: Iterable[tuple[Any, Iterable[Kind]]], run: Callable[[], None]
) -> dict[int, Form]:
    """Find out how layers compute what a class of their kind does.

    Args:
        side: The framework.
        layers: Layers, each with the kinds that it may be of.
        run: Runs the model in float64; it is not called if there is nothing to find out.

    Returns:
        id of a layer -> how it computes. Layers of the very classes of their kinds are not there,
        nor are those that compute something else. A subclass that never runs counts as its base.
    """
    trials: dict[int, tuple[Any, list[Form]]] = {}
    for layer, kinds in layers:
        if forms := list(_possible(side, layer, list(kinds))):
            trials[id(layer)] = layer, forms
    if not trials:
        return {}
    ran = set[int]()

    def attempt(layer: Any, own: _Compute, /, *args: Any, **kwargs: Any) -> Any:
        forms = trials[id(layer)][1]
        made = [_attempt(side, form, args, kwargs) for form in forms]
        output = own(*args, **kwargs)
        ran.add(id(layer))
        given = side.array(output) if side.is_tensor(output) else None
        forms[:] = [form for form, one in zip(forms, made, strict=True) if same(given, one)]
        return output

    with ExitStack() as stack:
        for layer, forms in trials.values():
            if attribute := forms[0].rounded:
                stack.callback(setattr, layer, attribute, getattr(layer, attribute))
                round_setting(layer, attribute)
            stack.callback(restore, layer, vars(layer).get("forward"))
            layer.forward = partial(attempt, layer, layer.forward)
        run()
    found = {i: forms[0] for i, (_layer, forms) in trials.items() if forms}
    never = {i: replace(form, runs=False) for i, form in found.items() if i not in ran}
    return {i: form for i, form in {**found, **never}.items() if form.runs or form.inherits}


def is_none(side: AnySide, layer: Any, names: tuple[str, str, Kind]) -> bool:
    """Tell whether a variant has nothing where others have a layer: what hands on its input.

    If the other side's model has a layer there, it will be missing here. What a target has apart
    is nothing on either side.
    """
    _torch, paddle, kind = names
    if not kind.tensors and side.target is not None and side.target.is_apart(paddle):
        return True
    classes = kind.classes_on(side.name)
    nothing = is_class(layer, [f"{side.name}.nn.Identity"])
    return nothing and bool(classes) and not is_class(layer, classes)


def describe_forms(forms: Iterable[Form]) -> list[Likeness]:
    """Count the layers of each class and form."""
    found = Counter(
        (one.own, one.base, one.move is not None, tuple(one.then), one.runs) for one in forms
    )
    return [Likeness(*facts, layers) for facts, layers in found.items()]


def restore(layer: Any, own: _Compute | None) -> None:
    """Give a layer back its method: one of its own, or that of its class."""
    if own is None:
        del layer.forward
    else:
        layer.forward = own


def round_setting(layer: Any, attribute: str) -> None:
    """Let a layer compute with a setting as Paddle does, which has it as float32."""
    setattr(layer, attribute, float(np.float32(getattr(layer, attribute))))


def _possible(side: AnySide, layer: Any, kinds: list[Kind]) -> Iterator[Form]:
    """Give the forms that a layer may have, the first of which is taken if several hold."""
    by_class = {name: kind for kind in reversed(kinds) for name in kind.classes_on(side.name)}
    if layer is None or is_class(layer, by_class):
        yield from _activated(side, layer)
        return
    classes = {find_class(name): name for name in by_class}
    base: Any = next((one for one in type(layer).__mro__ if one in classes), None)
    if base is None:
        if norm := next((kind for kind in kinds if kind.name == _NORM), None):
            yield from _written_out(side, layer, norm)
        return
    kind = by_class[classes[base]]
    if not _tensors(side, layer) <= {rule.name_on(side.name) for rule in kind.tensors}:
        return
    compute, rounded = partial(base.forward, layer), kind.float32.get(side.name, "")
    plain = Form(class_name(layer), classes[base], compute, layer, rounded=rounded)
    within = {name: one for name, one in side.layers(layer) if "." not in name}
    for then in ([within] if within else []) + [{}]:
        for move in (None, side.library.moveaxis):
            yield replace(plain, then=then, move=move)


def _activated(side: AnySide, layer: Any) -> Iterator[Form]:
    """Give the form of Paddle's old BatchNorm, which applies an activation by its name."""
    name = "paddle.nn.BatchNorm"
    act = getattr(layer, "_act", None)
    if not isinstance(act, str) or not is_class(layer, [name]):
        return
    follow = getattr(side.library.nn.functional, act, None)
    if follow is None:
        return

    def without(*args: Any) -> Any:
        layer._act = None
        try:
            return type(layer).forward(layer, *args)
        finally:
            layer._act = act

    yield Form(f"{name}(act={act!r})", name, without, layer, then={act: follow}, rounded="_epsilon")


def _written_out(side: AnySide, layer: Any, kind: Kind) -> Iterator[Form]:
    """Give the forms of a layer with the tensors and the epsilon of a layer norm."""
    epsilon = next((n for n in _EPSILONS if isinstance(vars(layer).get(n), float)), "")
    if not epsilon or next(side.layers(layer), None):
        return
    if _tensors(side, layer) != {"weight", "bias"} or len(layer.weight.shape) != 1:
        return
    shape = [int(size) for size in layer.weight.shape]
    nn = side.library.nn

    def compute(x: Any) -> Any:
        weights = layer.weight, layer.bias
        return nn.functional.layer_norm(x, shape, *weights, getattr(layer, epsilon))

    holder = nn.LayerNorm(shape, getattr(layer, epsilon))  # of which the settings are read
    holder.training = layer.training
    base = kind.classes_on(side.name)[0]
    plain = Form(class_name(layer), base, compute, holder, rounded=epsilon, inherits=False)
    yield plain
    yield replace(plain, move=side.library.moveaxis)


def _tensors(side: AnySide, layer: Any) -> set[str]:
    """Name the tensors directly in a layer."""
    return {key for key in side.state_of(layer) if "." not in key}


def _call(compute: _Compute, /, *args: Any, **kwargs: Any) -> Any:
    return compute(*args, **kwargs)


def _attempt(side: AnySide, form: Form, args: Any, kwargs: Any) -> np.ndarray | None:
    """Compute what a layer would give if it had a form; None if it cannot have it."""
    try:
        made = form.parted(_call)(*args, **kwargs)
    except Exception:  # whatever a framework raises: what fails is not of this form
        return None
    return side.array(made).copy() if side.is_tensor(made) else None


def same(given: np.ndarray | None, made: np.ndarray | None, limit: float = FLOAT64_LIMIT) -> bool:
    """Tell whether a layer gave what it was expected to give, within a relative limit."""
    if given is None or made is None or (given.shape, given.dtype) != (made.shape, made.dtype):
        return False
    return apart(given, made).difference <= limit
