"""Compare gradients, and what one training step makes of running statistics."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._distance import FLOAT64_LIMIT, apart, spell
from ._trace import TRAINING, Trace


@dataclass(frozen=True)
class GradientResult:
    """One gradient, compared: of a parameter, or of the input.

    Attributes:
        key: PyTorch key, or "input"; "training: " before it where norms were in training mode.
        difference: Relative to the reference's largest gradient in that layer; None where one side
            has none.
        same: Whether that is within the limit.
        note: What was found, when it is not.
    """

    key: str
    difference: float | None
    same: bool
    note: str = ""


def compare_gradients(
    reference: Trace, candidate: Trace, limit: float = FLOAT64_LIMIT
) -> Iterator[GradientResult]:
    """Compare every gradient that either side has; none if they were not asked for.

    Args:
        reference: The side held to be right.
        candidate: The other.
        limit: Relative difference that is allowed; larger where an operator within the model is
            only as accurate as float32.
    """
    one, other = (t.facts.gradients for t in (reference, candidate))
    if one is None or other is None:
        return
    arrays = [t.arrays("gradients") for t in (reference, candidate)]
    scales: dict[str, float] = {}  # the largest gradient of each layer
    for key, index in one.items():
        layer = _layer(key, reference)
        scales[layer] = max(scales.get(layer, 0.0), _largest(arrays[0][index]))
    for key in dict.fromkeys([*one, *other]):
        if key not in one or key not in other:
            side = (reference if key not in one else candidate).label
            yield GradientResult(key, None, False, f"{side} has no gradient here")
            continue
        pair = arrays[0][one[key]], arrays[1][other[key]]
        shapes = [list(array.shape) for array in pair]
        if shapes[0] != shapes[1]:
            yield GradientResult(key, None, False, f"shapes {shapes[0]} and {shapes[1]}")
            continue
        found = apart(*pair)
        # A bias before a norm has no gradient but rounding: the weight beside it gives the scale.
        scale = scales[_layer(key, reference)]
        relative = found.difference * (_largest(pair[0]) or 1.0) / (scale or 1.0)
        values = " and ".join(spell(found.reference, found.candidate))
        note = "" if relative <= limit else f"largest at {list(found.index)}: {values}"
        yield GradientResult(key, relative, not note, note)


def _layer(key: str, trace: Trace) -> str:
    """Name the layer of a gradient, apart for norms in training mode."""
    name = key.removeprefix(TRAINING)
    weight = trace.facts.weights.get(name)
    return key[: len(key) - len(name)] + (weight.layer if weight else name)


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0))


def compare_training(reference: Trace, candidate: Trace) -> tuple[list[str], bool]:
    """Compare the running statistics of all norms after one step in training mode.

    PyTorch enters the unbiased variance of a batch of n values per channel, Paddle the biased one,
    (n - 1) / n of it; and Paddle holds the momentum as float32. These are the known differences:
    they are stated. Any other is a fault.

    Returns:
        What was found, in words, and whether it is more than the known differences.
    """
    asked = [t.facts.gradients is not None for t in (reference, candidate)]
    if asked[0] != asked[1]:
        side = (reference if asked[0] else candidate).label
        return [f"only {side}'s trace has gradients: they are not compared"], False
    one, other = (t.facts.training for t in (reference, candidate))
    if not one or not other:
        return [], False
    if alone := sorted(set(one) ^ set(other)):
        return [f"{', '.join(alone)}: in training mode on one side only"], True
    largest, worst = 0.0, ""
    for name in one:
        for leaf in ("running_mean", "running_var"):
            expected, found = _statistics(name, leaf, (reference, candidate), (one, other))
            apart_by = apart(expected, found).difference
            if not apart_by <= largest:
                largest, worst = apart_by, f"{name}.{leaf}"
    if not largest <= FLOAT64_LIMIT:
        return [f"{worst}: after one step differs by {largest:.1e}, unexplained"], True
    return [
        f"one step of {len(one)} norm{'s' * (len(one) > 1)}: largest difference of running "
        f"statistics {largest:.1e}, but for what is known: PyTorch enters the unbiased variance "
        f"of a batch, Paddle the biased one, with a momentum held as float32"
    ], False


def _statistics(
    name: str,
    leaf: str,
    traces: tuple[Trace, Trace],
    training: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a statistic should be in the candidate by the reference's, and what it is."""
    made, found = (
        trace.arrays("gradients")[facts[name]["arrays"][leaf]]
        for trace, facts in zip(traces, training, strict=True)
    )
    reference, candidate = traces
    momentum = reference.facts.layers[name].settings.get("momentum")
    if reference.facts.framework == candidate.facts.framework or not momentum:
        return made, found
    weight = reference.facts.weights[f"{name}.{leaf}"]
    before = reference.arrays("weights")[weight.array].astype(np.float64)
    entered = (made - (1 - momentum) * before) / momentum
    if leaf == "running_var":
        count = training[0][name]["values"]
        entered = entered * (count - 1) / count
    kept = float(np.float32(1 - momentum))
    return kept * before + (1 - kept) * entered, found
