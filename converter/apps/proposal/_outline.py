"""Outline a model of the user's: its layers, their tensors, and the order in which they run.

This is a program of its own, run as `python -m vitconvert.apps.proposal._outline FRAMEWORK FACTORY
HEIGHT WIDTH OUT STATE`. It imports one framework, fills the model with seeded noise and runs it
once. OUT becomes the outline as JSON; STATE, of PyTorch alone, an .npz with the weights. The exit
status of a foreseeable failure is 3, and the reason is the last line on stdout.
"""

import json
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ModelError, ParityError, VitconvertError
from ...parity import watched
from ...running.job import FAILURE, call_factory
from ...running.worker import end_with_parent, is_class, tell
from ...sides import Side
from ...tables.kinds import Kind
from ...tables.reading import read_kinds

Shape = tuple[int, ...]

SHARED = "a layer that has another name, too"  # in the place of its class


@dataclass(frozen=True)
class Leaf:
    """A tensor directly in a layer.

    Attributes:
        name: Without that of the layer.
        shape: As this framework lays it out.
        trained: Whether it is a parameter that takes gradients.
        computed: Whether it is not trained and holds values that the model itself came with: a
            table or mask, not a statistic that is still at its beginning.
    """

    name: str
    shape: Shape
    trained: bool = True
    computed: bool = False


@dataclass(frozen=True)
class Unit:
    """A layer of a live model; the whole model has the name "".

    Attributes:
        name: Its name in this model.
        cls: Its class, spelled as in _kinds.toml if it is one of those.
        tensors: What is directly in it.
        calls: How often it runs.
        entered: Place of its first call among all calls by their beginning; None if it never runs.
        left: The same by their end.
        parent: The layer whose code makes the first call.
        sources: A number for each tensor that the first call is given, the same for the same one.
        results: The same for each tensor that it gives.
        outputs: Their shapes.
    """

    name: str
    cls: str
    tensors: tuple[Leaf, ...] = ()
    calls: int = 0
    entered: int | None = None
    left: int | None = None
    parent: str = ""
    sources: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    outputs: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class Outline:
    """What a model consists of and how it runs; `units` is in the order of registration."""

    framework: Side
    model: str
    version: str
    units: tuple[Unit, ...]


def read_outline(path: Path) -> Outline:
    """Read what the program wrote."""

    def shape(numbers: list[int]) -> Shape:
        return tuple(numbers)

    def unit(data: dict[str, Any]) -> Unit:
        leaves = tuple(Leaf(**leaf | {"shape": shape(leaf["shape"])}) for leaf in data["tensors"])
        numbers = {name: tuple(data[name]) for name in ("sources", "results")}
        outputs = tuple(map(shape, data["outputs"]))
        return Unit(**data | numbers | {"tensors": leaves, "outputs": outputs})

    data = json.loads(path.read_text(encoding="utf-8"))
    return Outline(**data | {"units": tuple(map(unit, data["units"]))})


class _Watcher:
    """Notes in which order layers run, and which are given the same tensor."""

    def __init__(self, version: Callable[[Any], int], is_tensor: Callable[[Any], bool]) -> None:
        self.version, self.is_tensor = version, is_tensor
        self.facts: dict[str, dict[str, Any]] = {}
        self.running: list[str] = []
        self.ended = self.serial = 0
        self.known: dict[int, tuple[weakref.ref[Any], int, int]] = {}

    def around(
        self,
        name: str,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call a layer; only its first call is described, all are counted."""
        is_first = name not in self.facts
        if is_first:
            sources = [self._serial(x) for x in self._tensors([list(args), kwargs])]
            parent = self.running[-1] if self.running else ""
            about = {"entered": len(self.facts), "parent": parent, "sources": sources, "calls": 0}
            self.facts[name] = about
        facts = self.facts[name]
        facts["calls"] += 1
        self.running.append(name)
        try:
            output = forward(*args, **kwargs)
        finally:
            self.running.pop()
        if is_first:
            facts["left"], self.ended = self.ended, self.ended + 1
            facts["results"] = [self._serial(x) for x in self._tensors(output)]
            facts["outputs"] = [list(map(int, x.shape)) for x in self._tensors(output)]
        return output

    def _tensors(self, value: Any) -> Iterator[Any]:
        if self.is_tensor(value):
            yield value
        elif isinstance(value, list | tuple | dict):
            for part in value.values() if isinstance(value, dict) else value:
                yield from self._tensors(part)

    def _serial(self, tensor: Any) -> int:
        """Number a tensor; one that was changed in place meanwhile is another."""
        reference, version, serial = self.known.get(id(tensor), (None, -1, -1))
        if reference is None or reference() is not tensor or version != self.version(tensor):
            serial = self.serial = self.serial + 1
            self.known[id(tensor)] = (weakref.ref(tensor), self.version(tensor), serial)
        return serial


def outline(framework: Side, factory: str, size: tuple[int, int], state: Path) -> Outline:
    """Build a model in float64, run it once on noise [2, 3, H, W], and describe it.

    Raises:
        ModelError: The factory is not there or gives something else.
        ParityError: The model does not take such images.
    """
    make = _torch if framework == "torch" else _paddle
    library, model, leaves, watcher, layers = make(factory, state)
    images = np.random.Generator(np.random.Philox(key=0)).standard_normal((2, 3, *size))
    put = library.from_numpy if framework == "torch" else library.to_tensor
    try:
        with library.no_grad(), watched(layers, watcher.around):
            model(put(images))
    except ValueError as error:
        raise ParityError(f"the {framework} model does not take these images: {error}") from error
    except RuntimeError as error:
        raise ParityError(f"the {framework} model fails on {size} images: {error}") from error
    kinds = list(read_kinds().values())
    units = [
        Unit(name, _spell(layer, kinds, framework), tuple(leaves.pop(name, ())), **facts)
        for name, layer in [("", model), *layers]
        for facts in [watcher.facts.get(name, {})]
    ]
    # A layer that is registered under two names is described under the first one alone.
    units += [Unit(name, SHARED, tuple(tensors)) for name, tensors in leaves.items()]
    return Outline(framework, factory, library.__version__, tuple(units))


def _torch(factory: str, state: Path) -> tuple[Any, ...]:
    """Build the PyTorch model, fill it and save what it was filled with."""
    import torch

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    model = _checked(call_factory(factory), torch.nn.Module, factory).to(torch.float64).eval()
    trained = {n for n, p in model.named_parameters(remove_duplicate=False) if p.requires_grad}
    noise = np.random.Generator(np.random.Philox(key=1))
    leaves: dict[str, list[Leaf]] = {}
    for key, tensor in model.state_dict().items():
        old = tensor.detach().cpu().numpy()
        owner, _, name = key.rpartition(".")
        computed = key not in trained and not _is_constant(old)
        leaves.setdefault(owner, []).append(Leaf(name, old.shape, key in trained, computed))
        if tensor.is_floating_point() and not computed:
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(_fill(old, noise)))
    # Read again: of tensors that share their memory the last one counts.
    arrays = {k: v.detach().cpu().numpy() for k, v in model.state_dict().items()}
    floats = {k: v.astype(np.float32) for k, v in arrays.items() if v.dtype == np.float64}
    np.savez(state, **{key: floats.get(key, array) for key, array in arrays.items()})
    layers = [(name, layer) for name, layer in model.named_modules() if name]
    watcher = _Watcher(lambda t: int(t._version), lambda value: isinstance(value, torch.Tensor))
    return torch, model, leaves, watcher, layers


def _paddle(factory: str, _state: Path) -> tuple[Any, ...]:
    """Build the Paddle model; its weights are of no interest."""
    import paddle as installed

    paddle: Any = installed
    paddle.set_device("cpu")
    paddle.set_default_dtype("float64")
    model = _checked(call_factory(factory), paddle.nn.Layer, factory)

    def cast(tensor: Any, device: Any, dtype: Any, blocking: Any) -> Any:
        if not tensor.is_floating_point():
            return tensor
        return model._transform(tensor, device, dtype, blocking)

    model._apply(cast, None, "float64", None, True)  # Layer.to would cast integers, too
    model.eval()
    trained = {name for name, p in model.named_parameters() if not p.stop_gradient}
    leaves: dict[str, list[Leaf]] = {}
    for key, tensor in model.state_dict().items():
        owner, _, name = key.rpartition(".")
        computed = key not in trained and not _is_constant(tensor.numpy())
        leaf = Leaf(name, tuple(tensor.shape), key in trained, computed)
        leaves.setdefault(owner, []).append(leaf)
    watcher = _Watcher(
        lambda t: int(t.inplace_version), lambda value: isinstance(value, paddle.Tensor)
    )
    return paddle, model, leaves, watcher, list(model.named_sublayers())


def _checked(model: Any, expected: type, factory: str) -> Any:
    if not isinstance(model, expected):
        raise ModelError(f"{factory} gives a {type(model).__name__}; expected a {expected}.")
    return model


def _is_constant(array: np.ndarray) -> bool:
    return bool(array.size == 0 or (array == array.flat[0]).all())


def _fill(old: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    """Make noise for a tensor: never zeros or ones, of a size that lets a deep model stay finite.

    What begins at a value, as a variance or the weight of a norm at 1, stays about there and keeps
    its sign.
    """
    start = float(old.flat[0]) if old.size and _is_constant(old) else None
    if old.ndim > 1 and (start is None or start <= 0):
        fan_in = float(np.prod(old.shape[1:]))
        return np.asarray(noise.standard_normal(old.shape) * fan_in**-0.5)
    if start == 0:
        return np.asarray(noise.standard_normal(old.shape) * 0.2)
    base = old if start is None else np.copysign(max(abs(start), 0.2), start)
    return np.asarray(base * noise.uniform(0.5, 1.5, old.shape))


def _spell(layer: Any, kinds: list[Kind], side: Side) -> str:
    """Name the class of a layer as the kinds do."""
    spelled = (k.class_on(side) for k in kinds if k.class_on(side))
    own = f"{type(layer).__module__}.{type(layer).__qualname__}"
    return next((name for name in spelled if is_class(layer, name)), own)


def main(framework: Side, factory: str, height: str, width: str, out: str, state: str) -> None:
    """Write the outline of one model."""
    # Frameworks print to stdout as they please; the reason of a failure gets one of its own.
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    end_with_parent()
    try:
        made = outline(framework, factory, (int(height), int(width)), Path(state))
    except (VitconvertError, OSError, MemoryError) as error:
        tell(say, str(error) or "out of memory")
        sys.exit(FAILURE)
    Path(out).write_text(json.dumps(asdict(made)), encoding="utf-8")


if __name__ == "__main__":
    side, *rest = sys.argv[1:]
    main("torch" if side == "torch" else "paddle", *rest)
