"""Run one framework's model and write its trace.

This is the program of the worker processes: `python -m vitconvert.parity._dump JOB`. Each imports
one framework. A `Job` goes in as JSON; a trace comes out. Stdout carries a JSON line for each step
of progress, [done, total], and at worst one with the reason why there is no trace, a text: unlike a
file, it needs no room on a disk.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np

from ..checkpoints import open_checkpoint
from ..errors import ParityError, VitconvertError, listing
from ..running.job import DTYPES, FAILURE, ROOM, Job, read_job
from ..running.paddle_side import PaddleSide
from ..running.side import make_side
from ..running.torch_side import TorchSide
from ..running.worker import end_with_parent, is_class, tell
from ..sides import NAMES, Side
from ..tables.table import Table
from ._alone import Forcer
from ._backward import differentiate
from ._distance import FLOAT64_LIMIT
from ._record import Around, Paired, Recorder, watched
from ._settings import plain_attributes, read_settings, spell_settings
from ._trace import FILE, INPUT, Facts, Layer, Trace, Weight, Writer, write_facts

_POLL = 0.02  # seconds between two looks for the reference trace


def trace(job: Job, say: TextIO) -> None:
    """Carry out a job: run the model in every precision, write the trace."""
    dump = _Dump(job, say)
    for dtype in DTYPES:
        if dtype not in job.dtypes:
            continue
        dump.build(dtype)
        dump.run(dtype)
        if dtype != DTYPES[0] and dump.facts.weights:
            continue
        dump.weights()
        # The other side may already give each of its layers alone what these were given.
        write_facts(Path(job.out), dump.facts)
        if job.feed:
            dump.single()
        if job.backward:
            dump.gradients()
    write_facts(Path(job.out), dump.facts)


class _Dump:
    """The steps of a job; there is one model, first in float64, then cast to float32."""

    def __init__(self, job: Job, say: TextIO) -> None:
        self.job, self.say = job, say
        self.table = job.subject.read_table()
        self.side = make_side(job, self.table, open_checkpoint(job.checkpoint, job.weights))
        self.out, self.images = Path(job.out), np.load(job.inputs)
        shutil.copyfile(job.inputs, self.out / INPUT)
        self.facts = Facts(
            job.framework,
            job.subject.name,
            job.subject.output,
            self.side.environment(),
            job.about_checkpoint | {"read_by": self.side.reader},
            job.about_input,
            {},
        )
        self.done, self.model = count(1), cast(Any, None)
        self.paired: list[Paired] = []
        self.traced: list[tuple[str, Any]] = []

    def build(self, dtype: str) -> None:
        """Build the model, or cast it."""
        self.images = self.images.astype(dtype)
        if self.model is not None:
            self.side.cast(self.model, dtype)
            return
        self.model = self.side.model(dtype)
        self.paired = pair(self.side, self.model, self.table)
        self.facts.layers = {p.name: describe(p, self.side.name) for p in self.paired}
        output, settings = self.job.subject.output, plain_attributes(self.model)
        limit = self.table.output.limit if self.table.output else None
        self.facts.layers[output] = Layer(output, "output", settings, limit)
        round_settings(self.paired, self.side.name)
        self.traced, seen = [], set[int]()
        for one in self.paired:
            if one.layer is not None and one.kind.traced and id(one.layer) not in seen:
                seen.add(id(one.layer))  # a layer of two names is one
                self.traced.append((one.name, one.layer))

    def run(self, dtype: str) -> None:
        """Run the model and record it; only the float64 inputs of layers are of use to others."""
        inputs = dtype == DTYPES[0] and self.job.inputs_of_layers
        with self._writer(dtype) as writer:
            recorder = Recorder(self.side, writer, self._tick, inputs)
            with watched(self.traced, recorder.around):
                self._forward(recorder.around)
        self.facts.runs[dtype] = recorder.calls

    def weights(self) -> None:
        """Write the tensors of the live model."""
        with self._writer("weights") as writer:
            self.facts.weights = write_weights(
                self.side, self.model, self.paired, self.table, writer
            )

    def single(self) -> None:
        """Give every layer alone what the reference's layer was given."""
        limits = {p.name: p.kind.limit or FLOAT64_LIMIT for p in self.paired}
        limits[self.job.subject.output] = self.facts.layers[self.job.subject.output].limit or (
            FLOAT64_LIMIT
        )
        fed_by = wait_for(Path(self.job.feed))
        reference, self.facts.fed_by = fed_by.runs[DTYPES[0]], fed_by.facts.id
        with self._writer("single") as writer:
            forcer = Forcer(self.side, reference, writer, limits, self._tick)
            with watched(self.traced, forcer.around):
                self._forward(forcer.around)
        self.facts.single = forcer.findings

    def gradients(self) -> None:
        """Differentiate, and let norms make one step."""
        with self._writer("gradients") as writer:
            self.facts.gradients, self.facts.training = differentiate(
                self.side, self.model, self.paired, self.images, writer
            )

    def _forward(self, around: Around) -> None:
        """Run the model on the images; the call of it, hooks and all, goes through `around`."""
        try:
            with self.side.no_grad():
                around(self.job.subject.output, self.model, (self.side.put(self.images),), {})
        except ValueError as error:
            # Paddle goes on to show the place in its own source.
            reason = str(error).partition("\n  [Hint")[0].strip()
            size = "x".join(map(str, self.images.shape[2:]))
            raise ParityError(
                f"the {self.side.name} model does not take these images: {reason} (--input-size "
                f"was {size})"
            ) from error

    @contextmanager
    def _writer(self, name: str) -> Iterator[Writer]:
        """Open one of the files with arrays, and note what is in it."""
        with Writer(self.out / f"{name}.bin") as writer:
            yield writer
        self.facts.places[name] = writer.arrays.places

    def _tick(self) -> None:
        passes = len(self.job.dtypes) + bool(self.job.feed)
        tell(self.say, [next(self.done), passes * (len(self.traced) + 1)])


def wait_for(folder: Path) -> Trace:
    """Wait until the other process has written its trace; ours is ended if that one fails."""
    while not (folder / FILE).exists():
        time.sleep(_POLL)
    trace = Trace(folder)
    if DTYPES[0] not in trace.runs:
        raise ParityError(
            f"{folder}: has no float64 run, whose inputs each layer alone could be given. Make it "
            f"with --dtype float64 or without --dtype."
        )
    return trace


def pair(side: TorchSide | PaddleSide, model: Any, table: Table) -> list[Paired]:
    """Give every layer and bare tensor that the table pairs.

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
    settings = {} if paired.layer is None else read_settings(paired.layer, paired.kind, side)
    traced = paired.kind.traced and paired.layer is not None
    kind, spelled = paired.kind, dict[str, str]()
    if paired.layer is not None:
        spelled = spell_settings(paired.layer, kind, side)
    return Layer(paired.own, kind.name, settings, kind.limit, kind.backward_limit, traced, spelled)


def write_weights(
    side: TorchSide | PaddleSide,
    model: Any,
    paired: list[Paired],
    table: Table,
    writer: Writer,
) -> dict[str, Weight]:
    """Write the tensors of the live model, as PyTorch lays them out, by PyTorch key.

    Raises:
        ParityError: A tensor that no row claims.
    """
    state = side.state_of(model)
    weights, claimed = dict[str, Weight](), set[str]()
    for one in paired:
        for rule in one.kind.tensors:
            leaf = rule.leaf if side.name == "torch" else rule.paddle
            own = one.own if leaf == "" else f"{one.own}.{leaf}"
            if leaf is None or own not in state:
                continue
            claimed.add(own)
            if rule.paddle is not None:
                array = side.array(state[own])
                if side.name == "paddle" and rule.transpose:
                    array = array.T
                key = f"{one.name}.{rule.leaf}" if rule.leaf else one.name
                place = writer.add(narrowed(array))
                weights[key] = Weight(one.name, own, place, rule.transpose)
    same = {side.identity(state[key]) for key in claimed}
    left = [
        key
        for key, tensor in state.items()
        if key not in claimed
        and side.identity(tensor) not in same  # another name of one that is
        and not (side.name == "torch" and table.ignored(key))
    ]
    if left:
        rows = f"no row of {table.file} claims {len(left)} tensors of the {NAMES[side.name]} model:"
        raise ParityError(listing(rows, [f"{key} {list(state[key].shape)}" for key in left]))
    return weights


def narrowed(array: np.ndarray) -> np.ndarray:
    """Give an array as float32, half as large, if it loses nothing."""
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array, equal_nan=True) else array


def round_settings(paired: list[Paired], side: Side) -> None:
    """Give both sides the epsilons that Paddle computes with: their rounding is no fault.

    It shows where a norm sees values that hardly vary, as far as 2e-11 of the largest value.
    """
    for one in paired:
        if one.kind.float32:
            attribute = one.kind.float32[side]
            setattr(one.layer, attribute, float(np.float32(getattr(one.layer, attribute))))


def main(job_file: str) -> None:
    """Run the job in a JSON file; the exit status of a foreseeable failure is 3."""
    job = read_job(json.loads(Path(job_file).read_text()))
    # Frameworks print to stdout as they please; progress gets a descriptor of its own.
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    end_with_parent()
    try:
        trace(job, say)
    except SystemExit as error:
        tell(say, f"the {job.framework} model ends the process: sys.exit({error.code!r}).")
        sys.exit(FAILURE)
    except (VitconvertError, OSError, MemoryError) as error:
        reason = str(error) or "out of memory"
        if not isinstance(error, VitconvertError):
            reason = f"the {job.framework} process cannot go on: {reason}. {ROOM}"
        tell(say, reason)
        sys.exit(FAILURE)


if __name__ == "__main__":
    main(sys.argv[1])
