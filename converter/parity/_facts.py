"""`trace.json`: what a trace says of a model and its calls, all but the arrays themselves."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from .. import stored
from ..checked import checked, expected, shown
from ..errors import ParityError, listing
from ._distance import Finding

FORMAT = 3
DTYPES = ("float64", "float32")
TRACE_JSON = "trace.json"  # it appears last

# What a layer is called with, or gives: a plain value, {"array": index}, a list of trees,
# {"dict": {name: tree}}, or {"other": class} for what cannot be written down.
Tree = Any
Place = tuple[int, list[int], str]  # of an array: offset, shape, dtype
_MOST_PROBLEMS = 5


def _is_input(facts: Mapping[str, Any]) -> bool:
    """Tell whether a table says what a model was given; an empty one says nothing."""
    shape = facts.get("shape")
    return not facts or (
        isinstance(shape, list)
        and len(shape) > 0
        and all(type(n) is int and 0 <= n < _LARGEST for n in shape)
        and isinstance(facts.get("sha256"), str)
        and isinstance(facts.get("seed"), int | None)
        and all(isinstance(facts.get(name), str | None) for name in ("file", "noise"))
    )


def _is_tree(tree: Tree) -> bool:
    """Tell whether a value is what `to_tree` writes."""
    if isinstance(tree, list):
        return all(map(_is_tree, tree))
    if not isinstance(tree, dict):
        return True
    if isinstance(inner := tree.get("dict"), dict):
        return len(tree) == 1 and all(map(_is_tree, inner.values()))
    return (
        len(tree) == 1 and (type(tree.get("array")) is int and tree["array"] >= 0)
    ) or isinstance(tree.get("other"), str)


def _is_place(place: Place) -> bool:
    """Tell whether an array can lie there."""
    offset, shape, _dtype = place
    return 0 <= offset < _LARGEST and all(0 <= n < _LARGEST for n in shape)


_LARGEST = 2**48  # of an offset or an axis: more bytes no file has
_TREE = expected("a value, array, list or dict", _is_tree)
_INPUT = expected("a table with shape and sha256", _is_input)
_INPUTS = expected("a list of tables with shape and sha256", lambda all_: all(map(_is_input, all_)))
_TEXTS = ("device", "card", "torch", "paddle", "file", "from", "sha256", "rounded_to", "read_by")
_SIDE = expected(
    "a table of texts",
    lambda facts: all(isinstance(facts.get(name), str | None) for name in _TEXTS),
)
_WHERE = expected(
    "a table with a device",
    lambda facts: isinstance(facts.get("device"), str) and _SIDE["holds"](facts),
)
_PLACES = expected(
    "offset, shape and dtype of every array of every file",
    lambda files: all(_is_place(place) for places in files.values() for place in places),
)
_RUNS = expected(
    f"calls of any of {', '.join(DTYPES)}", lambda runs: bool(runs) and not runs.keys() - {*DTYPES}
)
_LIMIT = expected("a number above 0", lambda limit: limit is None or limit > 0)


@dataclass(frozen=True)
class Call:
    """One call of a paired layer; `layer` is the PyTorch name on both sides."""

    layer: str
    number: int  # 1 for the first call of the layer
    parent: str | None  # key of the call whose code makes this one; None for the whole model
    inputs: Tree = field(
        metadata=_TREE
    )  # a dict of all parameters; None where inputs are not asked for
    outputs: Tree = field(metadata=_TREE)
    at_default: Sequence[str] = ()  # parameters that have their default

    @property
    def key(self) -> str:
        """Name of the call."""
        return call_key(self.layer, self.number)


def call_key(layer: str, number: int) -> str:
    """Name a call: as the layer, with a number behind it from the second on."""
    return layer if number == 1 else f"{layer}#{number}"


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
    limit: float | None = field(default=None, metadata=_LIMIT)
    backward_limit: float | None = field(default=None, metadata=_LIMIT)
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
        turned: Whether Paddle has its axes in another order, and changes nothing else of it.
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
    environment: dict[str, Any] = field(metadata=_WHERE)
    checkpoint: dict[str, Any] = field(metadata=_SIDE)
    input: dict[str, Any] = field(metadata=_INPUT)
    layers: dict[str, Layer]  # by PyTorch name
    weights: dict[str, Weight] = field(default_factory=dict)  # by PyTorch key
    buffers: list[Buffer] = field(default_factory=list)  # what no row claims
    runs: dict[str, list[Call]] = field(default_factory=dict, metadata=_RUNS)
    # name of the file -> arrays
    places: dict[str, list[Place]] = field(default_factory=dict, metadata=_PLACES)
    forms: list[Likeness] = field(default_factory=list)
    alone: dict[str, Finding] | None = None
    gradients: dict[str, int] | None = None  # PyTorch key, or "input" -> array
    training: dict[str, dict[str, Any]] | None = None  # norm -> what one step did to it
    alone_against: str = ""  # id of the trace whose inputs each layer alone was given
    parameters: int = 0  # trained numbers
    further_inputs: list[dict[str, Any]] = field(default_factory=list, metadata=_INPUTS)
    further: dict[str, list[Call]] = field(default_factory=dict)  # dtype -> output of each of them
    id: str = field(default_factory=lambda: uuid4().hex)
    format: int = FORMAT


def write_facts(folder: Path, facts: Facts) -> None:
    """Write trace.json, in one step: whoever waits for the file finds it whole."""
    part = folder / f"{TRACE_JSON}.part"
    part.write_text(json.dumps(asdict(facts)), encoding="utf-8")
    part.replace(folder / TRACE_JSON)


def read_facts(folder: Path) -> Facts:
    """Read trace.json.

    Raises:
        ParityError: The folder is not a trace, or of another release.
    """
    made = "Expected a folder that `vitconvert dump` made."
    try:
        data = stored.read_json(folder / TRACE_JSON)
    except FileNotFoundError as error:
        raise ParityError(
            f"{folder}: is not a readable trace, it has no {TRACE_JSON}. {made}"
        ) from error
    except (OSError, ValueError) as error:
        raise ParityError(f"{folder}: is not a readable trace ({error}). {made}") from error
    mark = data.get("format") if isinstance(data, dict) else None
    if mark is not None and mark != FORMAT:
        raise ParityError(
            f"{folder}: is a trace of format {shown(mark)}; this release reads format {FORMAT}. "
            f"Make it again with `vitconvert dump`."
        )
    problems: list[str] = []
    if not isinstance(data, dict):
        problems.append(f"it is {shown(data)}, expected a table.")
    elif facts := checked(Facts, data, "", problems):
        problems += _contradictions(facts)
        if not problems:
            return facts
    more = [f"and {len(problems) - _MOST_PROBLEMS} more."] * (len(problems) > _MOST_PROBLEMS)
    heading = f"{folder}: is not a readable trace. {made}"
    raise ParityError(listing(heading, problems[:_MOST_PROBLEMS] + more))


def _contradictions(facts: Facts) -> Iterator[str]:
    """Say what names something that the trace does not have."""
    if facts.output not in facts.layers:
        yield f"output is {facts.output!r}, which is not among the layers."
    files = {*facts.runs, *(f"further {dtype}" for dtype in facts.further)}
    if facts.weights:
        files.add("weights")
    for name in sorted(files - facts.places.keys()):
        yield f"places.{name} is missing, expected the arrays of that file."
    for dtype, calls in facts.further.items():
        if len(calls) != len(facts.further_inputs):
            yield f"further.{dtype} has {len(calls)} calls for {len(facts.further_inputs)} inputs."
