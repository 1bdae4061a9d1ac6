"""A model with its weights as a function of arrays, and measures of its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...errors import ModelError, RunError
from ...models import require
from ...parity import make_subject
from ...running.device import Device
from ...running.setup import Setup
from ...running.side import as_function, make_side
from ...sides import Side
from ...tables.opening import open_weights
from ...tables.reading import find_variant

Measure = Literal["probability", "log-odds"]


@dataclass(frozen=True)
class Classifier:
    """A model that is ready to run.

    Attributes:
        predict: float32 [B, 3, H, W], normalised -> logits, float32 [B, num_classes].
        num_classes: Size of its head.
        framework: The one that runs it.
        device: Where it runs: "cpu" or "gpu".
    """

    predict: Callable[[np.ndarray], np.ndarray]
    num_classes: int
    framework: Side
    device: str


def load_classifier(
    variant: str, weights: Path, framework: Side | None = None, device: Device = "auto"
) -> Classifier:
    """Build a model and load its weights; the file determines its number of classes.

    Args:
        variant: A name of `list_models`, such as "shunted_s".
        weights: A .pdparams for Paddle; a .pth or .safetensors for PyTorch.
        framework: The one the file is of if None; Paddle if the file does not say.
        device: "auto" takes a GPU where the framework sees one.

    Raises:
        ModelError: The variant is unknown or has no head, or the framework is not installed.
        CheckpointError: The file cannot be read, or is of the other framework.
        ConversionError: Names or shapes in the file do not fit the model.
        RunError: There is no such device.
    """
    if not find_variant(variant)[1].has_head:
        raise ModelError(
            f"{variant} is a backbone without a head: it predicts no class that could be explained."
        )
    checkpoint = open_weights(weights, find_variant(variant)[0], variant, side=framework)
    framework = framework or checkpoint.side or "paddle"
    subject = make_subject(variant, framework, checkpoint)
    require(framework)
    if subject.num_classes < 2:
        head = f"a head for {subject.num_classes} class" if subject.num_classes else "no head"
        raise ModelError(f"{weights} has {head}: it predicts no class that could be explained.")
    side = make_side(
        Setup(framework, subject, str(weights.absolute()), checkpoint.selection, device)
    )
    predict = as_function(side, side.model("float32"), "float32")
    where = "cpu" if side.device == "cpu" else "gpu"
    return Classifier(predict, subject.num_classes, framework, where)


@dataclass(frozen=True)
class _Kind:
    """Unit and scale of a measure.

    Attributes:
        unit: Unit of its changes, for people.
        factor: From the measure to that unit.
        flat: A map that nowhere exceeds this shows nothing but rounding and chance.
    """

    unit: str
    factor: float
    flat: float


MEASURES: dict[Measure, _Kind] = {
    "probability": _Kind("percentage points", 100.0, 1e-3),
    "log-odds": _Kind("log-odds", 1.0, 1e-2),
}


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Take the softmax: [B, K] -> float64 [B, K], rows of sum 1.

    Raises:
        RunError: Logits are not finite.
    """
    logits = logits.astype(np.float64)
    if not np.isfinite(logits).all():
        raise RunError(
            "the model's logits are not finite: its weights or the image may be damaged."
        )
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(1, keepdims=True)
    return shares


def scores(logits: np.ndarray, measure: Measure) -> np.ndarray:
    """Return the measure of every class: [B, K] -> float64 [B, K].

    The log-odds log(p / (1 - p)) still change where the probability is close to 0 or 1. A constant
    that is added to all logits changes neither.

    Raises:
        RunError: Logits are not finite.
    """
    shares = probabilities(logits)
    if measure == "probability":
        return shares
    logits = logits.astype(np.float64)
    odds = np.empty_like(logits)
    for k in range(logits.shape[1]):  # from logits: 1 - p would be 0 of a sure model
        others = np.delete(logits, k, axis=1)
        most = others.max(1)
        odds[:, k] = logits[:, k] - most - np.log(np.exp(others - most[:, None]).sum(1))
    return odds
