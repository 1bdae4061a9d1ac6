"""Run one framework's model and write its trace: what the worker processes of parity do."""

import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import ParityError, brief, listing, way_out
from ..running.scratch import ROOM
from ..running.setup import Setup, code_of, own_code, read_setup
from ..running.side import make_side
from ..sides import NAMES, Side
from ..tables.table import Table, sizes_of
from ._alone import Alone
from ._backward import differentiate
from ._buffers import narrowed, write_buffers
from ._distance import FLOAT64_LIMIT
from ._forms import describe_forms, round_setting
from ._pairing import pair
from ._record import Paired, Recorder, as_in_torch, watched
from ._settings import idle, plain_attributes, read_settings, spell_settings
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
        target: Folder that the trace is for, to be named in messages; empty if it is temporary.
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
    target: str = ""
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
        at, advice = (f"{job.target}: ", "") if job.target else ("", f" {ROOM}")
        reason = f"{at}the {name} process cannot continue: {reason}.{way_out(error)}{advice}"
        raise ParityError(reason) from error


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
            dump.cast(dtype)
            dump.run(dtype)
            dump.further(dtype)
    write_facts(Path(job.out), dump.facts)


class _Dump:
    """The steps of a job; there is one model, first in float64, then cast to float32."""

    def __init__(self, job: Job, parent: Listener, dtype: str) -> None:
        self.job, self.parent, self.subject = job, parent, job.setup.subject
        self.table, self.side = self.subject.read_table(), make_side(job.setup)
        self.sizes = sizes_of(self.table, self.table.variants.get(self.subject.name))
        self.out, self.images, self.done = (
            Path(job.out),
            np.load(job.inputs).astype(dtype),
            count(1),
        )
        shutil.copyfile(job.inputs, self.out / INPUT)
        self.model = self.side.model(dtype)
        self.paired = pair(self.side, self.model, self.table, self._try)
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
            forms=describe_forms(one.form for one in self._unique() if one.form),
        )
        round_settings(self.paired, self.side.name)
        unique = self._unique()
        self.traced = [(one.name, one.layer) for one in unique if one.kind.traced]
        self.forms = {id(one.layer): one.form for one in unique if one.form}

    def _unique(self) -> list[Paired]:
        """List the paired layers; one of two names is listed under the first."""
        first: dict[int, Paired] = {}
        for one in self.paired:
            if one.layer is not None:
                first.setdefault(id(one.layer), one)
        return list(first.values())

    def cast(self, dtype: str) -> None:
        """Bring the model and the images to another floating type."""
        if self.images.dtype != dtype:
            self.side.cast(self.model, dtype)
            self.images = self.images.astype(dtype)

    def _try(self) -> None:
        """Run the model once in float64, to see how its layers compute."""
        dtype = self.images.dtype.name
        with self.side.floating(DTYPES[0]):
            self.cast(DTYPES[0])
            self._forward(lambda _name, model, images: model(images))
            self.cast(dtype)

    def about_model(self) -> None:
        """Note the model's class and size, and which files of the user's own code build it."""
        kind = type(self.model)
        self.facts.environment["model"] = f"{kind.__module__}.{kind.__qualname__}"
        trained = self.side.parameters(self.model).values()
        self.facts.parameters = sum(math.prod(tensor.shape) for tensor in trained)
        if self.subject.is_own:
            self.facts.environment["code"] = code_of(self.subject.name)

    def run(self, dtype: str) -> None:
        """Run the model and record it; only the float64 inputs of layers are of use to others."""
        inputs = dtype == DTYPES[0] and self.job.inputs_of_layers
        with self._writer(dtype) as writer:
            recorder = Recorder(self.side, writer, self._tick, inputs)
            with watched(self.traced, recorder.around, self.forms, recorder.beside) as call:
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
            ParityError: No row claims a tensor, or an entry of [paddle_only] matches none.
        """
        side, table, claimed = self.side, self.table, set[str]()
        state = side.state_of(self.model)
        if side.name == "torch" and table.paddle_only:
            _check_alone(table, state)
        with self._writer("weights") as writer:
            for one in self.paired:
                for key, own, rule in one.tensors(side.name):
                    if own in state and table.ignored(own, side.name) is None:
                        claimed.add(own)
                        if rule.paddle is not None:
                            live = side.array(state[own])
                            array = as_in_torch(live, rule, side.name, self.sizes, own)
                            place = writer.add(narrowed(array))
                            turned = rule.axes is not None and rule.axes.permutes
                            self.facts.weights[key] = Weight(one.name, own, place, turned)
        same = {side.identity(state[key]) for key in claimed}
        left = [
            key
            for key, tensor in state.items()
            if key not in claimed
            and side.identity(tensor) not in same  # another name of one that is
            and table.ignored(key, side.name) is None
            and side.left_out(key) is None
        ]
        if left:
            name = NAMES[side.name]
            many = f"{len(left)} tensor{'s' * (len(left) != 1)}"
            entry = "an [ignore] entry" if side.name == "torch" else "a [paddle_only] entry"
            heading = (
                f"no row of {table.file} claims {many} of the {name} model. Add a row, or {entry} "
                f"with its reason:"
            )
            raise ParityError(listing(heading, [f"{key} {list(state[key].shape)}" for key in left]))
        with self._writer("buffers") as writer:
            self.facts.buffers = write_buffers(
                side,
                self.model,
                table,
                self.paired,
                lambda key, tensor: key not in claimed and side.identity(tensor) not in same,
                writer,
            )

    def alone(self) -> None:
        """Give every layer alone what the reference's layer was given."""
        layers = self.facts.layers.items()
        limits = {name: layer.limit or FLOAT64_LIMIT for name, layer in layers}
        against = wait_for(Path(self.job.alone))
        reference, self.facts.alone_against = against.runs[DTYPES[0]], against.facts.id
        with self._writer("alone") as writer:
            alone = Alone(self.side, reference, writer, limits, self._tick)
            with watched(self.traced, alone.around, self.forms) as call:
                self._forward(call)
        self.facts.alone = alone.findings

    def gradients(self) -> None:
        """Differentiate, and let norms make one step."""
        with self._writer("gradients") as writer:
            self.facts.gradients, self.facts.training = differentiate(
                self.side, self.model, self.paired, self.table, self.sizes, self.images, writer
            )

    def _forward(self, call: Callable[..., Any], images: np.ndarray | None = None) -> None:
        """Run the model on the images, or others; the call of it, hooks and all, is `call`'s."""
        images = self.images if images is None else images
        with own_code(self.side.name), self.side.no_grad():
            try:
                call(self.subject.output, self.model, self.side.put(images))
            except (ValueError, RuntimeError, AssertionError) as error:
                size = "x".join(map(str, images.shape[2:]))
                raise ParityError(
                    f"the {NAMES[self.side.name]} model does not take these images: {brief(error)} "
                    f"(the input size is {size}, the batch {len(images)})"
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


def _check_alone(table: Table, keys: Iterable[str]) -> None:
    """Refuse a table that says of a tensor of PyTorch's that PyTorch has none."""
    targets = {key: claim.name_on("paddle") for key in keys for claim in table.claims(key, "torch")}
    wrong = [
        f"{target}: a row makes it of PyTorch's {key}. Remove the entry."
        for key, target in targets.items()
        if target and table.ignored(target, "paddle") is not None
    ]
    if wrong:
        raise ParityError(
            listing(f"the PyTorch model does not fit {table.file}, paddle_only:", wrong)
        )


def describe(paired: Paired, side: Side) -> Layer:
    """Write down what a paired layer is."""
    layer, kind = paired.layer, paired.kind
    limits = kind.limit, kind.backward_limit
    if layer is None:  # a bare tensor
        return Layer(paired.own, kind.name, {}, *limits, traced=False)
    holder = paired.form.holder if paired.form else layer
    settings, spelled = read_settings(holder, kind, side), spell_settings(holder, kind, side)
    unused = idle(settings, kind)
    return Layer(paired.own, kind.name, settings, *limits, kind.traced, spelled, unused)


def round_settings(paired: list[Paired], side: Side) -> None:
    """Give both sides the epsilons that Paddle computes with: their rounding is not a fault.

    Where the values that a norm sees vary little, it is up to 2e-11 of the largest value.
    """
    for one in paired:
        attribute = one.form.rounded if one.form else one.kind.float32.get(side, "")
        if attribute:
            round_setting(one.layer, attribute)
