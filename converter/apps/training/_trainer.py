"""The loop over epochs and steps, and when it saves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import RunError, listing
from ._evaluate import Validation, evaluate
from ._interrupt import Interrupted
from ._log import VisualDL, draw_curves, draw_predictions, draws_curves, write_logs
from ._model import make_optimizer, optimizer_state, restore_optimizer
from ._random import Purpose, generator
from ._state import Position, write_checkpoint, write_state

if TYPE_CHECKING:
    from threading import Event

    from ...running.team import Team
    from ._batches import Batches
    from ._settings import Settings
    from ._state import Folder

_LOG = logging.getLogger("vitconvert")
_MOST_NAMED = 8  # unreadable images
_TOP = 5  # classes, up to which every model's top-5 is 100 %
_REDRAW = 30.0  # seconds between two drawings of the curves

# Called after every step: epoch from 1, epochs, steps done, steps, mean loss of the epoch so far,
# images per second.
Listener = Callable[[int, int, int, int, float, float], None]


@dataclass
class Trainer:
    """A model on its way through the epochs."""

    settings: Settings
    folder: Folder
    team: Team
    batches: Batches
    validation: Validation
    classes: tuple[str, ...]
    model: Any
    stop: Event
    listener: Listener | None

    def __post_init__(self) -> None:
        import paddle

        self.position = Position()
        self.optimizer = make_optimizer(self.model, self.settings)
        self.scaler = paddle.amp.GradScaler(enable=self.settings.amp)
        self._net = paddle.DataParallel(self.model) if self.team.size > 1 else self.model
        self._drawn = -_REDRAW
        self._named = len(self.batches.unreadable)  # images that were reported
        self._knows_turned = False

    @property
    def is_done(self) -> bool:
        """Whether all epochs are over."""
        return self.position.epoch >= self.settings.epochs

    def restore(
        self,
        weights: Mapping[str, np.ndarray],
        optimizer: Mapping[str, np.ndarray],
        position: Position,
    ) -> None:
        """Put back what `save` wrote.

        Raises:
            RunError: The weights are not those of the model.
        """
        own = {key: value.numpy() for key, value in self.model.state_dict().items()}
        shapes = ({k: (v.shape, v.dtype) for k, v in of.items()} for of in (own, weights))
        if next(shapes) != next(shapes):
            raise RunError(f"{self.folder.state}: holds the weights of another model.")
        if position.step > self.batches.steps or not self._takes(position.scaler):
            raise RunError(f"{self.folder.state}: does not hold the position of this run.")
        self.model.set_state_dict(dict(weights))
        restore_optimizer(self.optimizer, self.model, optimizer)
        if position.scaler:
            # The scale is an array; in the file all are plain numbers.
            scaler: Any = {
                name: np.array(value, np.float32) if isinstance(value, list) else value
                for name, value in position.scaler.items()
            }
            self.scaler.load_state_dict(scaler)
        self.position = position

    def _takes(self, scaler: Mapping[str, Any]) -> bool:
        """Tell whether the state of a loss scaling is one of our own."""
        own: Any = self.scaler.state_dict()
        return bool(own.keys() == scaler.keys()) and all(
            np.shape(value) == np.shape(scaler[name]) for name, value in own.items()
        )

    def save(self) -> None:
        """Write the state; only the first process does."""
        if not self.team.leads:
            return
        weights = self._weights()
        if self.settings.amp:
            scaler: dict[str, Any] = {
                name: value.tolist() if isinstance(value, np.ndarray) else value
                for name, value in self.scaler.state_dict().items()
            }
            self.position.scaler = scaler
        optimizer = optimizer_state(self.optimizer, self.model)
        write_state(self.folder.state, weights, optimizer, self.position)

    def run(self) -> None:
        """Train to the end.

        Raises:
            Interrupted: A signal stopped it; the state is saved.
            RunError: The loss is not finite.
        """
        if not (self.is_done or self.position.epoch or self.position.step):
            self.save()
        logs = VisualDL(self.folder, self.settings.visualdl and self.team.leads)
        with closing(logs):
            while not self.is_done:
                row = self._epoch()
                if self.team.leads:
                    logs.add(row)
                self._check_stop()
        if self.team.leads:
            self._finish()
        self.team.wait()

    def _epoch(self) -> dict[str, Any]:
        """Train the rest of an epoch, evaluate, write; give the epoch's row."""
        done, before = self.position, self.position.seconds
        start, steps = time.perf_counter(), self.batches.steps
        self.model.train()
        with closing(self.batches.epoch(done.epoch, done.step)) as batches:
            for images, targets in batches:
                done.loss += self._step(images, targets)
                done.step += 1
                done.seconds = before + time.perf_counter() - start
                if self.listener is not None and self.team.leads:
                    rate = done.step * self.batches.batch_size / done.seconds
                    at = (done.epoch + 1, self.settings.epochs, done.step, steps)
                    self.listener(*at, done.loss / done.step, rate)
                every = self.settings.save_every
                if every is not None and done.step % every == 0:
                    self.save()
                self._check_stop()
        self._name_unreadable()
        self.team.share_statistics(self.model)
        score = evaluate(
            self.model,
            self.validation,
            max(1, self.settings.batch_size // self.team.size),
            self.settings.workers,
            self.team,
            # The processes of a team may have other numbers of batches: they ask together later.
            self._check_stop if self.team.size == 1 else lambda: None,
        )
        if not np.isfinite(score["val_loss"]):
            raise RunError(self._diverged("logits that are not finite"))
        self._name_turned()
        return self._close_epoch(score)

    def _step(self, images: np.ndarray, targets: np.ndarray) -> float:
        """Train on one batch; give its loss, the mean over all processes.

        Raises:
            RunError: The loss is not finite; the weights are as before.
        """
        import paddle

        step = self.position.epoch * self.batches.steps + self.position.step
        rng = generator(self.settings.seed, Purpose.LAYERS, step, self.team.rank)
        paddle.seed(int(rng.integers(2**31)))
        self.optimizer.set_lr(self.settings.learning_rate(step, self.batches.steps))
        with paddle.amp.auto_cast(enable=self.settings.amp):
            logits = self._net(paddle.to_tensor(images))
        losses = paddle.nn.CrossEntropyLoss(soft_label=True)
        loss = losses(logits.astype("float32"), paddle.to_tensor(targets))
        mean = self.team.add([float(loss)])[0] / self.team.size
        if not np.isfinite(mean):
            raise RunError(self._diverged(f"a loss of {mean}"))
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.clear_grad()
        return mean

    def _diverged(self, what: str) -> str:
        done = self.position
        kept = f"{self.folder.last} has the weights of epoch {done.epoch}."
        return (
            f"training gives {what} in epoch {done.epoch + 1} after {done.step} steps, at a "
            f"learning rate of {self.optimizer.get_lr():.3g}. "
            f"{kept if done.epoch else 'No epoch is complete.'} Try a smaller --lr, a longer "
            f"warm-up or --clip-grad 1."
        )

    def _close_epoch(self, score: dict[str, Any]) -> dict[str, Any]:
        """Count an epoch as done, and write all files."""
        done, steps = self.position, self.batches.steps
        step = (done.epoch + 1) * steps - 1
        row = {
            "epoch": done.epoch + 1,
            "train_loss": done.loss / steps,
            **score,
            "val_top5": score["val_top5"] if len(self.classes) > _TOP else None,
            "learning_rate": self.settings.learning_rate(step, steps),
            "images_per_second": steps * self.batches.batch_size / done.seconds,
            "seconds": done.seconds,
        }
        is_best, best = row["val_top1"] > done.best, max(row["val_top1"], done.best)
        history = [*done.history, row]
        weights = self._weights()
        self.position = Position(epoch=done.epoch + 1, best=best, history=history)
        if self.team.leads:
            if is_best:
                write_checkpoint(self.folder.best, weights)
            write_checkpoint(self.folder.last, weights)
            self.save()
            write_logs(self.folder, history)
            self._draw(often=True)
            _LOG.info(_line(row, self.settings.epochs, is_best))
        return row

    def _draw(self, often: bool) -> None:
        """Draw the curves; with `often`, at most every half minute."""
        now = time.monotonic()
        is_due = not often or now - self._drawn > _REDRAW
        if self.position.history and is_due and draws_curves():
            draw_curves(self.folder.curves, self.position.history, self.settings.variant)
            self._drawn = now

    def _finish(self) -> None:
        """Draw the predictions of the best weights."""
        from ...checkpoints import Selection, open_selected
        from ...models import load_paddle
        from ...tables.reading import find_variant

        self._draw(often=False)
        table = find_variant(self.settings.variant)[0]
        load_paddle(self.model, open_selected(self.folder.best, Selection()), table)
        title = f"{self.settings.variant}: top-1 {self.position.best:.2f}%"
        draw_predictions(self.folder.sheet, self.model, self.validation, self.classes, title)

    def _check_stop(self) -> None:
        """Save and stop if a signal asks for it; all processes of a team at the same step."""
        wanted = self.team.add([float(self.stop.is_set())])[0]
        if not wanted:
            return
        self.save()
        if self.team.leads:
            self._draw(often=False)
        done = self.position
        raise Interrupted(
            f"Interrupted in epoch {done.epoch + 1} after {done.step} of {self.batches.steps} "
            f"steps; the state is saved. Resume: vitconvert train --resume --out {self.folder.path}"
        )

    def _name_unreadable(self) -> None:
        """Report each image that cannot be read once."""
        found = self.batches.unreadable
        if len(found) > self._named:
            self._named = len(found)
            reasons = sorted(found.values())[:_MOST_NAMED]
            if len(found) > _MOST_NAMED:
                reasons.append(f"and {len(found) - _MOST_NAMED} more")
            count = "1 image" if len(found) == 1 else f"{len(found)} images"
            _LOG.warning(listing(f"{count} cannot be read; others take their places:", reasons))

    def _name_turned(self) -> None:
        """Report once how many images have an orientation that was not applied."""
        sets = {"training": self.batches.images, "validation": self.validation.images}
        found = [f"{n}: {i.orientation.lstrip(', ')}." for n, i in sets.items() if i.oriented]
        if found and self.team.leads and not self._knows_turned:
            _LOG.warning(listing("The images are used as they are stored:", found))
        self._knows_turned = True

    def _weights(self) -> dict[str, np.ndarray]:
        """Read the weights.

        Raises:
            RunError: Some are not finite. The loss need not show that: ReLU makes 0 of nan, and
                the statistics of a BatchNorm are used in evaluation only.
        """
        weights = {name: value.numpy() for name, value in self.model.state_dict().items()}
        if not all(np.isfinite(array).all() for array in weights.values()):
            raise RunError(self._diverged("weights that are not finite"))
        return weights


def _line(row: Mapping[str, Any], epochs: int, is_best: bool) -> str:
    skipped = f", {row['val_unreadable']} unreadable" if row["val_unreadable"] else ""
    top5 = "" if row["val_top5"] is None else f", top-5 {row['val_top5']:.2f}%"
    return (
        f"epoch {row['epoch']}/{epochs}: loss {row['train_loss']:.4f}, validation loss "
        f"{row['val_loss']:.4f}, top-1 {row['val_top1']:.2f}%{top5}"
        f"{skipped}; {row['images_per_second']:.0f} images/s, {row['seconds']:.0f} s"
        f"{' (best so far)' if is_best else ''}"
    )
