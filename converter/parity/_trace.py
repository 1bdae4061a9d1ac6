"""Traces: what one model did with one input, on disk. Reading and writing one needs NumPy alone.

A trace is a folder: `trace.json`, and for every run (float64, float32) one file with the arrays
that went into the paired layers and came out of them, in the order of execution. Further files hold
the weights, and what else was asked for.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from ..errors import ParityError
from ._distance import Finding

FORMAT = 3
DTYPES = ("float64", "float32")
TRACE_JSON = "trace.json"  # it appears last
INPUT = "input.npy"
TRAINING = "training: "  # before the key of a gradient, if norms were in training mode

# What a layer is called with, or gives: a plain value, {"array": index}, a list of trees,
# {"dict": {name: tree}}, or {"other": class} for what cannot be written down.
Tree = Any


@dataclass(frozen=True)
class Call:
    """One call of a paired layer; `layer` is the PyTorch name on both sides."""

    layer: str
    number: int  # 1 for the first call of the layer
    parent: str | None  # key of the call whose code makes this one; None for the whole model
    inputs: Tree  # a dict of all parameters; None where inputs are not asked for
    outputs: Tree
    at_default: Sequence[str] = ()  # parameters that have their default

    @property
    def key(self) -> str:
        """Name of the call."""
        return call_key(self.layer, self.number)


def call_key(layer: str, number: int) -> str:
    """Name a call: as the layer, with a number behind it from the second on."""
    return layer if number == 1 else f"{layer}#{number}"


class Arrays:
    """A file of arrays, one behind the other."""

    def __init__(self, path: Path, places: list[list[Any]]) -> None:
        self.path = path
        self.places = places  # of each array: offset, shape, dtype

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of one array."""
        return tuple(self.places[index][1])

    def dtype(self, index: int) -> str:
        """Return the dtype of one array."""
        return str(self.places[index][2])

    def __getitem__(self, index: int) -> np.ndarray:
        offset, shape, dtype = self.places[index]
        count = int(np.prod(shape, dtype=np.int64))
        try:
            data = np.fromfile(self.path, dtype, count, offset=offset)
        except OSError as error:
            reason = error.strerror or error
            raise ParityError(f"{self.path}: {reason}. Make the trace again.") from error
        if data.size != count:
            raise ParityError(f"{self.path}: is cut short. Make the trace again.")
        return data.reshape(shape)


class Writer:
    """Appends arrays to a file; they are on their way to the disk, not in memory."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.arrays = Arrays(path, [])

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, array: np.ndarray) -> int:
        """Write an array and give its index."""
        self.arrays.places.append([self.file.tell(), list(array.shape), array.dtype.name])
        self.file.write(np.ascontiguousarray(array).data)
        return len(self.arrays.places) - 1


@dataclass(frozen=True)
class Run:
    """What one forward pass did, by key of the call, in the order in which calls ended."""

    calls: Mapping[str, Call]
    arrays: Arrays


@dataclass(frozen=True)
class Layer:
    """A paired layer of one model.

    Attributes:
        own: Its name in this model.
        kind: Kind of its row.
        settings: What must agree with the other side, by name.
        limit: Relative float64 difference that is allowed; None for that of all others.
        backward_limit: The same of gradients.
        traced: Whether its calls are in the trace.
        spelled: How this framework calls a setting that it counts otherwise, with its value.
        idle: Settings that change nothing here, such as a pool's way to count padding of 0.
    """

    own: str
    kind: str
    settings: Mapping[str, Any]
    limit: float | None = None
    backward_limit: float | None = None
    traced: bool = True
    spelled: Mapping[str, str] = field(default_factory=dict)
    idle: Sequence[str] = ()


@dataclass(frozen=True)
class Weight:
    """A tensor of the model, as PyTorch lays it out.

    Attributes:
        layer: PyTorch name of its layer.
        own: Its key in this model.
        array: Its place in the file.
        turned: Whether Paddle has its axes exchanged.
    """

    layer: str
    own: str
    array: int
    turned: bool = False


@dataclass(frozen=True)
class Likeness:
    """A class that computes what a class of a kind does, as was checked on its own inputs.

    Attributes:
        own: The class.
        base: That of the kind.
        channels: Whether it computes that over axis 1, the channels of NCHW.
        then: What follows, by name.
        runs: Whether the model runs such layers; if not, nothing was checked.
        layers: How many are of this class.
    """

    own: str
    base: str
    channels: bool
    then: tuple[str, ...]
    runs: bool
    layers: int

    def spell(self) -> str:
        """Say it in one line."""
        count = f"({self.layers} layer{'s' * (self.layers > 1)})"
        if not self.runs:
            return f"{self.own} never runs and counts as {self.base} {count}"
        over = " over the channels of NCHW" if self.channels else ""
        then = f", then {' and '.join(self.then)}" if self.then else ""
        what = f"{self.own} computes what {self.base} does{over}{then}"
        return f"{what}, checked on its own input {count}"


@dataclass(frozen=True)
class Buffer:
    """A tensor of the model that no row claims.

    Attributes:
        layer: PyTorch name of the layer that it is in, or beneath, as far as rows pair it; empty
            for the whole model.
        own: Its key in this model.
        shape: Its shape in this model.
        reason: Why the other side has none; empty if no entry of the table names it.
        array: Its place in the file; None for a trained one, which no code computes.
    """

    layer: str
    own: str
    shape: tuple[int, ...]
    reason: str = ""
    array: int | None = None


@dataclass
class Facts:
    """What `trace.json` says; all but the arrays themselves."""

    framework: str
    model: str
    output: str  # name of what the whole model gives
    environment: dict[str, Any]
    checkpoint: dict[str, Any]
    input: dict[str, Any]
    layers: dict[str, Layer]  # by PyTorch name
    weights: dict[str, Weight] = field(default_factory=dict)  # by PyTorch key
    buffers: list[Buffer] = field(default_factory=list)  # what no row claims
    runs: dict[str, list[Call]] = field(default_factory=dict)
    places: dict[str, list[list[Any]]] = field(default_factory=dict)  # name of the file -> arrays
    forms: list[Likeness] = field(default_factory=list)
    alone: dict[str, Finding] | None = None
    gradients: dict[str, int] | None = None  # PyTorch key, or "input" -> array
    training: dict[str, dict[str, Any]] | None = None  # norm -> what one step did to it
    alone_against: str = ""  # id of the trace whose inputs each layer alone was given
    parameters: int = 0  # trained numbers
    further_inputs: list[dict[str, Any]] = field(default_factory=list)
    further: dict[str, list[Call]] = field(default_factory=dict)  # dtype -> output of each of them
    id: str = field(default_factory=lambda: uuid4().hex)
    format: int = FORMAT


class Trace:
    """A trace folder: facts at once, arrays on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = _read_facts(folder)
        # Names this side for people.
        self.label = {"paddle": "Paddle"}.get(self.facts.framework, self.facts.framework)
        self.runs = {
            dtype: Run({call.key: call for call in calls}, self.arrays(dtype))
            for dtype, calls in self.facts.runs.items()
        }

    def arrays(self, name: str) -> Arrays:
        """Return one of the files with arrays."""
        return Arrays(self.folder / f"{name}.bin", self.facts.places[name])

    def with_further(self, number: int) -> "Trace":
        """Return what the whole model made of a further input, as a trace of that output alone."""
        facts, seen = self.facts, copy(self)
        output = replace(facts.layers[facts.output], settings={})
        seen.facts = replace(
            facts,
            input=facts.further_inputs[number],
            layers={facts.output: output},
            weights={},
            alone=None,
        )
        seen.runs = {
            dtype: Run({facts.output: calls[number]}, self.arrays(f"further {dtype}"))
            for dtype, calls in facts.further.items()
        }
        return seen


def write_facts(folder: Path, facts: Facts) -> None:
    """Write trace.json, in one step: whoever waits for the file finds it whole."""
    part = folder / f"{TRACE_JSON}.part"
    part.write_text(json.dumps(asdict(facts)), encoding="utf-8")
    part.replace(folder / TRACE_JSON)


def _read_facts(folder: Path) -> Facts:
    """Read trace.json.

    Raises:
        ParityError: The folder is not a trace, or of another release.
    """
    try:
        data = json.loads((folder / TRACE_JSON).read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ParityError(
                f"{folder}: is a trace of format {data['format']}; this release reads format "
                f"{FORMAT}. Make it again with `vitconvert dump`."
            )
        facts = Facts(**data)
        facts.layers = {name: Layer(**layer) for name, layer in data["layers"].items()}
        facts.weights = {key: Weight(**weight) for key, weight in data["weights"].items()}
        facts.buffers = [
            Buffer(**buffer | {"shape": tuple(buffer["shape"])})
            for buffer in data.get("buffers", [])
        ]
        facts.runs = {d: [Call(**call) for call in data["runs"][d]] for d in data["runs"]}
        facts.forms = [Likeness(**f | {"then": tuple(f["then"])}) for f in data.get("forms", ())]
        if not facts.runs or set(facts.runs) - set(DTYPES):
            raise ValueError(f"it has the runs {sorted(facts.runs)}")
        if data["alone"] is not None:
            facts.alone = {
                key: Finding(**finding | {"index": tuple(finding["index"])})
                for key, finding in data["alone"].items()
            }
        further = data.get("further", {})
        facts.further = {d: [Call(**call) for call in further[d]] for d in further}
    except FileNotFoundError as error:
        raise ParityError(
            f"{folder}: is not a readable trace, it has no {TRACE_JSON}. Expected a folder that "
            f"`vitconvert dump` made."
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ParityError(
            f"{folder}: is not a readable trace ({type(error).__name__}: {error}). "
            f"Expected a folder that `vitconvert dump` made."
        ) from error
    return facts


def describe_input(facts: dict[str, Any]) -> str:
    """Say in a few words what a model was given."""
    shape = "x".join(map(str, facts.get("shape", ())))
    origin = facts.get("file", "seeded noise" if "noise" in facts else "")
    return f"{shape} {origin}, sha256 {str(facts['sha256'])[:12]}"


def spell_tree(tree: Tree, spell: Callable[[Tree], str]) -> str:
    """Spell how a tree is nested, and its leaves as `spell` does."""
    if isinstance(tree, list):
        return "(" + ", ".join(spell_tree(part, spell) for part in tree) + ")"
    if isinstance(tree, dict) and "dict" in tree:
        parts = (f"{name}={spell_tree(part, spell)}" for name, part in tree["dict"].items())
        return "{" + ", ".join(parts) + "}"
    return spell(tree)


def leaves(tree: Tree) -> Iterator[Tree]:
    """Yield the arrays and plain values of a tree, in order."""
    return (leaf for _, leaf in named_leaves(tree))


def named_leaves(tree: Tree, name: str = "") -> Iterator[tuple[str, Tree]]:
    """Yield where each array and plain value lies, ".logits" for one, and what it is, in order."""
    if isinstance(tree, list):
        for part in tree:
            yield from named_leaves(part, name)
    elif isinstance(tree, dict) and "dict" in tree:
        for key, part in tree["dict"].items():
            yield from named_leaves(part, f"{name}.{key}")
    else:
        yield name, tree


def array_of(leaf: Tree) -> int | None:
    """Return the index of a leaf that is an array, or None."""
    return leaf.get("array") if isinstance(leaf, dict) else None


def named_fields(value: Any) -> tuple[str, ...] | None:
    """Return the names in a named tuple; None for anything else."""
    return getattr(value, "_fields", None) if isinstance(value, tuple) else None


def to_tree(value: Any, put: Callable[[Any], int | None]) -> Tree:
    """Write down what a layer is called with, or gives.

    Args:
        value: Tensors and plain values, in tuples, lists and dicts.
        put: Stores a tensor and gives its index; None for what is not a tensor.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if (fields_of := named_fields(value)) is not None:
        value = dict(zip(fields_of, value, strict=True))
    if isinstance(value, list | tuple):
        return [to_tree(part, put) for part in value]
    if isinstance(value, dict):
        return {"dict": {str(name): to_tree(part, put) for name, part in value.items()}}
    if is_dataclass(value) and not isinstance(value, type):
        return {"dict": {one.name: to_tree(getattr(value, one.name), put) for one in fields(value)}}
    index = put(value)
    return {"other": type(value).__qualname__} if index is None else {"array": index}
