"""Run one framework's model and write its trace: what the worker processes of parity do."""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import ParityError, listing
from ..running.scratch import ROOM
from ..running.setup import Setup, code_of, read_setup
from ..running.side import AnySide, is_class, make_side
from ..sides import NAMES, Side
from ..tables.table import Table
from ._alone import Alone
from ._backward import differentiate
from ._distance import FLOAT64_LIMIT
from ._record import Paired, Recorder, watched
from ._settings import plain_attributes, read_settings, spell_settings
from ._trace import DTYPES, INPUT, TRACE_JSON, Facts, Layer, Trace, Weight, Writer, write_facts

_POLL = 0.02  # seconds between two looks for the reference trace


@dataclass(frozen=True)
class Job:
    """What one worker does; all paths are absolute.

    Attributes:
        setup: The model, its weights and the device.
        inputs: The images, an .npy of float32 [B, 3, H, W].
        out: Folder for the trace.
        about_input: What the trace says of the images.
        about_checkpoint: What it says of the weights.
        dtypes: Those to run in.
        alone: Folder of the reference trace whose inputs each layer alone is given; empty if none.
        backward: Whether gradients are written, too.
        inputs_of_layers: Whether what layers are given is written, too.
        further: Further inputs, of which the output alone is written: the file, and what it holds.
    """

    setup: Setup
    inputs: str
    out: str
    about_input: dict[str, Any] = field(default_factory=dict)
    about_checkpoint: dict[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = DTYPES
    alone: str = ""
    backward: bool = False
    inputs_of_layers: bool = True
    further: tuple[tuple[str, dict[str, Any]], ...] = ()


class Listener(Protocol):
    """Hears how far a trace is: [calls done, of all]."""

    def tell(self, what: object) -> None:
        """Hear it."""


def carry_out(data: dict[str, Any], parent: Listener) -> None:
    """Carry out a job that came as JSON.

    Raises:
        ParityError: There is no room, or the model could not be run.
    """
    made = {"setup": read_setup(data["setup"]), "dtypes": tuple(data["dtypes"])}
    job = Job(**data | made | {"further": tuple(map(tuple, data["further"]))})
    try:
        trace(job, parent)
    except (OSError, MemoryError) as error:
        name, reason = NAMES[job.setup.framework], str(error) or "out of memory"
        raise ParityError(f"the {name} process cannot continue: {reason}. {ROOM}") from error


def trace(job: Job, parent: Listener) -> None:
    """Run the model in every precision, write the trace."""
    first, *others = [dtype for dtype in DTYPES if dtype in job.dtypes]
    dump = _Dump(job, parent, first)
    dump.about_model()
    with dump.side.floating(first):
        dump.run(first)
        dump.weights()
        # The other side may already give each of its layers alone what these were given.
        write_facts(Path(job.out), dump.facts)
        if job.alone:
            dump.alone()
        if job.backward:
            dump.gradients()
        dump.further(first)
    for dtype in others:
        with dump.side.floating(dtype):
            dump.side.cast(dump.model, dtype)
            dump.images = dump.images.astype(dtype)
            dump.run(dtype)
            dump.further(dtype)
    write_facts(Path(job.out), dump.facts)


class _Dump:
    """The steps of a job; there is one model, first in float64, then cast to float32."""

    def __init__(self, job: Job, parent: Listener, dtype: str) -> None:
        self.job, self.parent, self.subject = job, parent, job.setup.subject
        self.table, self.side = self.subject.read_table(), make_side(job.setup)
        self.out, self.images, self.done = (
            Path(job.out),
            np.load(job.inputs).astype(dtype),
            count(1),
        )
        shutil.copyfile(job.inputs, self.out / INPUT)
        self.model = self.side.model(dtype)
        self.paired = pair(self.side, self.model, self.table)
        output, settings = self.subject.output, plain_attributes(self.model)
        limit = self.table.output.limit if self.table.output else None
        self.facts = Facts(
            job.setup.framework,
            self.subject.name,
            output,
            self.side.environment(),
            job.about_checkpoint | {"read_by": self.side.reader},
            job.about_input,
            {p.name: describe(p, self.side.name) for p in self.paired}
            | {output: Layer(output, "output", settings, limit)},
        )
        round_settings(self.paired, self.side.name)
        layers = dict[int, tuple[str, Any]]()
        for one in self.paired:
            if one.layer is not None and one.kind.traced:
                layers.setdefault(id(one.layer), (one.name, one.layer))  # one layer of two names
        self.traced = list(layers.values())

    def about_model(self) -> None:
        """Note how large the model is, and which files of the user's own code it is built by."""
        trained = self.side.parameters(self.model).values()
        self.facts.parameters = sum(math.prod(tensor.shape) for tensor in trained)
        if self.subject.is_own:
            self.facts.environment["code"] = code_of(self.subject.name)

    def run(self, dtype: str) -> None:
        """Run the model and record it; only the float64 inputs of layers are of use to others."""
        inputs = dtype == DTYPES[0] and self.job.inputs_of_layers
        with self._writer(dtype) as writer:
            recorder = Recorder(self.side, writer, self._tick, inputs)
            with watched(self.traced, recorder.around) as call:
                self._forward(call)
        self.facts.runs[dtype] = recorder.calls

    def further(self, dtype: str) -> None:
        """Run the whole model on every further input, and write its output alone."""
        if not self.job.further:
            return
        with self._writer(f"further {dtype}") as writer:
            recorder = Recorder(self.side, writer, self._tick, inputs=False)
            for path, _about in self.job.further:
                with watched([], recorder.around) as call:
                    self._forward(call, np.load(path).astype(dtype))
        self.facts.further[dtype] = recorder.calls
        self.facts.further_inputs = [about for _path, about in self.job.further]

    def weights(self) -> None:
        """Write the tensors of the live model, as PyTorch lays them out, by PyTorch key.

        Raises:
            ParityError: No row claims a tensor.
        """
        side, table, claimed = self.side, self.table, set[str]()
        state = side.state_of(self.model)
        with self._writer("weights") as writer:
            for one in self.paired:
                for key, own, rule in one.tensors(side.name):
                    if own in state:
                        claimed.add(own)
                        if rule.paddle is not None:
                            array = side.array(state[own])
                            turned = side.name == "paddle" and rule.transpose
                            place = writer.add(narrowed(array.T if turned else array))
                            self.facts.weights[key] = Weight(one.name, own, place, rule.transpose)
        same = {side.identity(state[key]) for key in claimed}
        left = [
            key
            for key, tensor in state.items()
            if key not in claimed
            and side.identity(tensor) not in same  # another name of one that is
            and not (side.name == "torch" and table.ignored(key))
        ]
        if left:
            name = NAMES[side.name]
            heading = f"no row of {table.file} claims {len(left)} tensors of the {name} model:"
            raise ParityError(listing(heading, [f"{key} {list(state[key].shape)}" for key in left]))

    def alone(self) -> None:
        """Give every layer alone what the reference's layer was given."""
        layers = self.facts.layers.items()
        limits = {name: layer.limit or FLOAT64_LIMIT for name, layer in layers}
        against = wait_for(Path(self.job.alone))
        reference, self.facts.alone_against = against.runs[DTYPES[0]], against.facts.id
        with self._writer("alone") as writer:
            alone = Alone(self.side, reference, writer, limits, self._tick)
            with watched(self.traced, alone.around) as call:
                self._forward(call)
        self.facts.alone = alone.findings

    def gradients(self) -> None:
        """Differentiate, and let norms make one step."""
        with self._writer("gradients") as writer:
            self.facts.gradients, self.facts.training = differentiate(
                self.side, self.model, self.paired, self.images, writer
            )

    def _forward(self, call: Callable[..., Any], images: np.ndarray | None = None) -> None:
        """Run the model on the images, or others; the call of it, hooks and all, is `call`'s."""
        images = self.images if images is None else images
        try:
            with self.side.no_grad():
                call(self.subject.output, self.model, self.side.put(images))
        except ValueError as error:
            # Paddle then shows the place in its own source.
            reason = str(error).partition("\n  [Hint")[0].strip()
            size = "x".join(map(str, images.shape[2:]))
            raise ParityError(
                f"the {self.side.name} model does not take these images: {reason} (--input-size "
                f"was {size}, batch {len(images)})"
            ) from error

    @contextmanager
    def _writer(self, name: str) -> Iterator[Writer]:
        """Open one of the files with arrays, and note what is in it."""
        with Writer(self.out / f"{name}.bin") as writer:
            yield writer
        self.facts.places[name] = writer.arrays.places

    def _tick(self) -> None:
        passes = len(self.job.dtypes) + bool(self.job.alone)
        calls = passes * (len(self.traced) + 1) + len(self.job.dtypes) * len(self.job.further)
        self.parent.tell([next(self.done), calls])


def wait_for(folder: Path) -> Trace:
    """Wait until the other process has written its trace; if that fails, this one is ended."""
    while not (folder / TRACE_JSON).exists():
        time.sleep(_POLL)
    trace = Trace(folder)
    if DTYPES[0] not in trace.runs:
        raise ParityError(
            f"{folder}: has no float64 run, whose inputs each layer alone could be given. Make it "
            f"with --dtype float64 or without --dtype."
        )
    return trace


def pair(side: AnySide, model: Any, table: Table) -> list[Paired]:
    """Return every layer and bare tensor that the table pairs.

    Raises:
        ParityError: A layer is of another class than its kind says.
    """
    layers = dict(side.layers(model))
    names = dict.fromkeys([*layers, *side.state_of(model)])
    paired, problems = [], []
    found_rows = table.layers(side.name, names)
    if not table.variants:  # a table of many variants describes more than one model has
        problems += [
            f"row {row.number}: the model has nothing called {row.name_on(side.name)}."
            for row in table.rows
            if not any(row.pair(side.name, own) for own in found_rows)
        ]
    for own, (torch_name, _paddle_name, kind) in found_rows.items():
        layer = layers.get(own)
        if kind.class_on(side.name) and not is_class(layer, kind.class_on(side.name)):
            found = f"{type(layer).__module__}.{type(layer).__qualname__}"
            problems.append(
                f"{own}: is a {found}, kind '{kind.name}' expects {kind.class_on(side.name)}."
            )
        paired.append(Paired(layer, torch_name, own, kind))
    if problems:
        heading = f"the {NAMES[side.name]} model does not fit {table.file}:"
        raise ParityError(listing(heading, problems))
    return paired


def describe(paired: Paired, side: Side) -> Layer:
    """Write down what a paired layer is."""
    layer, kind = paired.layer, paired.kind
    limits = kind.limit, kind.backward_limit
    if layer is None:  # a bare tensor
        return Layer(paired.own, kind.name, {}, *limits, traced=False)
    settings, spelled = read_settings(layer, kind, side), spell_settings(layer, kind, side)
    return Layer(paired.own, kind.name, settings, *limits, kind.traced, spelled)


def narrowed(array: np.ndarray) -> np.ndarray:
    """Return an array as float32, half as large, if it loses nothing."""
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array, equal_nan=True) else array


def round_settings(paired: list[Paired], side: Side) -> None:
    """Give both sides the epsilons that Paddle computes with: their rounding is not a fault.

    Where the values that a norm sees vary little, it is up to 2e-11 of the largest value.
    """
    for one in paired:
        if one.kind.float32:
            attribute = one.kind.float32[side]
            setattr(one.layer, attribute, float(np.float32(getattr(one.layer, attribute))))
