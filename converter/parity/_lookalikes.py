"""What could have been computed instead: formulas that people take for one another."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

# Epsilons found in published models.
_EPSILONS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 0.0)
_CLOSE = 1e-9  # relative; a formula that explains the values does so to rounding
_SHARE = 1e-3  # and it leaves no more than this of the difference that it explains
_SAMPLES = 20_000  # values that a formula is tried on

_POOLS = ((3, 2, 0), (2, 2, 0), (3, 2, 1))  # kernel, stride and padding of most pools

Norm = tuple[str, np.ndarray, Mapping[str, np.ndarray], float]


def explain_norm(norm: Norm, truth: np.ndarray, found: np.ndarray) -> str | None:
    """Find the epsilon, or the axes, with which a norm gives what was found.

    Args:
        norm: Kind, input, tensors by leaf (and "groups") and epsilon of the reference.
        truth: Output of the reference.
        found: Output of the candidate, of the same shape.

    Returns:
        What was computed instead; None if no usual mistake gives it.
    """
    kind, x, tensors, own = norm
    allowed = _allowed(truth, found)
    for eps in (own, *(e for e in _EPSILONS if not math.isclose(e, own, rel_tol=1e-6))):
        for name, axes, shape in _axes(kind, x.ndim, int(tensors["groups"])):
            with np.errstate(all="ignore"):
                made = _normalise(kind if name == kind else "", x, tensors, eps, axes, shape)
            if made is None or not _same(made, found, allowed):
                continue
            if name != kind:
                what = "" if eps == own else f" with eps {eps:g}"
                return f"computes {name}{what} where the reference has {kind}"
            if eps != own:
                return f"computes with eps {eps:g}, expected {own:g}"
    return None


def _axes(kind: str, rank: int, groups: int) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """List norms of an input of this rank: name, axes that are normalised, shape of the weight."""
    last = (1,) * (rank - 1) + (-1,)
    channels = (1, -1) + (1,) * (rank - 2)
    space = tuple(range(2, rank))
    ways = {
        "layer_norm": ((rank - 1,), last),
        "batch_norm": ((), channels),
        "instance_norm": (space, channels),
        "a norm over the channels of each position": ((1,), channels),
    }
    if groups == 1:
        ways["group_norm"] = ((1, *space), channels)
    own = [(kind, *ways.pop(kind))] if kind in ways else []
    others = [] if kind == "layer_norm" else [(n, *w) for n, w in ways.items() if n != "layer_norm"]
    return own + [entry for entry in others if entry[0] != "batch_norm"]


def _normalise(
    kind: str,
    x: np.ndarray,
    tensors: Mapping[str, np.ndarray],
    eps: float,
    axes: tuple[int, ...],
    shape: tuple[int, ...],
) -> np.ndarray | None:
    if kind == "batch_norm":
        mean, var = (tensors[leaf].reshape(shape) for leaf in ("running_mean", "running_var"))
    else:
        mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    made = (x - mean) / np.sqrt(var + np.float64(np.float32(eps)))
    for leaf, apply in (("weight", np.multiply), ("bias", np.add)):
        if leaf in tensors:
            if tensors[leaf].size != made.shape[shape.index(-1)]:
                return None
            made = apply(made, tensors[leaf].reshape(shape))
    return np.asarray(made)


def explain_values(truth: np.ndarray, found: np.ndarray) -> str | None:
    """Find a simple relation between what one layer is given on both sides.

    Args:
        truth: What the reference gives.
        found: What the candidate gives, of the same shape and finite.

    Returns:
        What was computed instead; None if nothing usual gives it.
    """
    if truth.any() and not found.any():
        return "is zero throughout"
    allowed = _allowed(truth, found)
    for cause in (_scaled, _reordered, _another_activation, _shifted_by_channel):
        if (words := cause(truth, found, allowed)) is not None:
            return words
    return None


def explain_size(
    truth: Sequence[int], found: Sequence[int], before: Iterable[Sequence[int]]
) -> str | None:
    """Explain a map [B, C, H, W] that is one pixel larger or smaller than the reference's.

    Args:
        truth: Shape in the reference.
        found: Shape in the candidate.
        before: Shapes of what layers gave before, the last first.
    """
    if len(truth) != 4 or len(found) != 4 or truth[:2] != found[:2]:
        return None
    fits = (tuple(one[2:]) for one in before if len(one) == 4 and one[2] > truth[2])
    larger = next(fits, None)
    if larger is None:
        return None
    expected, size = tuple(truth[2:]), tuple(found[2:])
    for kernel, stride, padding in _POOLS:
        spans = [n + 2 * padding - kernel for n in larger]
        sizes = {
            "with": tuple(-(-span // stride) + 1 for span in spans),
            "without": tuple(span // stride + 1 for span in spans),
        }
        for own, other in (("with", "without"), ("without", "with")):
            if size != expected and (size, expected) == (sizes[own], sizes[other]):
                return (
                    f"a pool {own} ceil_mode gives that (kernel {kernel}, stride {stride}: "
                    f"{larger[0]} pixels become {size[0]}), {other} it the reference's"
                )
    return None


def _scaled(truth: np.ndarray, found: np.ndarray, allowed: float) -> str | None:
    power = float((truth * truth).sum())
    factor = float((truth * found).sum()) / power if power else 0.0
    if factor and _same(truth * factor, found, allowed):
        return f"is the reference's times {factor:.6g}"
    return None


def _reordered(truth: np.ndarray, found: np.ndarray, allowed: float) -> str | None:
    """Recognise the same values in other places; sorted, they agree but for rounding."""
    if not _same(np.sort(truth, None), np.sort(found, None), allowed):
        return None
    for axis in range(truth.ndim):
        for step in (-2, -1, 1, 2):
            if _same(np.roll(truth, step, axis), found, allowed):
                return f"holds the same values, rolled by {step} along axis {axis}"
        if _same(np.flip(truth, axis), found, allowed):
            return f"holds the same values in reverse order along axis {axis}"
        one, other = (np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1) for a in (truth, found))
        # Rounding moves a sum a little: the order of sums tells which slice went where.
        keys = [np.argsort(a @ np.cos(np.arange(a.shape[1]))) for a in (one, other)]
        if _same(one[keys[0]], other[keys[1]], allowed):
            what = "channels" if axis in (1, truth.ndim - 1) else "entries"
            return f"holds the same values with the {what} of axis {axis} in another order"
    return "holds the same values in another order: axes, heads or windows are arranged otherwise"


def _erf_gelu(x: np.ndarray) -> np.ndarray:
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return np.asarray(0.5 * x * (1 + erf(x / math.sqrt(2))))


# Formula, and the least value that it gives.
_ACTIVATIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "GELU by erf": (_erf_gelu, -0.17),
    "GELU by tanh": (
        lambda x: 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
        -0.1701,
    ),
    "QuickGELU": (lambda x: x / (1 + np.exp(-1.702 * x)), -0.16362),
    "SiLU": (lambda x: x / (1 + np.exp(-x)), -0.2785),
    "ReLU": (lambda x: np.maximum(x, 0), 0.0),
    "no activation": (lambda x: x, -np.inf),
}


def _another_activation(truth: np.ndarray, found: np.ndarray, allowed: float) -> str | None:
    """Recognise one activation in place of another.

    The argument is not known, but where the result is above 0.2 every one of them rises, so that
    bisection finds the argument from the reference's result.
    """
    flat, other = truth.reshape(-1), found.reshape(-1)
    places = np.flatnonzero(flat > 0.2)[:_SAMPLES]
    if len(places) < 10:
        return None
    wanted, made = flat[places], other[places]
    for name, (activation, _least) in _ACTIVATIONS.items():
        if not _may_come_of(name, truth):
            continue
        low, high = np.zeros_like(wanted), wanted + 2.0
        for _ in range(60):
            middle = (low + high) / 2
            below = activation(middle) < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        for instead, (formula, _least) in _ACTIVATIONS.items():
            if instead == name or not _may_come_of(instead, found):
                continue
            if _same(formula(high), made, allowed):
                return f"comes of {instead}, the reference's of {name}"
    return None


def _may_come_of(name: str, array: np.ndarray) -> bool:
    """Tell by the least value whether an array can be the result of an activation."""
    least = float(array.min())
    lowest = _ACTIVATIONS["SiLU"][1]
    return least < lowest if name == "no activation" else least >= _ACTIVATIONS[name][1]


def _shifted_by_channel(truth: np.ndarray, found: np.ndarray, allowed: float) -> str | None:
    """Recognise a bias too many or too few: the same difference everywhere in a channel."""
    apart = found - truth
    for axis in {1, truth.ndim - 1} & set(range(1, truth.ndim)):
        others = tuple(a for a in range(truth.ndim) if a != axis)
        mean = apart.mean(others, keepdims=True)
        if _same(truth + mean, found, allowed):
            return f"differs by one constant per channel of axis {axis}: a bias is missing or extra"
    return None


def _allowed(truth: np.ndarray, found: np.ndarray) -> float:
    """Say how far off an explanation may be: by rounding, and far less than what it explains."""
    return min(_CLOSE * float(np.abs(found).max()), _SHARE * float(np.abs(found - truth).max()))


def _same(one: np.ndarray, other: np.ndarray, allowed: float) -> bool:
    return one.shape == other.shape and float(np.abs(one - other).max()) <= allowed
