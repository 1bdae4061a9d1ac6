"""Outline a model of your own: its layers, their tensors, and the order in which they run.

A worker process does this: it builds the model, fills it with seeded noise and runs it once.
"""

import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ParityError
from ...parity import Form, LiveCall, find_forms, watched
from ...running.process import Task, run
from ...running.setup import Setup, Subject, own_code, spell_fault
from ...running.side import AnySide, TorchSide, class_name, is_class, make_side
from ...sides import NAMES, SIDES, Side
from ...tables.kinds import Kind
from ...tables.reading import read_kinds
from ...terminal import Progress
from ._noise import calibrate, fill, is_constant
from ._unused import uses

Shape = tuple[int, ...]

SHARED = "a layer that has another name, too"  # in the place of its class


@dataclass(frozen=True)
class Leaf:
    """A tensor directly in a layer.

    Attributes:
        name: Without that of the layer.
        shape: As this framework lays it out.
        computed: Whether it takes no gradients and the model's own code fills it: a table or mask,
            not a statistic at its initial value. What holds integers or booleans is computed.
        integer: Whether it holds integers or booleans.
        start: The value that all its elements have when the model is built; None if they vary.
        used: Whether the output depends on it; None if that is not known.
    """

    name: str
    shape: Shape
    computed: bool = False
    integer: bool = False
    start: float | None = None
    used: bool | None = None

    @property
    def counts(self) -> bool:
        """Whether it says what layer this is: an index is computed from its sizes."""
        return not self.integer and self.used is not False


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
        alias: The first name of this layer, if this is another one of it.
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
    alias: str = ""


@dataclass(frozen=True)
class Outline:
    """What a model consists of and how it runs; `units` is in the order of registration."""

    framework: Side
    model: str
    version: str
    units: tuple[Unit, ...]


def outline_both(
    factories: Mapping[Side, str],
    size: tuple[int, int],
    pythons: Mapping[Side, str | None],
    state: Path,
    progress: Progress | None,
    kinds: Path | None = None,
) -> list[Outline]:
    """Outline both models, each in a process of its own.

    Args:
        factories: Functions that build the models, as "package.module:function".
        size: Height and width of the images that they run on.
        pythons: Interpreters.
        state: Becomes an .npz with the weights of the PyTorch model.
        progress: Called with a text, the amount done and the total.
        kinds: File with kinds of the user's own.

    Raises:
        RunError: A model cannot be built or run.
    """
    if progress is not None:
        progress("looking at both models", 0, 1)
    own = " ".join(factories[side] for side in SIDES)
    tasks = [
        Task(
            side,
            "vitconvert.apps.proposal._outline",
            {
                "framework": side,
                "factory": factories[side],
                "size": size,
                "state": str(state),
                "kinds": None if kinds is None else str(kinds),
            },
            pythons[side],
            own=own,
        )
        for side in SIDES
    ]
    return [_read(made) for made in run(tasks, lambda _side, _what: None)]


def _read(data: dict[str, Any]) -> Outline:
    """Make an outline of what came as JSON."""

    def shape(numbers: list[int]) -> Shape:
        return tuple(numbers)

    def unit(data: dict[str, Any]) -> Unit:
        leaves = tuple(Leaf(**leaf | {"shape": shape(leaf["shape"])}) for leaf in data["tensors"])
        numbers = {name: tuple(data[name]) for name in ("sources", "results")}
        outputs = tuple(map(shape, data["outputs"]))
        return Unit(**data | numbers | {"tensors": leaves, "outputs": outputs})

    return Outline(**data | {"units": tuple(map(unit, data["units"]))})


class _Watcher:
    """Notes in which order layers run, and which are given the same tensor.

    On the way each BatchNorm of PyTorch gets statistics that fit what it is given.
    """

    def __init__(self, side: AnySide, layers: Iterable[tuple[str, Any]]) -> None:
        self.side, self.layers = side, dict(layers)
        self.noise = np.random.Generator(np.random.Philox(key=2))
        self.facts: dict[str, dict[str, Any]] = {}
        self.ended = self.serial = 0
        self.known: dict[int, tuple[weakref.ref[Any], int, int]] = {}

    def around(self, call: LiveCall) -> Any:
        """Call a layer; only its first call is described, all are counted."""
        if call.number == 1:
            sources = [self._serial(x) for x in self._tensors([list(call.args), call.kwargs])]
            parent = (call.parent or "").partition("#")[0]
            entered = len(self.facts)
            self.facts[call.layer] = {"entered": entered, "parent": parent, "sources": sources}
            if self.side.name == "torch" and call.args:
                calibrate(self.side, self.layers[call.layer], call.args[0], self.noise)
        facts = self.facts[call.layer]
        facts["calls"] = call.number
        output = call.make()
        if call.number == 1:
            facts["left"], self.ended = self.ended, self.ended + 1
            facts["results"] = [self._serial(x) for x in self._tensors(output)]
            facts["outputs"] = [list(map(int, x.shape)) for x in self._tensors(output)]
        return output

    def _tensors(self, value: Any) -> Iterator[Any]:
        if self.side.is_tensor(value):
            yield value
        elif isinstance(value, list | tuple | dict):
            for part in value.values() if isinstance(value, dict) else value:
                yield from self._tensors(part)

    def _serial(self, tensor: Any) -> int:
        """Number a tensor; one that was changed in place meanwhile is another."""
        reference, version, serial = self.known.get(id(tensor), (None, -1, -1))
        if reference is None or reference() is not tensor or version != self.side.version(tensor):
            serial = self.serial = self.serial + 1
            self.known[id(tensor)] = (weakref.ref(tensor), self.side.version(tensor), serial)
        return serial


def carry_out(job: dict[str, Any], _parent: object) -> dict[str, Any]:
    """Build a model in float64, run it once on noise [2, 3, H, W], and give its outline as JSON.

    Raises:
        ModelError: The factory is not there or gives something else.
        ParityError: The model does not take such images.
    """
    framework, factory, size = job["framework"], job["factory"], job["size"]
    side, name = make_side(Setup(framework, Subject(factory), device="cpu")), NAMES[framework]
    if isinstance(side, TorchSide):
        side.library.manual_seed(0)
    images = np.random.Generator(np.random.Philox(key=0)).standard_normal((2, 3, *size))
    kinds = read_kinds(Path(job["kinds"]) if job["kinds"] else None)
    with side.floating("float64"), side.no_grad():
        model = side.build("float64")
        leaves = _leaves(side, model)
        # A layer that is registered under two names is described under the first one alone.
        first = {id(layer): own for own, layer in reversed([*side.layers(model)])}
        aliases = {own: first[id(layer)] for own, layer in side.layers(model)}
        layers = [(own, layer) for own, layer in side.layers(model) if aliases[own] == own]
        with own_code(framework):
            try:
                forms, ran = _watch(side, model, layers, images, kinds)
            except (ValueError, RuntimeError, AssertionError, TypeError) as error:
                raise ParityError(
                    f"the {name} model fails on images of {size[0]}x{size[1]} pixels: "
                    f"{spell_fault(error)}. --input-size gives another size."
                ) from error
        if isinstance(side, TorchSide):
            _save(side, model, Path(job["state"]))
    units = []
    for own, layer in [("", model), *layers]:
        cls, facts = _spell(layer, framework, kinds, forms), ran.get(own, {})
        units.append(Unit(own, cls, tuple(leaves.pop(own, ())), **facts))
    units += [
        Unit(own, SHARED, tuple(tensors), alias=aliases.get(own, ""))
        for own, tensors in leaves.items()
    ]
    del model, layers, first
    with side.floating("float64"):
        # Another one: what the first has computed from its weights it may keep.
        used = uses(side, side.build("float64"), images[:1])
    made = tuple(_marked(unit, used) for unit in units)
    return asdict(Outline(framework, factory, side.environment()[framework], made))


def _watch(
    side: AnySide,
    model: Any,
    layers: list[tuple[str, Any]],
    images: np.ndarray,
    kinds: Mapping[str, Kind],
) -> tuple[Mapping[int, Form], dict[str, dict[str, Any]]]:
    """Run a model, and give the forms of its layers and what each did, by name."""
    watcher = _Watcher(side, layers)
    trials = [(layer, kinds.values()) for _own, layer in layers]
    forms = find_forms(side, trials, lambda: model(side.put(images)))
    unmoved = {one: form.unmoved() for one, form in forms.items()}
    with watched(layers, watcher.around, unmoved):
        model(side.put(images))
    return forms, watcher.facts


def _leaves(side: AnySide, model: Any) -> dict[str, list[Leaf]]:
    """Describe the tensors by the name of their layer, and fill those of PyTorch."""
    trained = set(side.parameters(model))
    if side.name == "torch":  # under all names
        named = model.named_parameters(remove_duplicate=False)
        trained = {key for key, one in named if one.requires_grad}
    noise = np.random.Generator(np.random.Philox(key=1))
    leaves: dict[str, list[Leaf]] = {}
    for key, tensor in side.state_of(model).items():
        old = side.array(tensor)
        owner, _, name = key.rpartition(".")
        integer, constant = old.dtype.kind in "iub", is_constant(old)
        computed = key not in trained and (integer or not constant)
        start = float(old.flat[0]) if constant and old.size else None
        leaves.setdefault(owner, []).append(Leaf(name, old.shape, computed, integer, start))
        if side.name == "torch" and old.dtype.kind == "f" and not computed:
            side.set(tensor, fill(old, noise))
    return leaves


def _save(side: AnySide, model: Any, state: Path) -> None:
    """Save the tensors of the PyTorch model, as the float32 of a checkpoint."""
    # Read again: of tensors that share their memory the last one counts.
    arrays: dict[str, Any] = {k: side.array(v) for k, v in side.state_of(model).items()}
    floats = {k: v.astype(np.float32) for k, v in arrays.items() if v.dtype == np.float64}
    np.savez(state, **{**arrays, **floats})


def _marked(unit: Unit, used: dict[str, bool]) -> Unit:
    """Note which tensors of a layer the output depends on."""
    before = f"{unit.name}." if unit.name else ""
    leaves = (replace(leaf, used=used.get(before + leaf.name)) for leaf in unit.tensors)
    return replace(unit, tensors=tuple(leaves))


def _spell(layer: Any, side: Side, kinds: Mapping[str, Kind], forms: Mapping[int, Form]) -> str:
    """Name the class of a layer as the kinds do, or that of which it computes the function."""
    if form := forms.get(id(layer)):
        return form.base
    names = (name for kind in kinds.values() for name in kind.classes_on(side))
    return next((name for name in names if is_class(layer, [name])), class_name(layer))
