"""One evaluation from its weights and images to its result, batch by batch."""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...checkpoints import open_checkpoint
from ...errors import DataError, ModelError, RunError
from ...images import Preprocessing, check_classes, load_batches, open_images
from ...models import require
from ...parity import describe_checkpoint, make_subject
from ...running.setup import Setup, Subject
from ...running.team import Team
from ...sides import Side
from ...tables.identify import show_head
from ...tables.variant import Variant
from ...terminal import Progress
from ._engine import Engine
from ._options import EvaluationOptions
from ._result import Evaluation, Scores
from ._tally import PER_SIDE, Tally, judge

_LABELS: dict[Side, str] = {"paddle": "Paddle", "torch": "PyTorch"}


class Session:
    """One evaluation: what it was asked for, and what it has so far."""

    def __init__(
        self,
        variant: Variant,
        files: dict[Side, Path],
        torch_key: str | None,
        how: EvaluationOptions,
        team: Team,
        preprocessing: Preprocessing,
    ) -> None:
        if not files:
            raise RunError("no weights: give --weights (Paddle), --torch-weights, or both.")
        if how.engine == "inference" and "paddle" not in files:
            raise RunError("--engine inference runs the Paddle model: give its --weights.")
        variant.check_size(preprocessing.size)
        self.variant, self.files, self.how, self.team = variant, files, how, team
        self.keys: dict[Side, str | None] = {"torch": torch_key, "paddle": None}
        self.preprocessing, self.tally, self.reported = preprocessing, Tally(), False
        self.about: dict[Side, dict[str, Any]] = {}
        self.setups = {side: self._setup(side) for side in files}
        heads = {side: one.subject.num_classes for side, one in self.setups.items()}
        if len(set(heads.values())) > 1:
            said = [f"{files[side]} has {show_head(heads[side])}" for side in files]
            raise ModelError(f"{', '.join(said)}: both must tell the same classes apart.")
        self.num_classes = next(iter(heads.values()))
        if not self.num_classes:
            raise ModelError(f"{variant.name}: these weights have no head, so nothing to classify.")
        self.environment: dict[Side, dict[str, Any]] = {}

    def _setup(self, side: Side) -> Setup:
        """Check the weights by names and shapes, before any framework starts."""
        require(side)
        path, key = self.files[side], self.keys[side]
        if path.is_dir():
            return self._exported(path)
        checkpoint = open_checkpoint(path, key)
        subject = make_subject(self.variant.name, side, checkpoint)
        self.about[side] = describe_checkpoint(checkpoint, {})
        return Setup(side, subject, str(path.absolute()), key, self.how.device)

    def _exported(self, path: Path) -> Setup:
        """Check the folder of an export."""
        from ..deploy import read_facts

        facts = read_facts(path)
        if self.how.engine != "inference":
            raise RunError(f"{path}: is an export, which --engine inference runs.")
        if facts.variant != self.variant.name:
            raise ModelError(f"{path}: is an export of {facts.variant}, not {self.variant.name}.")
        size, wanted = facts.image_size, self.preprocessing.size
        if size not in (None, wanted):
            raise RunError(f"{path}: takes images of {size} pixels, not {wanted}.")
        self.about["paddle"] = {"file": str(path), "sha256": facts.source["sha256"]}
        subject = Subject(self.variant.name, facts.num_classes, output="logits")
        return Setup("paddle", subject, str(path.absolute()), device=self.how.device)

    def open(self, data: str) -> None:
        """Find the images, and choose this process's share of them."""
        self.data, self.images = data, open_images(data, "val")
        check_classes(self.images, self.num_classes)
        count = len(self.images)
        chosen = np.linspace(0, count, min(self.how.limit or count, count), endpoint=False)
        self.chosen = chosen.astype(np.int64)
        self.share = self.chosen[self.team.rank :: self.team.size]
        known = (self.images.names, self.images.labels.tolist(), self.images.classes)
        self.fingerprint = hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def take(self, before: Evaluation, tally: Tally) -> None:
        """Go on from what an earlier run has left.

        Raises:
            RunError: That one was asked for something else, or the images have changed.
        """
        now = self.result()
        same = ("dtype", "engine", "limit", "batch_size", "device", "torch_key", "images")
        pairs = {
            **{name: (before.options.get(name), now.options.get(name)) for name in same},
            **{
                n: (getattr(before, n), getattr(now, n)) for n in ("variant", "described", "wanted")
            },
            "preprocessing": (before.preprocessing, now.preprocessing),
            "weights": tuple(
                {s.label: [s.facts["sha256"], s.facts.get("shards")] for s in one.sides}
                for one in (before, now)
            ),
        }
        for what, (found, expected) in pairs.items():
            if json.dumps(found, sort_keys=True) != json.dumps(expected, sort_keys=True):
                said = f"was {found}, now it is {expected}"
                if what == "images":
                    said = "or labels are others now"
                raise RunError(
                    f"--resume goes on with the same evaluation only: {what} {said}. Start again "
                    f"with --force."
                )
        self.tally = tally
        known = {side.label: dict(side.facts) for side in before.sides}
        self.environment = {side: known[self._label(side)] for side in self.setups}

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
            engines = {side: self._engine(side, largest, stack) for side in self.setups}
            for side, engine in engines.items():
                engine.wait()
                self.environment[side] = engine.facts
            start = last = time.monotonic()
            before_this, is_warm = self.tally.seconds, False
            batches = load_batches(
                self.images, left, self.preprocessing, self.how.batch_size, self.how.workers
            )
            for number, batch in enumerate(stack.enter_context(closing(batches))):
                self._unreadable(batch.unreadable)
                if len(batch.indices):
                    # In turns, as images are being read while the first of them runs.
                    order = list(engines)[:: -1 if number % 2 else 1]
                    found = {side: engines[side].run(batch.images, not is_warm) for side in order}
                    answers = {side: found[side] for side in engines}
                    self.tally.add(batch.indices, self.images.labels[batch.indices], answers)
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
        inference = side == "paddle" and self.how.engine == "inference"
        path, exported = self.files[side], ""
        if inference and path.is_dir():
            exported = str(path.absolute())
        elif inference:  # made by the process, but ours to take away, however that one ends
            folder = tempfile.TemporaryDirectory(prefix="vitconvert-export-")
            exported = str(Path(stack.enter_context(folder)) / "model")
        engine = Engine(
            self.setups[side],
            dtype=self.how.dtype,
            engine="inference" if inference else "eager",
            exported=exported,
            threads=self.team.threads,
            largest=(largest, 3, *self.preprocessing.size),
        )
        return stack.enter_context(engine)

    def _label(self, side: Side) -> str:
        inference = side == "paddle" and self.how.engine == "inference"
        return _LABELS[side] + (" (inference)" if inference else "")

    def _unreadable(self, found: tuple[tuple[int, str], ...]) -> None:
        if found and self.how.strict:
            raise DataError(f"{found[0][1]} (--strict: without it such images are left out)")
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
            described=self.images.described,
            classes=self.images.classes,
            preprocessing=self.preprocessing.to_dict(),
            indices=indices,
            names=tuple(self.images.names[i] for i in indices),
            labels=self.images.labels[indices],
            sides=tuple(self._scores(side, arrays) for side in self.setups),
            difference=arrays.get("difference", empty),
            mean_difference=arrays.get("mean_difference", empty),
            unreadable=tuple((self.images.names[i], why) for i, why in sorted(tally.unreadable)),
            wanted=len(self.chosen),
            seconds=tally.seconds,
            end_to_end=tally.run_timed / tally.run_seconds if tally.run_seconds else None,
            published=self.variant.published,
            environment=_machine(),
            options={
                **asdict(self.how),
                "torch_key": self.keys["torch"],
                "images": self.fingerprint,
                "report": self.reported,
            },
            processes=self.team.size,
            run_timed=tally.run_timed,
            run_seconds=tally.run_seconds,
        )

    def _scores(self, side: Side, arrays: Mapping[str, np.ndarray]) -> Scores:
        empty = judge(np.zeros((0, self.num_classes)), np.zeros(0, np.int64))
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
    """Say what this runs on."""
    from ...version import __version__

    return {
        "vitconvert": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": np.__version__,
    }
