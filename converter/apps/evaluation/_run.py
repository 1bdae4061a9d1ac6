"""Evaluate: run a session, save what it has so far, write the report."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, Unpack

from ...claims import check_unclaimed, claimed
from ...errors import DataError, RunError, VitconvertError
from ...hub import located
from ...images import open_images, preprocessing_of
from ...parity import Pair
from ...plain import real
from ...running.team import expected_team
from ...sides import Side
from ...terminal import Progress
from ._options import EvaluationArguments, EvaluationOptions
from ._report import check_report_folder, write_reports
from ._result import Evaluation
from ._session import Session
from ._subjects import variant_of
from ._tally import STATE, Tally, read_state

_SAVE_EVERY = 60.0  # seconds


class ReportError(RunError):
    """The report cannot be written; `result` holds the figures."""

    def __init__(self, message: VitconvertError, result: Evaluation) -> None:
        super().__init__(message)
        self.result = result


def evaluate(
    variant: str | Pair,
    data: str | Path,
    *,
    weights: str | Path | None = None,
    torch_weights: str | Path | None = None,
    torch_key: str | None = None,
    classes: Sequence[str] = (),
    preprocessing: Mapping[str, Any] | None = None,
    report: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    **options: Unpack[EvaluationArguments],
) -> Evaluation:
    """Classify labelled images with a Paddle model, a PyTorch model, or both on the same arrays.

    Args:
        variant: For example "shunted_s"; or a pair of models of your own, of which only those run
            that have weights here. Its table may be left out.
        data: Where the images are, see `vitconvert.images.open_images`.
        weights: Of the Paddle model: a .pdparams or .safetensors, or the folder of an export.
        torch_weights: Of the PyTorch model.
        torch_key: Key of the weights in that file where it holds several.
        classes: Names of the model's classes in the order of its head, with which those of the
            images are compared; if left out, those in the run.json of a training beside the
            weights, or of an export.
        preprocessing: Overrides of the variant's own: size, crop_pct, crop_mode,
            interpolation, mean, std. A pair of your own has ImageNet's usual ones, and the size
            that its table states, or 224 x 224.
        report: Folder to write the report to; saved every minute while it runs.
        resume: Whether to continue the interrupted evaluation in `report`.
        force: Whether to replace an existing report.
        progress: Called with a text, the images done and their total.
        options: What `EvaluationOptions` has: device, batch_size, workers, limit, dtype, engine,
            strict and exif.

    Returns:
        The result; `partial` if Ctrl-C ended it. If several processes share the work (see
        `running.team`), only the first has all of it.

    Raises:
        CheckpointError: A checkpoint cannot be read or does not fit, or `report` cannot be used.
        DataError: There are no images, or they do not fit the model; or one cannot be read and
            `strict` is given.
        ModelError: The variant is unknown or a framework not installed.
        RunError: A model cannot run on these images, options contradict each other, or an
            evaluation cannot be resumed with them.
        ReportError: The report cannot be written.
    """
    how = EvaluationOptions(**options)
    how.check()
    team = expected_team()
    folder = None if report is None else Path(report)
    if resume and (folder is None or team.size > 1):
        raise RunError("--resume needs --report, and a single process.")
    if folder is not None:
        _check_apart(folder, data)
    if folder is not None and team.leads:
        check_unclaimed(folder)
        check_report_folder(folder, resume=resume, force=force)
    with claimed(folder) if folder is not None and team.leads else nullcontext():
        if folder is not None and team.leads:
            # Once more: another evaluation may have begun, and even ended, there meanwhile.
            check_report_folder(folder, resume=resume, force=force)
        weighed = (weights, torch_weights, torch_key, classes)
        return _evaluate(variant, data, *weighed, preprocessing, folder, resume, progress, how)


def _evaluate(
    variant: str | Pair,
    data: str | Path,
    weights: str | Path | None,
    torch_weights: str | Path | None,
    torch_key: str | None,
    classes: Sequence[str],
    preprocessing: Mapping[str, Any] | None,
    folder: Path | None,
    resume: bool,
    progress: Progress | None,
    how: EvaluationOptions,
) -> Evaluation:
    """Evaluate as `evaluate` does, once all options are checked and the folder is ours."""
    team = expected_team()
    given: dict[Side, str | Path | None] = {"paddle": weights, "torch": torch_weights}
    files = {side: located(path) for side, path in given.items() if path is not None}
    found = variant_of(variant, files)
    seen = preprocessing_of(found, **(preprocessing or {}))
    run = Session(variant, found, files, torch_key, how, team, seen, classes)
    run.open(str(data))
    run.reported = folder is not None and team.size == 1
    if resume and folder is not None:
        run.resume(read_state(folder / STATE))
    if team.launcher:
        team.join()
        if len(set(team.gather(run.data.fingerprint))) > 1:
            raise RunError(f"{data}: the processes found different images or labels there.")
    with closing(run.steps(progress)) as steps:
        saved = time.monotonic()
        try:
            for _ in steps:
                due = time.monotonic() - saved > _SAVE_EVERY
                if folder is not None and team.size == 1 and due:
                    _save(run, folder)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if team.size > 1:
                raise
    if team.launcher:
        tallies, run.tally = team.gather(run.tally), Tally()
        for tally in tallies:
            run.tally.merge(tally)
        team.leave()
    result = run.result()
    if not result.count and not result.partial:
        name, reason = result.unreadable[0]
        raise DataError(f"{data}: none of {result.wanted} images can be read; {name}: {reason}")
    if folder is not None and team.leads:
        try:
            state = run.state() if result.partial and team.size == 1 else None
            write_reports(result, folder, run.data.images, state)
        except VitconvertError as error:
            raise ReportError(error, result) from error
    return result


def _check_apart(folder: Path, data: str | Path) -> None:
    """Refuse a report where images are looked for: the next run would take it for a class.

    Raises:
        DataError: It lies there, or there are no images.
    """
    if real(folder).is_relative_to(real(Path(data))):
        root = open_images(data).root
        if root is not None and real(folder).is_relative_to(real(root)):
            raise DataError(
                f"{folder}: the report would lie among the images. Choose another folder."
            )


def _save(run: Session, folder: Path) -> None:
    """Update the report; a failure now need not be one at the end."""
    try:
        write_reports(run.result(), folder, run.data.images, run.state())
    except VitconvertError as error:
        logging.getLogger("vitconvert").warning("%s The evaluation continues.", error)
