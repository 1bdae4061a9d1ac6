"""Say in words what is wrong with the first wrong layer, after trying the usual causes.

The diagnosis names a cause only when it explains the numbers in the traces to rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

import numpy as np

from ..errors import some
from ..markdown import code
from ._alike import WrongSetting, wrong_settings
from ._compare import LayerResult, settings_of
from ._distance import INPUT_OF, not_finite, place_of
from ._lookalikes import Norm, explain_norm, explain_size, explain_values
from ._trace import DTYPES, Trace, array_of, leaves

_MOST_LAYERS = 3  # of the wrong ones that are looked into
_FEW_WEIGHTS, _NEARLY_ALL = 8, 0.9  # tensors; of these, that differ
_MOST_SIBLINGS = 3  # names of layers with the same weight, or wrong at the same place


def diagnose(reference: Trace, candidate: Trace, layers: Sequence[LayerResult]) -> Iterator[str]:
    """Yield a line or more for each of the first few layers that are wrong by themselves."""
    folded = wrong_settings(settings_of(reference, candidate), layers)
    several = [one for one in folded if len(one.layers) > 1]
    told = _told(layers, folded, several)
    wrong = [layer for layer in layers if layer.is_fault]
    wrong.sort(key=lambda layer: layer.rank)
    # The first in its own words, then what it shares with others, then what else there is.
    looked_into = [*wrong[:1], *(layer for layer in wrong[1:] if layer.layer not in told)]
    alike = dict[tuple[str, str], list[_Case]]()
    for case in (_Case(reference, candidate, layer) for layer in looked_into):
        alike.setdefault(case.place, []).append(case)
    first, *others = [*alike.values()] or [[]]
    for case in first[:1]:
        yield case.describe(layers, first[1:])
    if told_all := _all_weights(reference, candidate):
        yield told_all
        return
    yield from (one.describe(candidate) for one in several if one.matters)
    for one, *like_it in others[: _MOST_LAYERS - 1]:
        yield one.describe(layers, like_it)
    if more := [case for cases in others[_MOST_LAYERS - 1 :] for case in cases]:
        are = "layer is wrong by itself" if len(more) == 1 else "layers are wrong by themselves"
        yield f"{len(more)} more {are}: {some([code(case.layer.layer) for case in more])}."
    yield from (one.describe(candidate) for one in several if not one.matters)


def _all_weights(reference: Trace, candidate: Trace) -> str:
    """Say that nearly all weights differ, which no mistake in a conversion does; else empty."""
    one, other = reference.facts.weights, candidate.facts.weights
    truth, found = reference.arrays("weights"), candidate.arrays("weights")
    keys = [key for key in one if key in other]
    if len(keys) < _FEW_WEIGHTS:
        return ""
    unlike = len(keys)
    for key in keys:
        unlike -= not _holds_others(truth[one[key].array], found[other[key].array])
        if unlike < _NEARLY_ALL * len(keys):  # mostly soon, and without a look at large tensors
            return ""
    return (
        f"{unlike} of {len(keys)} weight tensors hold other values: neither checkpoint was "
        f"converted from the other."
    )


def _holds_others(truth: np.ndarray, found: np.ndarray) -> bool:
    """Tell whether a tensor of the same shape holds other values, in whatever order."""
    if truth.shape != found.shape or np.array_equal(truth, found):
        return False
    return not np.array_equal(np.sort(truth, None), np.sort(found, None))


def _told(
    layers: Sequence[LayerResult],
    folded: Sequence[WrongSetting],
    several: Sequence[WrongSetting],
) -> set[str]:
    """Name the layers that have no other fault than settings that are wrong in several."""
    told = set[str]()
    for layer in layers:
        name = layer.layer.partition("#")[0]
        wrong = [one for one in folded if name in one.layers]
        explained = layer.verdict == "settings" or any(one.matters for one in wrong)
        is_all = bool(wrong) and all(one in several for one in wrong)
        if is_all and explained and "weights differ" not in layer.note:
            told.add(layer.layer)
    return told


class _Case:
    """One wrong layer, and what is known of it."""

    def __init__(self, reference: Trace, candidate: Trace, layer: LayerResult) -> None:
        self.reference, self.candidate, self.layer = reference, candidate, layer
        self.name = layer.layer.partition("#")[0]
        is_against = candidate.facts.alone_against == reference.facts.id
        self.finding = (candidate.facts.alone or {}).get(layer.layer) if is_against else None
        self.weights, self.arrays = reference.facts.weights, reference.arrays("weights")

    @property
    def place(self) -> tuple[str, str]:
        """Say what is wrong and where; the same for all of a row of blocks."""
        where = self.finding.where if self.finding is not None else ""
        return self.layer.verdict, place_of(self.layer.layer, where)

    def describe(self, layers: Sequence[LayerResult], others: Sequence["_Case"] = ()) -> str:
        """Say which layer it is, by how much it differs, and why; and which others are like it."""
        text = self._describe(layers)
        if others:
            names = some([code(case.layer.layer) for case in others], _MOST_SIBLINGS)
            text += f" {len(others)} more at the same place: {names}."
        return text

    def _describe(self, layers: Sequence[LayerResult]) -> str:
        subject = code(self.layer.layer)
        if self.layer.kind == "output":
            subject = f"the code of the model itself ({code(self.layer.layer)})"
        if self.layer.verdict == "settings":
            subject += " gives the same numbers, but is set otherwise"
        elif self.layer.verdict == "weights" and self.layer.alone is not None:
            subject += " gives the same numbers, but its weights differ"
        elif self.layer.alone is not None and np.isfinite(self.layer.alone):
            before = self._before(layers)
            subject += f" differs by itself (alone {self.layer.alone:.1e}{before})"
        else:
            first = next((one for one in layers if one.is_fault), None)
            is_first = "the first that is " * (first == self.layer)
            subject += f" is {is_first}wrong ({self.layer.verdict})"
        causes = list(dict.fromkeys(self._causes()))
        if causes:
            return f"{subject}: {'; '.join(causes)}."
        hint = "its weights and settings are the reference's: it is its code"
        if self._has_children():
            where = "after the last of them"
            if self.finding is not None and self.finding.where != "output":
                where = f"before it calls {code(self.finding.where.removeprefix(INPUT_OF))}"
            hint = f"the layers within it are not the cause: it is its own code, {where}"
        return f"{subject}: no usual cause explains it; {hint}."

    def _before(self, layers: Sequence[LayerResult]) -> str:
        """Say how well the two models still agree before this layer."""
        own = self.layer.layer
        before = takewhile(lambda one: one.layer != own and one.verdict != "inherits", layers)
        earlier = [
            one.float64 for one in before if one.verdict == "same" and one.float64 is not None
        ]
        return f", before it at most {max(earlier):.1e}" if earlier else ""

    def _has_children(self) -> bool:
        run = self.reference.runs.get(DTYPES[0])
        return run is not None and any(c.parent == self.layer.layer for c in run.calls.values())

    def _causes(self) -> Iterator[str]:
        yield from self._weights()
        layer = self.reference.facts.layers.get(self.name)
        starts = ("its ", *(f"{setting} is " for setting in (layer.settings if layer else ())))
        yield from (part for part in self.layer.note.split("; ") if part.startswith(starts))
        if self.layer.verdict == "missing":
            yield self.layer.note
        finding = self.finding
        if finding is not None and finding.note:
            yield finding.spell(finding.note, "`")
        if finding is None or finding.kept is None or finding.at is None:
            return
        truth = self.reference.runs[DTYPES[0]].arrays[finding.at]
        found = self.candidate.arrays("alone")[finding.kept]
        before = self._shapes_before(finding.where.removeprefix(INPUT_OF))
        if cause := explain_size(truth.shape, found.shape, before):
            yield cause
        alike = truth.shape == found.shape and truth.dtype == found.dtype and found.size
        if alike and found.dtype.kind == "f" and np.isfinite(found).all():
            if (norm := self._norm()) and (cause := explain_norm(norm, truth, found)):
                yield cause
            elif not self._has_wrong_weights and (cause := explain_values(truth, found)):
                yield finding.spell(cause, "`")

    def _shapes_before(self, key: str) -> list[tuple[int, ...]]:
        """List the shapes that layers gave before a call, or before this one ended: last first."""
        run = self.reference.runs[DTYPES[0]]
        end = key if key in run.calls else self.layer.layer
        calls = takewhile(lambda call: call.key != end, run.calls.values())
        shapes = [
            run.arrays.shape(i)
            for call in calls
            for leaf in leaves(call.outputs)
            if (i := array_of(leaf)) is not None
        ]
        return shapes[::-1]

    @property
    def _has_wrong_weights(self) -> bool:
        return "weights differ" in self.layer.note

    def _weights(self) -> Iterator[str]:
        """Name what became of each tensor of the layer that is not the reference's."""
        one, other = self.weights, self.candidate.facts.weights
        names = [k for k in {**one, **other} if (one.get(k) or other[k]).layer == self.name]
        arrays = self.candidate.arrays("weights")
        for key in names:
            whose = f"its {key[len(self.name) + 1 :]}" if key != self.name else "it"
            if key not in one or key not in other:
                side = (self.reference if key not in one else self.candidate).label
                yield f"{whose} is missing in {side}"
                continue
            truth, found = self.arrays[one[key].array], arrays[other[key].array]
            if truth.shape != found.shape:
                yield f"{whose} is {list(found.shape)}, the reference's {list(truth.shape)}"
            elif not np.array_equal(truth, found, equal_nan=True):
                yield f"{whose} {self._weight(key, truth, found)}"

    def _weight(self, key: str, truth: np.ndarray, found: np.ndarray) -> str:
        """Say what became of one tensor."""
        turned = self.weights[key].turned
        cause = (
            not_finite(found)
            or _by_value(key, truth, found)
            or _by_order(truth, found, turned)
            or self._siblings(key, found)
            or self._rows_of_others(key, truth, found)
        )
        if cause:
            return cause
        unequal = int((truth != found).sum())
        place = np.unravel_index(int(np.abs(found - truth).argmax()), truth.shape)
        where = list(map(int, place))
        return (
            f"differs in {unequal} of {truth.size} elements, most at {where}: "
            f"{truth[place]:.9g} became {found[place]:.9g}"
        )

    def _others(self, key: str, fits: Callable[[tuple[int, ...]], bool]) -> Iterator[str]:
        for other, weight in self.weights.items():
            if other != key and fits(self.arrays.shape(weight.array)):
                yield other

    def _siblings(self, key: str, found: np.ndarray) -> str | None:
        """Name tensors of the reference that are the one that was found here."""
        if not np.ptp(found):
            return None  # many a fresh norm is all ones
        same = []
        for other in self._others(key, lambda shape: shape == found.shape):
            array = self.arrays[self.weights[other].array]
            if np.array_equal(array, found):
                same.append(code(other))
            elif found.ndim == 2 and np.array_equal(array.T, found):
                same.append(f"{code(other)} transposed")
        return f"equals that of {' and '.join(same[:_MOST_SIBLINGS])}: exchanged" if same else None

    def _rows_of_others(self, key: str, truth: np.ndarray, found: np.ndarray) -> str | None:
        """Find part of a tensor in a neighbour's in the same block: q among k and v."""
        if found.ndim < 2:
            return None
        parent = self.name.rpartition(".")[0]
        wrong = np.flatnonzero((truth != found).reshape(len(truth), -1).any(1))
        rows = {found[row].tobytes() for row in wrong}
        for other in self._others(key, lambda shape: shape[1:] == found.shape[1:]):
            weight = self.weights[other]
            if weight.layer.rpartition(".")[0] == parent:
                theirs = {row.tobytes() for row in self.arrays[weight.array]}
                if rows <= theirs:
                    return (
                        f"holds rows of {code(other)} from row {int(wrong[0])} to "
                        f"{int(wrong[-1])}: exchanged, such as q with k"
                    )
        return None

    def _norm(self) -> Norm | None:
        """Return kind, input, tensors and epsilon of a norm whose output is wrong."""
        layer = self.reference.facts.layers.get(self.name)
        if layer is None or "eps" not in layer.settings or self._has_wrong_weights:
            return None
        run = self.reference.runs[DTYPES[0]]
        call = run.calls.get(self.layer.layer)
        if call is None or self.finding is None or self.finding.where != "output":
            return None
        indices = [i for leaf in leaves(call.inputs) if (i := array_of(leaf)) is not None]
        if not indices:
            return None
        tensors = {
            key[len(self.name) + 1 :]: self.arrays[weight.array].astype(np.float64)
            for key, weight in self.weights.items()
            if weight.layer == self.name
        }
        tensors["groups"] = np.array(int(layer.settings.get("num_groups", 1)))
        return layer.kind, run.arrays[indices[0]], tensors, float(layer.settings["eps"])


def _by_value(key: str, truth: np.ndarray, found: np.ndarray) -> str | None:
    """Explain a tensor by what was done to its values."""
    leaf = key.rpartition(".")[2]
    if not found.any():
        reasons = {
            "bias": ": missing, or never loaded",
            "running_mean": ", as before training: the statistics are missing",
        }
        return f"is zero throughout{reasons.get(leaf, '')}"
    if leaf in ("weight", "running_var") and (found == 1).all():
        what = "the statistics are missing" if leaf == "running_var" else "it was never loaded"
        return f"is one throughout, as before training: {what}"
    for dtype in (np.float16, np.float32):
        with np.errstate(over="ignore"):
            if np.array_equal(truth.astype(dtype), found):
                return f"was rounded to {np.dtype(dtype).name}"
    bits = truth.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)
    if np.array_equal(rounded.view(np.float32).reshape(truth.shape), found):
        return "was rounded to bfloat16"
    nonzero = truth != 0
    if nonzero.sum() > 1:
        ratios = found[nonzero] / truth[nonzero]
        if np.ptp(ratios) <= 1e-6 * abs(ratios.flat[0]) and not found[~nonzero].any():
            return f"is the reference's times {ratios.flat[0]:.6g}"
    return None


def _by_order(truth: np.ndarray, found: np.ndarray, turned: bool) -> str | None:
    """Explain a tensor by the order of its values; `turned` says if it belongs transposed."""
    if truth.ndim == 2 and truth.shape[0] == truth.shape[1] and np.array_equal(truth.T, found):
        return f"equals the source's {'untransposed' if turned else 'transposed'}"
    if truth.ndim == 2 and np.array_equal(truth.T.reshape(truth.shape), found):
        return "is the source's, transposed by reshaping"
    if (parts := _order_of_parts(truth, found)) is not None:
        return parts
    for axis, name in ((0, "output"), (1, "input")):
        if axis < truth.ndim and truth.ndim <= 4:
            if np.array_equal(np.flip(truth, axis), found):
                bgr = ", such as BGR for RGB" if truth.shape[axis] == 3 else ""
                return f"has its {name} channels in reverse order{bgr}"
            if _is_permuted(np.moveaxis(truth, axis, 0), np.moveaxis(found, axis, 0)):
                return f"has its {name} channels in another order"
    if truth.ndim == 4:
        if np.array_equal(truth.swapaxes(2, 3), found):
            return "has its kernels transposed"
        if np.array_equal(truth[:, :, ::-1, ::-1], found):
            return "has its kernels mirrored"
    return None


def _order_of_parts(truth: np.ndarray, found: np.ndarray) -> str | None:
    """Recognise q, k and v (thirds), or k and v (halves), in another order or interleaved."""
    rows = len(truth) if truth.ndim else 0
    for names in (("k", "v"), ("q", "k", "v")):
        count = len(names)
        if not rows or rows % count or rows == count:
            continue
        old = dict(zip(names, np.split(truth, count), strict=True))
        order = [
            next((name for name in names if np.array_equal(old[name], part)), "")
            for part in np.split(found, count)
        ]
        if all(order) and tuple(order) != names and len(set(order)) == count:
            return f"holds its parts as {', '.join(order)}, expected {', '.join(names)}"
        woven = truth.reshape(count, rows // count, *truth.shape[1:]).swapaxes(0, 1)
        if np.array_equal(woven.reshape(truth.shape), found):
            return f"holds {', '.join(names)} interleaved, expected one behind the other"
    return None


def _is_permuted(truth: np.ndarray, found: np.ndarray) -> bool:
    """Tell whether the slices of two arrays are the same, in another order."""
    one, other = ([part.tobytes() for part in np.ascontiguousarray(a)] for a in (truth, found))
    return len(set(one)) > 1 and sorted(one) == sorted(other)
