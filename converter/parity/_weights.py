"""The tensors of two models, compared exactly."""

import numpy as np

from ._buffers import differing_buffers
from ._distance import not_finite
from ._trace import Trace


def differing_weights(reference: Trace, candidate: Trace) -> dict[str, str]:
    """Compare the tensors of both models, exactly.

    Two runs on some images cannot show a weight that happens not to matter for them. What Paddle
    alone has is compared with what the reference computes in its place.

    Returns:
        PyTorch layer -> which of its tensors differ, and how far.
    """
    one, other = reference.facts.weights, candidate.facts.weights
    arrays = [t.arrays("weights") for t in (reference, candidate)]
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys([*one, *other]):
        weight = one.get(key) or other[key]
        leaf = key[len(weight.layer) + 1 :] or key
        if key not in one or key not in other:
            note = f"{leaf} is missing in {(reference if key not in one else candidate).label}"
        else:
            note = _weight_apart(leaf, arrays[0][one[key].array], arrays[1][other[key].array])
        if note:
            found.setdefault(weight.layer, []).append(note)
    told = {layer: ["the weights differ: " + ", ".join(notes)] for layer, notes in found.items()}
    for layer, notes in differing_buffers(reference, candidate).items():
        told[layer] = told.get(layer, []) + notes
    return {layer: "; ".join(notes) for layer, notes in told.items()}


def _weight_apart(leaf: str, one: np.ndarray, other: np.ndarray) -> str:
    """Say how two tensors differ; nothing if they are equal."""
    if one.shape != other.shape:
        return f"{leaf} is {list(one.shape)} and {list(other.shape)}"
    if np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
        return ""
    if not_finite(one) or not_finite(other):
        return f"{leaf} has values that are not finite"
    with np.errstate(over="ignore"):
        unequal = (one != other) & ~((one != one) & (other != other))
        by = np.abs(np.subtract(one, other, dtype=np.float64)).max()
    return f"{leaf} by up to {by:.1e} in {int(unequal.sum())} of {one.size}"
