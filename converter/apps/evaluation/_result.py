"""The result of an evaluation: figures per image as arrays, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...sides import Side

# Of the normal distribution: half of a 95 % interval, in standard deviations.
_Z = 1.959964
# The largest difference between the logits of one image that rounding explains, in shares of the
# largest logit. Up to 4.3e-6 was seen in float32 (docs/eval.md); deeper models may round more.
NOISE = {"float32": 2e-5, "float64": 1e-9}


@dataclass(frozen=True)
class Scores:
    """The figures of one model; every array has one entry per evaluated image.

    Attributes:
        label: "Paddle" or "PyTorch", and how it ran if not plainly: "Paddle (inference)".
        predicted: int64 [N], the class of the largest logit; -1 where logits are not finite.
        hit5: bool [N], whether the label is among the five largest logits.
        loss: float64 [N], cross-entropy in nats.
        margin: float64 [N], the largest logit minus the second largest.
        largest: float64 [N], the largest absolute logit.
        model_seconds: Time that the model alone took, warm-up left out.
        timed: Images that it took that time for.
        peak_bytes: The most memory that its process held; on a GPU the most held there as well.
        facts: File and its sha256, versions, device, threads, engine, dtype.
    """

    label: str
    predicted: np.ndarray
    hit5: np.ndarray
    loss: np.ndarray
    margin: np.ndarray
    largest: np.ndarray
    model_seconds: float
    timed: int
    peak_bytes: Mapping[str, int]
    facts: Mapping[str, Any]

    @property
    def framework(self) -> Side:
        """The framework that ran the model."""
        return "paddle" if self.label.startswith("Paddle") else "torch"

    @property
    def images_per_second(self) -> float | None:
        """Images a second of the model alone, without loading; None if nothing was timed."""
        return self.timed / self.model_seconds if self.timed else None


@dataclass(frozen=True)
class Share:
    """A share of images, with its 95 % interval (Wilson's score interval), all 0..1."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share itself; not a number if there are no images."""
        return self.count / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        if not self.of:
            return math.nan, math.nan
        n, p = self.of, self.value
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class PairedDifference:
    """How much more often the first of two sides is right, on the same images; shares 0..1.

    Attributes:
        only_first: Images that the first side alone classifies rightly.
        only_second: Images that the second alone does.
        of: All images.
    """

    only_first: int
    only_second: int
    of: int

    @property
    def value(self) -> float:
        """The first share minus the second; not a number if there are no images."""
        return (self.only_first - self.only_second) / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the 95 % interval for paired samples.

        Bonett and Price's (2012) adjusted Wald interval: one is added to both counts and two to
        the images, so that it does not vanish where both sides are right on the same ones.
        """
        if not self.of:
            return math.nan, math.nan
        n = self.of + 2
        first, second = (self.only_first + 1) / n, (self.only_second + 1) / n
        half = _Z * math.sqrt((first + second - (first - second) ** 2) / n)
        return max(-1.0, first - second - half), min(1.0, first - second + half)


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        variant: Such as "shunted_s".
        num_classes: Size of the head.
        data: The images, as the user named them.
        described: What vitconvert found there.
        classes: Names in label order, those of the model where they are known; () if there are
            numbers only.
        preprocessing: How images became the input.
        indices: int64 [N], which images of the data were evaluated, in this order.
        names: One per evaluated image.
        labels: int64 [N].
        sides: One or two; Paddle before PyTorch.
        difference: float64 [N], largest absolute difference of two sides' logits; empty for one.
        mean_difference: float64 [N], the mean of them.
        unreadable: Name of an image and why it could not be read.
        wanted: Number of images to evaluate.
        seconds: Wall time from the first image to the last, all runs of a resumed one.
        end_to_end: Images a second of the whole run, loading and every side, warm-up left out;
            None if nothing was timed.
        published: The released checkpoints' figures, top1 in percent, with their source.
        environment: Machine and versions.
        options: Options of the run.
        processes: How many shared the work.
        matching: How the classes of the images became those of the model, in words.
    """

    variant: str
    num_classes: int
    data: str
    described: str
    classes: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    indices: np.ndarray
    names: tuple[str, ...]
    labels: np.ndarray
    sides: tuple[Scores, ...]
    difference: np.ndarray
    mean_difference: np.ndarray
    unreadable: tuple[tuple[str, str], ...]
    wanted: int
    seconds: float
    end_to_end: float | None
    published: tuple[Mapping[str, Any], ...]
    environment: Mapping[str, Any]
    options: Mapping[str, Any]
    processes: int = 1
    matching: str = ""

    @property
    def count(self) -> int:
        """Images that were evaluated."""
        return len(self.labels)

    @property
    def partial(self) -> bool:
        """Whether images are left to evaluate."""
        return self.count + len(self.unreadable) < self.wanted

    def top1(self, side: Scores) -> Share:
        """Return the share of images whose label has the largest logit."""
        return Share(int((side.predicted == self.labels).sum()), self.count)

    def top5(self, side: Scores) -> Share | None:
        """Return the share with the label among the largest five; None for at most five classes."""
        return Share(int(side.hit5.sum()), self.count) if self.num_classes > 5 else None

    def loss(self, side: Scores) -> float:
        """Return the mean cross-entropy, in nats."""
        return float(side.loss.mean()) if self.count else math.nan

    def confusion(self, side: Scores) -> np.ndarray:
        """Count predictions: int64 [num_classes, num_classes], true class by predicted class."""
        table = np.zeros((self.num_classes, self.num_classes), np.int64)
        finite = side.predicted >= 0
        np.add.at(table, (self.labels[finite], side.predicted[finite]), 1)
        return table

    @cached_property
    def agreement(self) -> Share | None:
        """The share of images that both sides give one class; None for one side."""
        if len(self.sides) < 2:
            return None
        return Share(self.count - len(self.disagreements), self.count)

    @cached_property
    def accuracy_difference(self) -> PairedDifference | None:
        """How much more often the first side is right than the second; None for one side."""
        if len(self.sides) < 2:
            return None
        first, second = (side.predicted == self.labels for side in self.sides)
        only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
        return PairedDifference(only_first, only_second, self.count)

    @cached_property
    def disagreements(self) -> np.ndarray:
        """Rows of images that two sides classify differently, int64; empty for one side."""
        if len(self.sides) < 2:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self.sides[0].predicted != self.sides[1].predicted)

    @cached_property
    def noise(self) -> np.ndarray:
        """The largest difference that rounding explains, for each image, float64 [N]."""
        largest = np.max([side.largest for side in self.sides], 0)
        share: np.ndarray = NOISE[str(self.options["dtype"])] * largest
        return share

    def is_rounding(self, row: int) -> bool:
        """Tell whether rounding explains a disagreement.

        The two best classes are so close that the difference of the logits can swap them, and
        that difference is itself no more than rounding.
        """
        margin = max(side.margin[row] for side in self.sides)
        close = margin <= 2 * self.difference[row]
        return bool(close and self.difference[row] <= self.noise[row])

    @property
    def finite(self) -> bool:
        """Whether all logits of all sides are finite."""
        return not any((side.predicted < 0).any() for side in self.sides)

    @property
    def unexplained(self) -> list[int]:
        """Rows of disagreements that rounding does not explain."""
        return [int(row) for row in self.disagreements if not self.is_rounding(int(row))]

    @property
    def same(self) -> bool | None:
        """Whether two sides classify the same except for rounding; None for one side.

        The logits count as well: for no image may they differ by more than rounding.
        """
        if len(self.sides) < 2:
            return None
        if not self.finite:
            return False
        return not self.unexplained and bool((self.difference <= self.noise).all())
