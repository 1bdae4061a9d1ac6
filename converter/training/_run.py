"""One training run, from its options to its last file."""

from __future__ import annotations

import json
import logging
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from .._errors import DataError, RunError
from .._models import require
from ._augment import augmentation_of
from ._batches import Batches, spread
from ._devices import Team, choose_device, expected_team
from ._interrupt import wishes
from ._log import check_installed
from ._model import check_size, check_variant, make_model
from ._settings import Settings, check_same, from_dict
from ._state import Folder, locked, read_state, write_text
from ._trainer import Listener, Trainer, Validation

if TYPE_CHECKING:
    from ..pictures import Pictures

_LOG = logging.getLogger("vitconvert")


@dataclass(frozen=True)
class Summary:
    """What came out of a run.

    Attributes:
        folder: Its files.
        best: Row of the epoch with the highest top-1.
        last: Row of the last epoch.
    """

    folder: Folder
    best: dict[str, Any]
    last: dict[str, Any]


def stored_settings(out: Path) -> Settings:
    """Read the options that a run was begun with.

    Raises:
        RunError: There is no run in that folder.
    """
    return from_dict(_stored(Folder(out))["options"], str(out))


def train(
    settings: Settings,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    listener: Listener | None = None,
) -> Summary:
    """Train a variant, or go on with a run that was ended.

    Args:
        settings: What to train, on what, how.
        out: Folder of the run; made if it is not there.
        resume: Go on from the state that the folder holds, to the bit where the run would be.
        force: Replace the run that the folder holds.
        listener: Told of every step.

    Raises:
        ModelError: The variant is unknown, or has no head.
        DataError: Pictures or labels cannot be read, or do not fit.
        CheckpointError: The weights do not fit, or a file cannot be written.
        RunError: The options do not fit the run or this machine, or the loss is not finite.
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
    """
    check_variant(settings.variant)
    check_installed(settings.visualdl)
    require("paddle")
    folder, team = Folder(Path(out)), expected_team()
    if resume:
        check_same(stored_settings(folder.path), settings, str(out))
    elif team.leads:
        _check_new(folder, force)
    prepared = prepare(settings)
    device = choose_device(settings, team)
    weights = None if settings.weights is None else Path(settings.weights)
    resumed = resume and folder.state.exists()
    # Weights come with the state then.
    model = make_model(settings, len(prepared.classes), None if resumed else weights)
    check_size(model, prepared.validation.preprocessing.size)
    if team.leads:
        folder.state.parent.mkdir(parents=True, exist_ok=True)
    team.wait()
    with locked(folder) if team.leads else nullcontext(), wishes() as wish:
        if team.leads:
            _begin(folder, settings, prepared, device, resume)
        trainer = Trainer(
            settings=settings,
            folder=folder,
            team=team,
            batches=prepared.batches(settings, team),
            validation=prepared.validation,
            classes=prepared.classes,
            model=model,
            wish=wish,
            listener=listener,
        )
        if resume:
            _resume(trainer, folder, prepared)
        trainer.run()
    history = trainer.progress.history
    return Summary(folder, max(history, key=lambda row: row["val_top1"]), history[-1])


@dataclass(frozen=True)
class Prepared:
    """The pictures of a run.

    Attributes:
        pictures: To learn from.
        chosen: int64 [N], those of them that are.
        validation: What is evaluated.
        classes: Names, or numbers as texts, in the order of labels.
    """

    pictures: Pictures
    chosen: np.ndarray
    validation: Validation
    classes: tuple[str, ...]

    def batches(self, settings: Settings, team: Team) -> Batches:
        """Give the batches for one process of a team."""
        if len(self.chosen) < team.size:
            raise DataError(
                f"{self.pictures.source}: {len(self.chosen)} pictures to learn from; expected at "
                f"least one for each of {team.size} processes."
            )
        augmentation = augmentation_of(settings, self.validation.preprocessing)
        return Batches(self.pictures, self.chosen, len(self.classes), augmentation, settings, team)

    def fingerprint(self) -> str:
        """Identify the pictures by classes, labels and names; where they lie may change."""
        digest = sha256(json.dumps(self.classes).encode())
        for part in (self.pictures, self.validation.pictures):
            digest.update(part.labels.tobytes())
            digest.update("\n".join(part.names).encode(errors="surrogateescape"))
        return digest.hexdigest()


def prepare(settings: Settings) -> Prepared:
    """Open both sets of pictures and compare their classes.

    Raises:
        DataError: One is empty, or they do not fit each other or the number of classes.
    """
    from ..pictures import check_classes, open_pictures, preprocessing_of

    _table, variant = check_variant(settings.variant)
    pictures = open_pictures(settings.data, "train")
    validation = open_pictures(settings.val_data or settings.data, "val")
    for part in (pictures, validation):
        if not len(part):
            raise DataError(f"{part.source} ({part.described}): holds no pictures.")
    if pictures.classes and validation.classes and pictures.classes != validation.classes:
        odd = sorted({*pictures.classes} ^ {*validation.classes})
        raise DataError(
            f"{pictures.source} ({pictures.described}) and {validation.source} "
            f"({validation.described}) have other classes: {', '.join(odd[:8])}. Labels are places "
            f"in the sorted list, so that both need the same."
        )
    found = len(pictures.classes) or int(pictures.labels.max()) + 1
    num_classes = found if settings.num_classes is None else settings.num_classes
    for part in (pictures, validation):
        check_classes(part, num_classes)
    classes = pictures.classes or tuple(str(label) for label in range(num_classes))
    preprocessing = preprocessing_of(variant, size=settings.img_size)
    chosen = spread(len(validation), settings.limit)
    return Prepared(
        pictures,
        spread(len(pictures), settings.limit),
        Validation(validation, chosen, preprocessing),
        classes,
    )


def _check_new(folder: Folder, force: bool) -> None:
    """Refuse a folder that holds a run that must not be replaced, or anything else.

    Raises:
        RunError: It holds a run and `force` is not given, or it is no folder of a run.
    """
    path = folder.path
    if not path.parent.is_dir():
        raise RunError(f"{path}: the folder {path.parent} does not exist. Make it first.")
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: is a file; expected the folder of a run.")
    if not path.exists() or not [one for one in path.iterdir() if one != folder.state.parent]:
        return  # a run that was killed at once leaves an empty folder
    if not folder.run.exists():
        raise RunError(f"{path}: holds files, and no run. Choose another folder.")
    if not force:
        raise RunError(
            f"{path}: holds a run already. Pass --resume to go on with it, --force to replace it."
        )


def _begin(
    folder: Folder, settings: Settings, prepared: Prepared, device: str, resume: bool
) -> None:
    """Store what the run is, in the place of an earlier one, and say what it is made of."""
    import paddle

    data = prepared.validation
    facts = {
        "vitconvert": __version__,
        "paddle": paddle.version.full_version,
        "device": device,
        "options": settings.to_dict(),
        "classes": prepared.classes,
        "preprocessing": data.preprocessing.to_dict(),
        "pictures": prepared.fingerprint(),
    }
    if not resume:
        for file in folder.own():
            file.unlink(missing_ok=True)
        write_text(folder.run, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    for name, part, chosen in (
        ("learning from", prepared.pictures, prepared.chosen),
        ("evaluating", data.pictures, data.chosen),
    ):
        of = f" of {len(part)}" if len(chosen) < len(part) else ""
        _LOG.info(f"{name} {len(chosen)}{of} pictures: {part.source}, {part.described}")
    height, width = data.preprocessing.size
    _LOG.info(f"{settings.variant}, {len(prepared.classes)} classes, {height}x{width}, {device}")


def _resume(trainer: Trainer, folder: Folder, prepared: Prepared) -> None:
    """Put a trainer where the run was.

    Raises:
        RunError: The pictures are others, or the state cannot be read.
    """
    if _stored(folder)["pictures"] != prepared.fingerprint():
        raise RunError(
            f"{folder.path} was begun with other pictures than {prepared.pictures.source} and "
            f"{prepared.validation.pictures.source} hold now. Begin a new run with --weights."
        )
    if not folder.state.exists():
        if trainer.team.leads:
            _LOG.info(f"{folder.path} has no state yet: begins at the beginning.")
        return
    trainer.restore(*read_state(folder.state))
    done = trainer.progress
    if trainer.team.leads and not trainer.is_done:
        _LOG.info(f"goes on in epoch {done.epoch + 1} after {done.step} steps.")


def _stored(folder: Folder) -> dict[str, Any]:
    """Read what a run is."""
    try:
        found = json.loads(folder.run.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{folder.path}: holds no run to resume. Leave --resume out to begin one."
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{folder.run}: cannot be read: {error}.") from error
    if not isinstance(found, dict) or not isinstance(found.get("options"), dict):
        raise RunError(f"{folder.run}: is not what a run stores of itself.")
    return found
