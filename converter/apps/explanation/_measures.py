"""Measures of a model's answer that change when parts of an image are hidden."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import RunError

Measure = Literal["probability", "log-odds"]


@dataclass(frozen=True)
class _Kind:
    """How a measure is spelled.

    Attributes:
        unit: Of its changes, for people.
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
    """Give the measure of every class: [B, K] -> float64 [B, K].

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
