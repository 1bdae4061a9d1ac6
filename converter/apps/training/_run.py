"""One training run, from its options to its last file."""

from __future__ import annotations

import json
import logging
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...claims import check_unclaimed
from ...errors import RunError
from ...files import write_whole
from ...images import Known, read_classes
from ...models import require
from ...running.device import choose_device, import_framework
from ...running.team import Team, expected_team
from ...tables.identify import show_head
from ...version import __version__
from ._batches import Batches
from ._interrupt import stop_requests
from ._log import check_installed, draws_curves
from ._model import check_size, check_variant, make_model
from ._prepare import Prepared, prepare
from ._settings import Settings, check_same, from_dict
from ._state import Folder, check_run_folder, kept, read_record, read_state
from ._trainer import Listener, Trainer

_LOG = logging.getLogger("vitconvert")


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Attributes:
        folder: Its files.
        best: Row of the epoch with the highest top-1.
        last: Row of the last epoch.
    """

    folder: Folder
    best: dict[str, Any]
    last: dict[str, Any]


def stored_settings(out: Path) -> Settings:
    """Read the options that a run was started with.

    Raises:
        CheckpointError: There is no run in that folder.
        RunError: Its run.json is damaged, or was written by another version.
    """
    return from_dict(read_record(Folder(out)).options, str(out))


def train(
    settings: Settings,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    listener: Listener | None = None,
) -> Summary:
    """Train a variant, or resume a run.

    Args:
        settings: What to train, on what, how.
        out: Folder of the run; made if it is not there.
        resume: Continue the run in the folder; the result is bit-identical to one whole run.
        force: Replace the run that the folder holds.
        listener: Called after every step.

    Raises:
        ModelError: The variant is unknown, or has no head.
        DataError: Images or labels cannot be read, or do not fit.
        CheckpointError: The weights do not fit, or a file cannot be written.
        RunError: The options do not fit the run or this machine, or the loss is not finite.
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
    """
    check_variant(settings.variant)
    check_installed(settings.visualdl)
    require("paddle")
    folder, team = Folder(Path(out)), expected_team(["paddle"])
    if team.leads:
        check_unclaimed(folder.path)
    _check(folder, settings, team, resume, force)
    stored = Known(read_classes(folder.run), str(folder.run)) if resume else None
    prepared = prepare(settings, stored)
    device = _set_device(settings, team)
    weights = None if settings.weights is None else Path(settings.weights)
    resumed = resume and folder.state.exists()
    # A resumed run has its weights in the state.
    source, is_new_head = None if resumed else weights, prepared.is_new_head
    model = make_model(settings, len(prepared.classes), source, is_new_head)
    check_size(model, prepared.validation.preprocessing.size)
    batches = prepared.batches(settings, team)
    team.wait()
    with kept(folder) if team.leads else nullcontext(), stop_requests() as stop:
        if team.leads:
            # Once more: another may have begun, and even finished, a run there meanwhile.
            _check(folder, settings, team, resume, force)
            if not resume:
                _begin(folder, settings, prepared, device, team)
            _tell(settings, prepared, batches, device)
        trainer = Trainer(
            settings=settings,
            folder=folder,
            team=team,
            batches=batches,
            validation=prepared.validation,
            classes=prepared.classes,
            model=model,
            stop=stop,
            listener=listener,
        )
        if resume:
            _resume(trainer, folder, prepared)
        trainer.run()
    history = trainer.position.history
    return Summary(folder, max(history, key=lambda row: row["val_top1"]), history[-1])


def _check(folder: Folder, settings: Settings, team: Team, resume: bool, force: bool) -> None:
    """Refuse a folder that the run cannot have.

    Raises:
        CheckpointError: As `check_run_folder`.
        RunError: The run to resume has other options, or another number of processes.
    """
    if resume:
        check_same(stored_settings(folder.path), settings, str(folder.path))
        begun = read_record(folder).processes
        if begun != team.size:
            raise RunError(
                f"{folder.path} was started with {begun} processes; this command has {team.size}, "
                f"which would compute other numbers. Use {begun} again, or start a new run."
            )
    if team.leads:
        named = (settings.weights, settings.data, settings.val_data)
        sources = [Path(name) for name in named if name is not None]
        check_run_folder(folder, sources, resume, force)


def _set_device(settings: Settings, team: Team) -> str:
    """Set the device of this process, and meet the others; give its name for people.

    Raises:
        RunError: There is no such device, or the options need another.
    """
    device, paddle = choose_device("paddle", settings.device), import_framework("paddle")
    if settings.amp and device == "cpu":
        raise RunError(
            "--amp: Paddle computes float16 on a GPU only; on the CPU its layers have no float16 "
            "kernels. Leave --amp out, or take --device gpu."
        )
    if settings.batch_size % team.size:
        raise RunError(
            f"--batch-size is {settings.batch_size}, of all processes together; expected a "
            f"multiple of {team.size}, as many as were started."
        )
    paddle.device.set_device(device)
    # Whatever a Predictor in this process has set it to: the bits of a run depend on it. Paddle's
    # own default is one thread for a matrix product.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    paddle.base.core.set_num_threads(int(threads) or 1 if threads.isdecimal() else 1)
    team.join()
    if device == "gpu":
        return f"{team.size} GPUs" if team.size > 1 else str(paddle.device.cuda.get_device_name())
    return f"CPU, {team.size} processes" if team.size > 1 else "CPU"


def _begin(folder: Folder, settings: Settings, prepared: Prepared, device: str, team: Team) -> None:
    """Remove the files of an earlier run, and write run.json."""
    import paddle

    facts = {
        "vitconvert": __version__,
        "paddle": paddle.version.full_version,
        "device": device,
        "processes": team.size,
        "options": settings.to_dict(),
        "classes": prepared.classes,
        "preprocessing": prepared.validation.preprocessing.to_dict(),
        "images": prepared.fingerprint(),
    }
    for file in folder.own():
        if file != folder.run:  # by which the folder is known to be that of a run
            file.unlink(missing_ok=True)
    write_whole(folder.run, f"{json.dumps(facts, indent=1, ensure_ascii=False)}\n".encode())


def _tell(settings: Settings, prepared: Prepared, batches: Batches, device: str) -> None:
    """Print what a run computes."""
    data = prepared.validation
    for name, part, chosen in (
        ("training on", prepared.images, prepared.chosen),
        ("evaluating on", data.images, data.chosen),
    ):
        of = f" of {len(part)}" if len(chosen) < len(part) else ""
        remark = prepared.ordered if part is prepared.images else prepared.matched
        remark = f"; {remark}" if remark else ""
        noun = f"image{'s' * (len(part) > 1)}"
        _LOG.info(f"{name} {len(chosen)}{of} {noun}: {part.source}, {part.described}{remark}")
    if not draws_curves():
        _LOG.warning(
            "Matplotlib is not installed: no curves are drawn; curves.csv has their numbers. To "
            "have them drawn: pip install matplotlib"
        )
    if len(prepared.classes) == 1:
        _LOG.warning("the images have one class: whatever the model learns, it is always right")
    if prepared.is_same:
        _LOG.warning(
            "training and evaluation use the same images: top-1 says nothing about new ones"
        )
    size, steps = batches.batch_size, batches.steps
    if size < settings.batch_size:
        _LOG.warning(
            f"batches of {size} instead of {settings.batch_size}: there are no more images"
        )
    height, width = data.preprocessing.size
    model = f"{settings.variant}, {show_head(len(prepared.classes))}, {height}x{width}"
    pace = f"batches of {size}, {steps} step{'s' * (steps > 1)} an epoch"
    _LOG.info(f"{model}, {pace}, {device}")


def _resume(trainer: Trainer, folder: Folder, prepared: Prepared) -> None:
    """Restore the state of a run.

    Raises:
        RunError: The images have changed, or the state cannot be read.
    """
    if read_record(folder).images != prepared.fingerprint():
        raise RunError(
            f"{folder.path} was started with other images than {prepared.images.source} and "
            f"{prepared.validation.images.source} hold now. Start a new run with --weights."
        )
    if not folder.state.exists():
        if trainer.team.leads:
            _LOG.info(f"{folder.path} holds no state yet; the run starts from the beginning")
        return
    trainer.restore(*read_state(folder.state))
    done = trainer.position
    if not trainer.team.leads:
        return
    if trainer.is_done:
        epochs = "its one epoch is" if done.epoch == 1 else f"all {done.epoch} epochs are"
        _LOG.info(f"{folder.path}: {epochs} done; nothing left to do")
    else:
        _LOG.info(f"resuming in epoch {done.epoch + 1} after {done.step} steps")
