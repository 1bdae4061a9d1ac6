"""Evaluate: give pictures to one or both models, batch by batch, and keep what they make of it."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import DataError, ModelError, RunError
from .._fit import show_head
from .._kinds import Side
from .._models import require
from .._table import Variant, find_variant
from ..checkpoints import open_checkpoint
from ..parity._job import Job, Subject
from ..parity._run import describe_checkpoint, make_subject
from ..pictures import (
    Preprocessing,
    check_classes,
    load_batches,
    open_pictures,
    preprocessing_of,
)
from ._engine import Engine
from ._processes import Processes, processes
from ._report import check_report_folder, read_partial, write_reports
from ._result import Evaluation, Scores
from ._tally import PER_SIDE, Tally, judge, merged

Progress = Callable[[str, int, int], None]

_LABELS: dict[Side, str] = {"paddle": "Paddle", "torch": "PyTorch"}
_SAVE_EVERY = 60.0  # seconds


@dataclass(frozen=True)
class Options:
    """How an evaluation is run.

    Attributes:
        device: "cpu"; "gpu"; or "auto", a GPU where the framework has one.
        batch_size: Pictures that a model is given at once.
        workers: Threads that read pictures; 0: none of their own.
        limit: Evaluate so many pictures only, evenly spread over the data; all if None.
        dtype: "float32" or "float64".
        engine: What runs the Paddle model: "eager", or "inference", its deployed form.
        strict: Whether a picture that cannot be read ends it.
    """

    device: str = "auto"
    batch_size: int = 32
    workers: int = 2
    limit: int | None = None
    dtype: str = "float32"
    engine: str = "eager"
    strict: bool = False

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            RunError: With what was found and what was expected.
        """
        expected = {
            "device": ("auto", "cpu", "gpu"),
            "dtype": ("float32", "float64"),
            "engine": ("eager", "inference"),
        }
        for name, values in expected.items():
            if getattr(self, name) not in values:
                found = getattr(self, name)
                raise RunError(f"{name} is {found!r}; expected one of {', '.join(values)}.")
        if self.batch_size < 1 or self.workers < 0 or (self.limit is not None and self.limit < 1):
            raise RunError(
                f"batch size {self.batch_size}, workers {self.workers}, limit {self.limit}: "
                f"expected at least 1, 0 and 1."
            )
        if self.engine == "inference" and self.dtype != "float32":
            raise RunError("the deployed form computes in float32; dtype is 'float64'.")


def evaluate(
    variant: str,
    data: str | Path,
    *,
    weights: str | Path | None = None,
    torch_weights: str | Path | None = None,
    torch_key: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    report: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Evaluation:
    """Classify labelled pictures with a Paddle model, a PyTorch model, or both on the same arrays.

    Args:
        variant: For example "shunted_s".
        data: Where the pictures are, see `vitconvert.pictures.open_pictures`.
        weights: Of the Paddle model: a .pdparams or .safetensors; or the folder of an export.
        torch_weights: Of the PyTorch model.
        torch_key: Key of the weights in that file where it holds several.
        preprocessing: What differs from the variant's own: size, crop_pct, crop_mode,
            interpolation, mean, std.
        report: Folder to write the report to; saved every minute while it runs.
        resume: Whether to go on with what an interrupted run has left in `report`.
        force: Whether a report that is there may be replaced.
        progress: Called with a text, the pictures done and their total.
        options: What `Options` has.

    Returns:
        The result; `partial` if Ctrl-C ended it. Of several processes (see `Processes`) only the
        first has all of it, the others their share.

    Raises:
        CheckpointError: A file cannot be read or does not fit.
        DataError: There are no pictures, or they do not fit the model; or one cannot be read and
            `strict` is given.
        ModelError: The variant is unknown or a framework not installed.
        RunError: A model cannot run on these pictures, or the options contradict each other.
    """
    how = Options(**options)
    how.check()
    team = processes()
    folder = None if report is None else Path(report)
    if resume and (folder is None or team.count > 1):
        raise RunError("--resume needs --report, and a single process.")
    if folder is not None and team.rank == 0:
        check_report_folder(folder, resume=resume, force=force)
    found = find_variant(variant)[1]
    files: dict[Side, Path] = {}
    if weights is not None:
        files["paddle"] = Path(weights)
    if torch_weights is not None:
        files["torch"] = Path(torch_weights)
    run = _Run(found, files, torch_key, how, team, preprocessing_of(found, **(preprocessing or {})))
    run.open(str(data))
    if resume and folder is not None:
        run.take(*read_partial(folder))
    if team.launcher:
        team.join()
    with closing(run.steps(progress)) as steps:
        saved = time.monotonic()
        try:
            for _ in steps:
                due = time.monotonic() - saved > _SAVE_EVERY
                if folder is not None and team.count == 1 and due:
                    write_reports(run.result(), folder, run.pictures)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if team.count > 1:
                raise
    if team.count > 1:
        run.tally = merged(team.gather(run.tally))
    result = run.result()
    if not result.count and not result.partial:
        name, reason = result.unreadable[0]
        raise DataError(f"{data}: none of {result.wanted} pictures can be read; {name}: {reason}")
    if folder is not None and team.rank == 0:
        write_reports(result, folder, run.pictures)
    return result


class _Run:
    """One evaluation: what it was asked for, and what it has so far."""

    def __init__(
        self,
        variant: Variant,
        files: dict[Side, Path],
        torch_key: str | None,
        how: Options,
        team: Processes,
        preprocessing: Preprocessing,
    ) -> None:
        if not files:
            raise RunError("no weights: give --weights (Paddle), --torch-weights, or both.")
        if how.engine == "inference" and "paddle" not in files:
            raise RunError("--engine inference runs the Paddle model: give its --weights.")
        self.variant, self.files, self.how, self.team = variant, files, how, team
        self.keys: dict[Side, str | None] = {"torch": torch_key, "paddle": None}
        self.preprocessing, self.tally = preprocessing, Tally()
        self.jobs = {side: self._job(side) for side in files}
        heads = {side: job.subject.num_classes for side, job in self.jobs.items()}
        if len(set(heads.values())) > 1:
            said = [f"{files[side]} has {show_head(heads[side])}" for side in files]
            raise ModelError(f"{', '.join(said)}: both must tell the same classes apart.")
        self.num_classes = next(iter(heads.values()))
        if not self.num_classes:
            raise ModelError(f"{variant.name}: these weights have no head, so nothing to classify.")
        self.about = {s: dict(job.about_checkpoint) for s, job in self.jobs.items()}
        self.environment: dict[Side, dict[str, Any]] = {}

    def _job(self, side: Side) -> Job:
        """Check the weights by names and shapes, before any framework starts."""
        require(side)
        path, key = self.files[side], self.keys[side]
        if path.is_dir():
            return self._exported(path)
        checkpoint = open_checkpoint(path, key)
        subject = make_subject(self.variant.name, side, checkpoint)
        return Job(
            side,
            subject,
            str(path.absolute()),
            key,
            self.how.device,
            inputs="",
            out="",
            about_checkpoint=describe_checkpoint(checkpoint, {}),
        )

    def _exported(self, path: Path) -> Job:
        """Check the folder of an export."""
        from ..deploy._facts import read_facts

        facts = read_facts(path)
        if self.how.engine != "inference":
            raise RunError(f"{path}: is an export, which --engine inference runs.")
        if facts.variant != self.variant.name:
            raise ModelError(f"{path}: is an export of {facts.variant}, not {self.variant.name}.")
        size, wanted = facts.image_size, self.preprocessing.size
        if size not in (None, wanted):
            raise RunError(f"{path}: takes images of {size} pixels, not {wanted}.")
        return Job(
            "paddle",
            Subject(self.variant.name, facts.num_classes, output="logits"),
            str(path.absolute()),
            None,
            self.how.device,
            inputs="",
            out="",
            about_checkpoint={"file": str(path), "sha256": facts.source["sha256"]},
        )

    def open(self, data: str) -> None:
        """Find the pictures, and choose this process's share of them."""
        self.data, self.pictures = data, open_pictures(data, "val")
        check_classes(self.pictures, self.num_classes)
        count = len(self.pictures)
        chosen = np.linspace(0, count, min(self.how.limit or count, count), endpoint=False)
        self.chosen = chosen.astype(np.int64)
        self.share = self.chosen[self.team.rank :: self.team.count]

    def take(self, before: Evaluation, tally: Tally) -> None:
        """Go on from what an earlier run has left.

        Raises:
            RunError: That one was asked for something else, or the pictures have changed.
        """
        now = self.result()
        same = ("dtype", "engine", "limit")
        pairs = {
            **{name: (before.options.get(name), now.options.get(name)) for name in same},
            **{
                n: (getattr(before, n), getattr(now, n)) for n in ("variant", "described", "wanted")
            },
            "preprocessing": (before.preprocessing, now.preprocessing),
            "weights": tuple(
                {side.label: side.facts["sha256"] for side in one.sides} for one in (before, now)
            ),
            "pictures": (before.names, tuple(self.pictures.names[i] for i in before.indices)),
        }
        for what, (found, expected) in pairs.items():
            if json.dumps(found, sort_keys=True) != json.dumps(expected, sort_keys=True):
                said = "are others now"
                if what != "pictures":
                    said = f"was {found}, now it is {expected}"
                raise RunError(
                    f"--resume goes on with the same evaluation only: {what} {said}. Start again "
                    f"with --force."
                )
        self.tally = tally
        known = {side.label: dict(side.facts) for side in before.sides}
        self.environment = {side: known[self._label(side)] for side in self.jobs}

    def steps(self, progress: Progress | None) -> Generator[None]:
        """Run batch by batch."""
        done = {int(i) for column in self.tally.columns.get("index", ()) for i in column}
        done |= {index for index, _ in self.tally.unreadable}
        left = [int(i) for i in self.share if int(i) not in done]
        if not left:
            return
        largest = min(self.how.batch_size, len(left))
        before, count = len(done), len(self.share)
        if progress is not None:
            progress("starting", before, count)
        with ExitStack() as stack:
            engines = {side: stack.enter_context(self._engine(side, largest)) for side in self.jobs}
            for side, engine in engines.items():
                engine.wait()
                self.environment[side] = engine.facts
            start = last = time.monotonic()
            warm, timed = self.tally.seconds, 0
            batches = load_batches(
                self.pictures, left, self.preprocessing, self.how.batch_size, self.how.workers
            )
            for number, batch in enumerate(stack.enter_context(closing(batches))):
                self._unreadable(batch.unreadable)
                if len(batch.indices):
                    answers = {
                        side: engine.run(batch.images, number == 0)
                        for side, engine in engines.items()
                    }
                    self.tally.add(batch.indices, self.pictures.labels[batch.indices], answers)
                now = time.monotonic()
                self.tally.seconds = warm + now - start
                if number:
                    self.tally.run_seconds += now - last
                    self.tally.run_timed += len(batch.indices)
                    timed += len(batch.indices)
                last = now
                before += len(batch.indices) + len(batch.unreadable)
                if progress is not None:
                    rate = (before - len(done)) / (now - start)
                    progress(f"{rate:.1f} images/s", before, count)
                yield

    def _engine(self, side: Side, largest: int) -> Engine:
        inference = side == "paddle" and self.how.engine == "inference"
        return Engine(
            self.jobs[side],
            dtype=self.how.dtype,
            engine="inference" if inference else "eager",
            exported=str(self.files[side].absolute()) if self.files[side].is_dir() else "",
            threads=self.team.threads,
            largest=(largest, 3, *self.preprocessing.size),
        )

    def _label(self, side: Side) -> str:
        inference = side == "paddle" and self.how.engine == "inference"
        return _LABELS[side] + (" (inference)" if inference else "")

    def _unreadable(self, found: tuple[tuple[int, str], ...]) -> None:
        if found and self.how.strict:
            raise DataError(f"{found[0][1]} (--strict: without it such pictures are left out)")
        self.tally.unreadable.extend(found)

    def result(self) -> Evaluation:
        """Make the result of what there is so far."""
        arrays, tally = self.tally.arrays(), self.tally
        empty = np.zeros(0)
        indices = arrays.get("index", np.zeros(0, np.int64))
        return Evaluation(
            variant=self.variant.name,
            num_classes=self.num_classes,
            data=self.data,
            described=self.pictures.described,
            classes=self.pictures.classes,
            preprocessing=self.preprocessing.to_dict(),
            indices=indices,
            names=tuple(self.pictures.names[i] for i in indices),
            labels=self.pictures.labels[indices],
            sides=tuple(self._scores(side, arrays) for side in self.jobs),
            difference=arrays.get("difference", empty),
            mean_difference=arrays.get("mean_difference", empty),
            unreadable=tuple((self.pictures.names[i], why) for i, why in sorted(tally.unreadable)),
            wanted=len(self.chosen),
            seconds=tally.seconds,
            end_to_end=tally.run_timed / tally.run_seconds if tally.run_seconds else None,
            published=self.variant.published,
            environment=_machine(),
            options=asdict(self.how),
            processes=self.team.count,
            run_timed=tally.run_timed,
            run_seconds=tally.run_seconds,
        )

    def _scores(self, side: Side, arrays: Mapping[str, np.ndarray]) -> Scores:
        empty = judge(np.zeros((0, self.num_classes)), np.zeros(0, np.int64))
        figures = {name: arrays.get(f"{side}.{name}", empty[name]) for name in PER_SIDE}
        return Scores(
            label=self._label(side),
            **figures,
            model_seconds=self.tally.model_seconds.get(side, 0.0) / self.team.count,
            timed=self.tally.timed.get(side, 0),
            peak_bytes=self.tally.peak_bytes.get(side, {}),
            facts={**self.about[side], **self.environment.get(side, {}), "dtype": self.how.dtype},
        )


def _machine() -> dict[str, Any]:
    """Say what this runs on."""
    from .. import __version__

    return {
        "vitconvert": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": np.__version__,
    }
