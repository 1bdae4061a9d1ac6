"""Check parity: dump a trace of either side, and compare them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, Unpack

from ..checkpoints import DTYPES as FILE_DTYPES
from ..checkpoints import Checkpoint, Renames
from ..claims import check_unclaimed, claimed
from ..errors import CheckpointError, DataError, ParityError, RunError
from ..files import check_distinct, check_folder
from ..hub import located
from ..running.interpreters import check_pythons
from ..running.process import Task, run
from ..running.scratch import temporary_folder
from ..running.setup import Setup, Subject
from ..sides import SIDES, Side
from ..tables.identify import show_head
from ..tables.reading import find_variant, read_table, using
from ..tables.table import Table
from ..terminal import Progress
from ._buffers import compare_buffers
from ._compare import FLOAT32_FACTOR, Comparison, check_comparable
from ._diagnose import diagnose
from ._distance import FLOAT64_LIMIT
from ._dump import Job
from ._figures import figures_of_output, name_of_input
from ._further import check_same_inputs, compare_further
from ._gradients import compare_gradients, compare_training
from ._inputs import write_inputs
from ._meter import Meter
from ._options import Pair, RunOptions, check_options, pythons
from ._report import Report
from ._subject import describe_checkpoint, make_subject, open_for
from ._trace import DTYPES, TRACE_JSON, Trace, describe_input

Inputs = Sequence[tuple[Path, dict[str, Any]]]  # each a file, and what it holds
DUMP = "vitconvert.parity._dump"  # what workers do


@contextmanager
def _as_parity_error() -> Iterator[None]:
    """Turn what cannot be run into a check that cannot be carried out."""
    try:
        yield
    except (DataError, RunError) as error:
        raise ParityError(error) from error


@_as_parity_error()
def check_parity(
    model: str | Pair,
    *,
    torch_checkpoint: str | Path,
    paddle_checkpoint: str | Path,
    weights: str | None = None,
    paddle_weights: str | None = None,
    rename: Renames | None = None,
    paddle_rename: Renames | None = None,
    num_classes: int | None = None,
    dialect: str | None = None,
    target: str | None = None,
    theirs: bool = True,
    made_from: Side = "torch",
    tables: str | Path | None = None,
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> Report:
    """Run a PyTorch and a Paddle checkpoint on the same images and compare layer by layer.

    Both run in float64, where two implementations of one function agree but for rounding, and in
    float32, where each side's error against float64 is measured. No tolerance is set by taste. Then
    every Paddle layer alone is given what the PyTorch layer was given.

    Args:
        model: For example "shunted_s"; or a pair of models of your own.
        torch_checkpoint: The .pth or .safetensors; or its name on the hub, as for `convert`.
        paddle_checkpoint: The .pdparams or .safetensors, or such a name.
        weights: Which weights to take of the PyTorch file where it holds several.
        paddle_weights: The same for the Paddle file.
        rename: Beginnings of names in the PyTorch file -> what takes their place.
        paddle_rename: The same for the Paddle file.
        num_classes: Size of the head: another one than a file's is made anew, 0 leaves out both.
        dialect: Whose names the PyTorch file has; found from the names if None.
        target: Whose names the Paddle file has; found from the names if None.
        theirs: Whether the target's own model runs, if it is given and names one.
        made_from: Which file is the original; if the other was cast to a narrower dtype, the
            original's weights are rounded to it first.
        tables: A folder with families of your own, besides the shipped ones.
        progress: Called with a text, the amount done and the total.
        options: Those of `RunOptions`: device, tf32, input, batch_size, seeds, input_size,
            backward, torch_python and paddle_python.

    Returns:
        The report; `report.proved` is the verdict.

    Raises:
        CheckpointError: A file cannot be read, or its names and shapes do not fit.
        ConversionError: The PyTorch file does not fit the variant.
        ModelError: The model is unknown or a framework not installed.
        ParityError: A side could not run, or an argument makes no sense.
        TableError: The table of a pair is malformed.
    """
    start = time.monotonic()
    check_options(options, model)
    keys: dict[Side, str | None] = {"torch": weights, "paddle": paddle_weights}
    names: dict[Side, Renames | None] = {"torch": rename, "paddle": paddle_rename}
    spelled: dict[Side, str | None] = {"torch": dialect, "paddle": target}
    files: dict[Side, Path] = {
        "torch": located(torch_checkpoint),
        "paddle": located(paddle_checkpoint),
    }
    with using(tables):
        table = find_variant(model)[0] if isinstance(model, str) else read_table(Path(model.table))
        check_pythons(pythons(options))
        opened = {
            side: open_for(
                model, side, files[side], keys[side], names[side], num_classes, spelled[side]
            )
            for side in SIDES
        }
        own = target if theirs else None
        if isinstance(model, Pair):  # a file for one's own model has the names of that model
            own = opened["paddle"].selection.spelling
        subjects = {side: make_subject(model, side, opened[side], own) for side in SIDES}
        heads = {side: subjects[side].num_classes for side in SIDES}
        if heads["torch"] != heads["paddle"]:
            found = {side: f"{files[side]} has {show_head(heads[side])}" for side in SIDES}
            advice = "" if all(heads.values()) else " To compare features: --num-classes 0."
            raise CheckpointError(f"{found['paddle']}, {found['torch']}.{advice}")
        rounding = _rounding(table, opened["torch"], opened["paddle"], made_from)
        with temporary_folder() as folder:
            inputs, meter = write_inputs(model, options, folder), Meter(progress)

            def prove(inputs: Inputs) -> Report:
                with temporary_folder(folder) as part:
                    jobs = []
                    for side in SIDES:
                        sources = subjects[side], opened[side], rounding[side]
                        job = _make_job(side, *sources, options, part / side, inputs)
                        # No layer is given what Paddle's were; the trace goes when it is compared.
                        alone = str(part / "torch") if side == "paddle" else ""
                        jobs.append(replace(job, alone=alone, inputs_of_layers=side == "torch"))
                    _run(jobs, options, model, meter)
                    return _compare(Trace(part / "torch"), Trace(part / "paddle"), meter, start)

            report = prove(inputs)
            if report.first_diverging is None and report.wrong_inputs:
                report = _look_into(report, inputs, prove)
            return report


def _look_into(report: Report, inputs: Inputs, prove: Callable[[Inputs], Report]) -> Report:
    """Compare the layers once more, with the first input for which the outputs differ."""
    wrong, was = report.wrong_inputs[0].inputs, name_of_input(report.inputs)
    ordered = sorted(inputs, key=lambda one: one[1]["sha256"] != wrong["sha256"])
    again = prove(ordered)
    if again.first_diverging is None:  # what one run shows and the next does not is not proved
        return report
    note = (
        f"With {was} all layers are the same, with {name_of_input(wrong)} not: what differs "
        f"depends on the input, or on the size of the batch."
    )
    return replace(again, diagnosis=(*again.diagnosis, note))


@_as_parity_error()
def dump(
    model: str | Pair,
    framework: Side,
    checkpoint: str | Path,
    out: str | Path,
    *,
    weights: str | None = None,
    rename: Renames | None = None,
    num_classes: int | None = None,
    dialect: str | None = None,
    target: str | None = None,
    dtype: Literal["float64", "float32"] | None = None,
    alone: str | Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> Trace:
    """Run one side and write its trace, to be compared here or on another machine.

    Args:
        model: For example "shunted_s"; or a pair of models of your own.
        framework: "torch" or "paddle".
        checkpoint: Weights of that framework.
        out: Folder to make.
        weights: Which weights to take where the file holds several.
        rename: Beginnings of names -> what takes their place.
        num_classes: Size of the head: another one than the file's is made anew, 0 leaves it out.
        dialect: Whose names the file has, a dialect or a target; found from the names if None.
        target: Whose own Paddle model is to be compared: it runs if the framework is "paddle", and
            the names are its own; of PyTorch, the layers that it has not are left out.
        dtype: Run in this precision alone; in both if None.
        alone: Trace of the other side; every layer alone is given what that one's layer was given.
        force: Whether a trace in `out` may be replaced.
        progress: Called with a text, the amount done and the total.
        options: As of `check_parity`.

    Raises:
        CheckpointError: The file cannot be read or does not fit, or `out` cannot be written.
        ModelError: The model is unknown or the framework not installed.
        ParityError: The model could not run.
    """
    check_options(options, model)
    place = Path(out)
    check_distinct(alone=None if alone is None else Path(alone), out=place)
    check_folder(place, "a parity trace", _is_trace, force=force, as_whole=True)
    check_unclaimed(place, as_whole=True)
    advice = "Or name another Python that has it: --python PATH."
    check_pythons({framework: pythons(options)[framework]}, advice)
    source, spelled = located(checkpoint), target if framework == "paddle" else None
    opened = open_for(model, framework, source, weights, rename, num_classes, spelled or dialect)
    if isinstance(model, Pair) and framework == "paddle":
        target = opened.selection.spelling
    subject = make_subject(model, framework, opened, target)
    if alone is not None:
        reference = Trace(Path(alone))
        if DTYPES[0] not in reference.runs or dtype == DTYPES[1]:
            raise ParityError("--alone compares float64 runs: neither side can be float32 alone.")
    with claimed(place, as_whole=True), temporary_folder(place.parent) as folder:
        inputs = write_inputs(model, options, folder)
        about_input = inputs[0][1]
        if alone is not None and reference.facts.input["sha256"] != about_input["sha256"]:
            found = describe_input(reference.facts.input)
            raise ParityError(
                f"{alone}: was made from another input, {found}; this is "
                f"{describe_input(about_input)}."
            )
        part = folder / "trace"
        job = _make_job(framework, subject, opened, {}, options, part, inputs)
        against = "" if alone is None else str(Path(alone).absolute())
        dtypes = DTYPES if dtype is None else (dtype,)
        job = replace(job, dtypes=dtypes, alone=against, target=str(place))
        _run([job], options, model, Meter(progress))
        # Once more: another may have begun, and ended, between the first look and the claim.
        check_folder(place, "a parity trace", _is_trace, force=force, as_whole=True)
        if place.exists():
            place.rename(folder / "old")
        try:
            part.rename(place)
        except OSError:
            if (folder / "old").exists():
                (folder / "old").rename(place)
            raise
    return Trace(place)


def _is_trace(folder: Path) -> bool:
    """Whether a folder holds a trace and nothing else."""
    own = (".json", ".bin", ".npy", ".part")
    parts = all(path.is_file() and path.suffix in own for path in folder.iterdir())
    return parts and (folder / TRACE_JSON).is_file()


def _make_job(
    side: Side,
    subject: Subject,
    opened: Checkpoint,
    rounded: dict[str, str],
    options: RunOptions,
    out: Path,
    inputs: Inputs,
) -> Job:
    """Describe the work on one side, and make the folder of its trace."""
    out.mkdir()
    path, device = str(opened.path.absolute()), options.get("device", "auto")
    (images, about_input), *further = inputs
    return Job(
        Setup(side, subject, path, opened.selection, device, rounded, options.get("tf32", False)),
        str(images),
        str(out),
        about_input,
        describe_checkpoint(opened, rounded),
        backward=options.get("backward", False),
        further=tuple((str(images), about) for images, about in further),
    )


def _run(jobs: Sequence[Job], options: RunOptions, model: str | Pair, meter: Meter) -> None:
    """Let workers write traces, side by side."""
    own = "" if isinstance(model, str) else f"{model.torch_model} {model.paddle_model}"
    tasks = []
    for job in jobs:
        side = job.setup.framework
        python = pythons(options)[side]
        tasks.append(Task(side, DUMP, asdict(job), python, job.setup.tf32, own))
    meter.expect(len(jobs))
    run(tasks, meter.worker)


def compare_traces(
    reference: str | Path, candidate: str | Path, progress: Progress | None = None
) -> Report:
    """Compare two traces; needs neither framework.

    Args:
        reference: Folder with the trace that is held to be right.
        candidate: Folder with the other.
        progress: Called with a text, the amount done and the total.

    Raises:
        ParityError: One is not a trace, or they are not of one model and one input.
    """
    start = time.monotonic()
    traces = [Trace(Path(folder)) for folder in (reference, candidate)]
    if traces[0].facts.framework == "paddle" and traces[1].facts.framework == "torch":
        traces.reverse()
    try:
        return _compare(traces[0], traces[1], Meter(progress), start)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ParityError(
            f"{reference} or {candidate}: is not a whole trace ({type(error).__name__}: {error}). "
            f"Make both again with `vitconvert dump`."
        ) from error


def _compare(reference: Trace, candidate: Trace, meter: Meter, start: float) -> Report:
    """Judge two traces and say why."""
    check_comparable(reference, candidate)
    check_same_inputs(reference, candidate)
    if reference.label == candidate.label:
        _distinguish(reference, candidate)
    comparison = Comparison(reference, candidate)
    layers = tuple(comparison.layers(lambda n, of: meter.tell("comparing", n, of)))
    training, training_differs = compare_training(reference, candidate)
    own = [layer.backward_limit or 0.0 for layer in reference.facts.layers.values()]
    limit = max([FLOAT64_LIMIT, *own])
    if comparison.loose:
        errors = (layer.float32_reference or 0.0 for layer in layers)
        limit = max(limit, FLOAT32_FACTOR * max(errors))
    sides = [
        {
            "framework": trace.facts.framework,
            "label": trace.label,
            "runs": sorted(trace.facts.runs, reverse=True),
            **trace.facts.checkpoint,
            **trace.facts.environment,
        }
        for trace in (reference, candidate)
    ]
    return Report(
        model=reference.facts.model,
        reference=sides[0],
        candidate=sides[1],
        inputs=reference.facts.input,
        layers=layers,
        settings=tuple(comparison.settings()),
        gradients=tuple(compare_gradients(reference, candidate, limit)),
        training=tuple(training),
        training_differs=training_differs,
        output=figures_of_output(reference, candidate),
        further=tuple(compare_further(reference, candidate, comparison)),
        parameters=reference.facts.parameters,
        proves=comparison.proves,
        never_run=tuple(comparison.never_run),
        forms=(*reference.facts.forms, *candidate.facts.forms),
        paddle_only=compare_buffers(reference, candidate),
        limits={one.kind: one.limit for one in reference.facts.layers.values() if one.limit},
        weights=len(reference.facts.weights),
        diagnosis=tuple(diagnose(reference, candidate, layers)),
        seconds=time.monotonic() - start,
    )


def _distinguish(reference: Trace, candidate: Trace) -> None:
    """Name two sides of one framework by where they ran, or by their order."""
    places = [trace.facts.environment["device"] for trace in (reference, candidate)]
    if places[0] == places[1]:
        places = ["first", "second"]
    for trace, place in zip((reference, candidate), places, strict=True):
        trace.label = f"{trace.label} {place}"


def _rounding(
    table: Table, source: Checkpoint, target: Checkpoint, made_from: Side
) -> dict[Side, dict[str, str]]:
    """Find what was cast on the way: the original's weights are rounded before they are used.

    Only the original's: rounding what was made of it could hide an error in it.

    Returns:
        Side -> key -> dtype that this side's tensor is rounded to. Widening rounds nothing.
    """
    found: dict[Side, dict[str, str]] = {"torch": {}, "paddle": {}}
    for claim in (claim for key in source.tensors for claim in table.claims(key)):
        if claim.paddle is None or claim.paddle not in target.tensors:
            continue
        pairs = [(claim.torch, source), (claim.paddle, target)]
        (own, original), (other, made) = pairs if made_from == "torch" else pairs[::-1]
        before, after = original.tensors[own].dtype, made.tensors[other].dtype
        if before != after and FILE_DTYPES[after].itemsize <= FILE_DTYPES[before].itemsize:
            found[made_from][own] = after
    return found
