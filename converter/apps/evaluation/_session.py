"""One evaluation from its weights and images to its result, batch by batch."""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, ModelError, RunError
from ...images import Known, Preprocessing, load_batches
from ...models import require
from ...parity import Pair, describe_checkpoint
from ...running.setup import Setup, Subject
from ...running.team import Team
from ...sides import NAMES, Side
from ...tables.identify import show_head
from ...tables.variant import Variant
from ...terminal import Progress
from ...version import __version__, now
from ._data import Data, names_of
from ._engine import Engine, Task
from ._options import EvaluationOptions
from ._result import Evaluation, Scores
from ._subjects import open_subject
from ._tally import PER_SIDE, State, Tally, judge

_FREE = ("workers", "strict")  # options that may change when an evaluation is resumed


class Session:
    """One evaluation: its options, and its figures so far."""

    def __init__(
        self,
        model: str | Pair,
        variant: Variant,
        files: dict[Side, Path],
        torch_key: str | None,
        how: EvaluationOptions,
        team: Team,
        preprocessing: Preprocessing,
        classes: Sequence[str] = (),
    ) -> None:
        if not files:
            raise RunError("no weights: give --weights (Paddle), --torch-weights, or both.")
        if how.engine == "inference" and "paddle" not in files:
            raise RunError("--engine inference runs the Paddle model: give its --weights.")
        if how.engine == "inference" and isinstance(model, Pair):
            raise RunError("--engine inference exports shipped models only: expected eager.")
        require(*files)
        variant.check_size(preprocessing.size)
        self.model, self.variant, self.files = model, variant, files
        self.how, self.team = how, team
        self.keys: dict[Side, str | None] = {"torch": torch_key, "paddle": None}
        self.preprocessing, self.tally, self.reported = preprocessing, Tally(), False
        self.about: dict[Side, dict[str, Any]] = {}
        self.stored: dict[Path, Known] = {}
        self.setups = {side: self._setup(side) for side in files}
        self.num_classes = 0  # of a model of the user's not known before it runs
        if not isinstance(model, Pair):
            self._agree({side: one.subject.num_classes for side, one in self.setups.items()})
        paths, heads = list(files.values()), self.num_classes or None
        self.known = names_of(paths, heads, classes, self.stored)
        self.environment: dict[Side, dict[str, Any]] = {}

    def _agree(self, heads: Mapping[Side, int]) -> None:
        """Check that the models have the same classes.

        Raises:
            ModelError: The heads differ, or there are none.
        """
        if len(set(heads.values())) > 1:
            found = [f"{self.files[side]} has {show_head(heads[side])}" for side in heads]
            raise ModelError(f"{', '.join(found)}: both must have the same classes.")
        self.num_classes = next(iter(heads.values()))
        if not self.num_classes:
            raise ModelError(
                f"{self.variant.name}: these weights have no head, so they cannot classify images."
            )

    def _setup(self, side: Side) -> Setup:
        """Check the weights by names and shapes, before any framework starts."""
        path, key = self.files[side], self.keys[side]
        if path.is_dir():
            return self._exported(path)
        checkpoint, subject = open_subject(self.model, side, path, key)
        self.about[side] = describe_checkpoint(checkpoint, {})
        return Setup(side, subject, str(path.absolute()), checkpoint.selection, self.how.device)

    def _exported(self, path: Path) -> Setup:
        """Check the folder of an export, as `_setup` does for a checkpoint."""
        from ..deploy import read_facts

        if isinstance(self.model, Pair):
            raise RunError(f"{path}: is a folder; expected the weights of {self.variant.name}.")
        facts = read_facts(path)
        if self.how.engine != "inference":
            raise RunError(f"{path}: is the folder of an export. Run it with --engine inference.")
        if facts.variant != self.variant.name:
            raise ModelError(f"{path}: is an export of {facts.variant}, not {self.variant.name}.")
        size, wanted = facts.image_size, self.preprocessing.size
        if size not in (None, wanted):
            raise RunError(f"{path}: takes images of {size} pixels, not {wanted}.")
        if facts.classes:
            self.stored[path] = Known(facts.classes, str(path))
        self.about["paddle"] = {"file": str(path), "sha256": facts.source["sha256"]}
        subject = Subject(self.variant.name, facts.num_classes, output="logits")
        return Setup("paddle", subject, str(path.absolute()), device=self.how.device)

    def open(self, source: str) -> None:
        """Find the images, and choose this process's share of them."""
        self.data = Data(source, self.known, self.how, self.team)
        self.data.label(self.num_classes)

    def request(self) -> dict[str, Any]:
        """Return what decides the figures, as JSON."""
        labels = {side: self._label(side) for side in self.setups}
        request = {
            **{name: value for name, value in asdict(self.how).items() if name not in _FREE},
            "torch_key": self.keys["torch"],
            "images": self.data.fingerprint,
            "classes": None if self.known is None else self.known.names,
            "variant": self.variant.name,
            "described": self.data.images.described,
            "wanted": len(self.data.chosen),
            "preprocessing": self.preprocessing.to_dict(),
            "weights": {
                labels[s]: [facts["sha256"], facts.get("shards")] for s, facts in self.about.items()
            },
        }
        found: dict[str, Any] = json.loads(json.dumps(request))
        return found

    def state(self) -> State:
        """Return what this evaluation can be resumed from."""
        return State(self.request(), self.environment, self.tally)

    def resume(self, state: State) -> None:
        """Continue an earlier evaluation.

        Raises:
            RunError: That one had other options, or the images have changed.
        """
        request = self.request()
        for name in request | dict(state.request):
            found, expected = state.request.get(name), request.get(name)
            if found != expected:
                change = f"{name} was {found}, is now {expected}"
                if name == "images":
                    change = "the images or labels have changed"
                if name == "classes":
                    change = "the names of the model's classes have changed"
                raise RunError(
                    f"--resume continues the same evaluation only: {change}. Start again with "
                    f"--force."
                )
        self.tally = state.tally
        self.environment = {side: dict(state.environment[side]) for side in state.environment}

    def steps(self, progress: Progress | None) -> Generator[None]:
        """Run batch by batch."""
        done = {int(i) for column in self.tally.columns.get("index", ()) for i in column}
        done |= {index for index, _ in self.tally.unreadable}
        left = [int(i) for i in self.data.share if int(i) not in done]
        if not left:
            return
        largest = min(self.how.batch_size, len(left))
        before, count = len(done), len(self.data.share)
        if progress is not None:
            progress("starting", before, count)
        with ExitStack() as stack:
            engines = {side: self._engine(side, largest, stack) for side in self.setups}
            for side, engine in engines.items():
                engine.wait()
                self.environment[side] = engine.facts
            self._agree({side: engine.num_classes for side, engine in engines.items()})
            self.data.label(self.num_classes)
            start = last = time.monotonic()
            before_this, is_warm = self.tally.seconds, False
            batches = load_batches(
                self.data.images, left, self.preprocessing, self.how.batch_size, self.how.workers
            )
            for number, batch in enumerate(stack.enter_context(closing(batches))):
                self._unreadable(batch.unreadable)
                if len(batch.indices):
                    # In turns, because images are being read while the first of them runs.
                    order = list(engines)[:: -1 if number % 2 else 1]
                    found = {side: engines[side].run(batch.images, not is_warm) for side in order}
                    answers = {side: found[side] for side in engines}
                    self.tally.add(batch.indices, self.data.images.labels[batch.indices], answers)
                now = time.monotonic()
                self.tally.seconds = before_this + now - start
                if is_warm:
                    self.tally.run_seconds += now - last
                    self.tally.run_timed += len(batch.indices)
                is_warm, last = is_warm or len(batch.indices) > 0, now
                before += len(batch.indices) + len(batch.unreadable)
                if progress is not None:
                    rate = (before - len(done)) / (now - start)
                    progress(f"{rate:.1f} images/s", before, count)
                yield

    def _engine(self, side: Side, largest: int, stack: ExitStack) -> Engine:
        """Start the process of a side; what it needs goes when the stack is closed."""
        engine = self.how.engine if side == "paddle" else "eager"
        exported = self.files[side].absolute()
        if engine == "inference" and not exported.is_dir():
            # The process makes it; it is removed here, however that process ends.
            folder = tempfile.TemporaryDirectory(prefix="vitconvert-export-")
            exported = Path(stack.enter_context(folder)) / "model"
        shape, threads = (largest, 3, *self.preprocessing.size), self.team.threads
        task = Task(self.setups[side], self.how.dtype, engine, str(exported), shape, threads)
        return stack.enter_context(closing(Engine(task)))

    def _label(self, side: Side) -> str:
        deployed = side == "paddle" and self.how.engine == "inference"
        return NAMES[side] + (" (inference)" if deployed else "")

    def _unreadable(self, found: tuple[tuple[int, str], ...]) -> None:
        if found and self.how.strict:
            raise DataError(f"{found[0][1]} Without --strict, such images are left out.")
        self.tally.unreadable.extend(found)

    def result(self) -> Evaluation:
        """Return the result so far."""
        arrays, tally = self.tally.arrays(), self.tally
        empty = np.zeros(0)
        indices, images = arrays.get("index", np.zeros(0, np.int64)), self.data.images
        return Evaluation(
            variant=self.variant.name,
            num_classes=self.num_classes,
            data=self.data.source,
            described=images.described + images.orientation,
            classes=images.classes,
            matching=self.data.matching,
            preprocessing=self.preprocessing.to_dict(),
            indices=indices,
            names=tuple(images.names[i] for i in indices),
            labels=images.labels[indices],
            sides=tuple(self._scores(side, arrays) for side in self.setups),
            difference=arrays.get("difference", empty),
            mean_difference=arrays.get("mean_difference", empty),
            unreadable=tuple((images.names[i], why) for i, why in sorted(tally.unreadable)),
            wanted=len(self.data.chosen),
            seconds=tally.seconds,
            end_to_end=tally.run_timed / tally.run_seconds if tally.run_seconds else None,
            published=self.variant.published,
            environment=_machine(),
            options={
                **asdict(self.how),
                "torch_key": self.keys["torch"],
                "images": self.data.fingerprint,
                "report": self.reported,
            },
            processes=self.team.size,
        )

    def _scores(self, side: Side, arrays: Mapping[str, np.ndarray]) -> Scores:
        empty = judge(np.zeros((0, max(self.num_classes, 1))), np.zeros(0, np.int64))
        figures = {name: arrays.get(f"{side}.{name}", empty[name]) for name in PER_SIDE}
        return Scores(
            label=self._label(side),
            **figures,
            model_seconds=self.tally.model_seconds.get(side, 0.0) / self.team.size,
            timed=self.tally.timed.get(side, 0),
            peak_bytes=self.tally.peak_bytes.get(side, {}),
            facts={**self.about[side], **self.environment.get(side, {}), "dtype": self.how.dtype},
        )


def _machine() -> dict[str, Any]:
    """Describe this machine."""
    return {
        "vitconvert": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": np.__version__,
        "date": now(),
    }
