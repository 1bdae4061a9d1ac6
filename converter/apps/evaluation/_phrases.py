"""An evaluation in words and figures, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import some
from ._result import Evaluation, Scores, Share


def percent(share: float) -> str:
    """Spell a share 0..1 with two decimals; "-" if it is not a number."""
    return "-" if math.isnan(share) else f"{100 * share:.2f}%"


def interval(ends: tuple[float, float]) -> str:
    """Spell the ends of an interval of shares."""
    if any(map(math.isnan, ends)):
        return "-"
    return f"{100 * ends[0]:.2f} to {100 * ends[1]:.2f}%"


def images(count: int) -> str:
    """Count images: "1 image", "10,000 images"."""
    return f"{count:,} image" + "s" * (count != 1)


def size(count: int) -> str:
    """Spell a number of bytes."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def number(value: float) -> str:
    """Spell a difference; "-" if it is not a number."""
    return "-" if math.isnan(value) else f"{value:.2g}"


def class_name(evaluation: Evaluation, label: int) -> str:
    """Name a class, or give its number; -1 stands for logits that are not finite."""
    if label < 0:
        return "not finite"
    return evaluation.classes[label] if label < len(evaluation.classes) else str(label)


def figures(evaluation: Evaluation) -> list[tuple[str, tuple[str, ...]]]:
    """Return the figures of the sides: a name, then a text for each side.

    A name that begins with a blank belongs to the one above it.
    """
    sides = evaluation.sides
    rows = _share("top-1", [evaluation.top1(side) for side in sides])
    top5 = [share for side in sides if (share := evaluation.top5(side)) is not None]
    rows += _share("top-5", top5) if top5 else []
    losses = [evaluation.loss(side) for side in sides]
    rows.append(("loss", tuple("-" if math.isnan(x) else f"{x:.4f} nats" for x in losses)))
    broken = [int((side.predicted < 0).sum()) for side in sides]
    if any(broken):
        rows.append(("logits not finite", tuple(images(count) for count in broken)))
    rates = [side.images_per_second for side in sides]
    texts = tuple("-" if rate is None else f"{rate:,.1f}" for rate in rates)
    rows.append(("images/s, model", texts))
    for place in dict.fromkeys(place for side in sides for place in side.peak_bytes):
        many = any(len(side.peak_bytes) > 1 for side in sides)
        found = [side.peak_bytes.get(place) for side in sides]
        name = f"peak memory, {place}" if many else "peak memory"
        rows.append((name, tuple("-" if peak is None else size(peak) for peak in found)))
    return rows


def _share(name: str, shares: Sequence[Share]) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (name, tuple(percent(share.value) for share in shares)),
        ("  right", tuple(f"{share.count:,} of {share.of:,}" for share in shares)),
        ("  95% interval", tuple(interval(share.interval) for share in shares)),
    ]


def comparison(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Describe how two sides compare: a name and a text each; empty for one side or no image."""
    difference, agreement = evaluation.accuracy_difference, evaluation.agreement
    if difference is None or agreement is None or not evaluation.count:
        return []
    first, second = (side.label for side in evaluation.sides)
    low, high = difference.interval
    apart = difference.only_first - difference.only_second
    finite = np.isfinite(evaluation.difference)
    logits = f"largest {number(float(np.max(evaluation.difference, where=finite, initial=0.0)))}"
    if finite.any():
        logits += f", mean {number(float(evaluation.mean_difference[finite].mean()))}"
    if not finite.all():
        logits += f"; {images(int((~finite).sum()))} not finite left out"
    return [
        (
            "top-1 difference",
            f"{first} - {second}: {_signed(difference.value)} points "
            f"({apart:+,} of {images(difference.of)}; 95% interval for paired samples "
            f"{_signed(low)} to {_signed(high)})".replace("+0 of", "0 of"),
        ),
        (
            "only one is right",
            f"{first} {difference.only_first:,}, {second} {difference.only_second:,}",
        ),
        ("same prediction", f"{agreement.count:,} of {agreement.of:,}"),
        ("logit difference", logits),
    ]


def _signed(share: float) -> str:
    return f"{100 * share:+.2f}"


def verdict(evaluation: Evaluation) -> str | None:
    """Explain whether two sides classify the same; None for one side."""
    if evaluation.same is None:
        return None
    if not evaluation.count:
        return "no image was evaluated, so the two sides cannot be compared."
    broken = [_not_finite(evaluation, side) for side in evaluation.sides]
    if any(broken):
        return f"NOT THE SAME: {'; '.join(filter(None, broken))}."
    count, unexplained = len(evaluation.disagreements), len(evaluation.unexplained)
    differ = "is" if count == 1 else "are"
    text = f"{count:,} of {images(evaluation.count)} {differ} classified differently"
    if unexplained:
        share = "" if unexplained == count else f", {unexplained:,} of them"
        return (
            f"NOT THE SAME: {text}{share} by more than rounding; the worst is "
            f"{evaluation.names[worst_first(evaluation)[0]]}. `vitconvert parity` finds the layer."
        )
    if count:
        text += ", by no more than rounding"
    elif evaluation.count == 1:
        text = "both classify the one image the same"
    else:
        text = f"both classify all {evaluation.count:,} images the same"
    apart = np.flatnonzero(evaluation.difference > evaluation.noise)
    if len(apart):
        worst = int(apart[np.argmax((evaluation.difference / evaluation.noise)[apart])])
        return (
            f"NOT THE SAME: {text}, but the logits of {images(len(apart))} differ by more "
            f"than rounding: {number(float(evaluation.difference[worst]))} for "
            f"{evaluation.names[worst]}, limit {number(float(evaluation.noise[worst]))}. "
            f"`vitconvert parity` finds the layer."
        )
    return f"{text}."


def _not_finite(evaluation: Evaluation, side: Scores) -> str:
    """Name the images for which a side has no class, if there are any."""
    found = np.flatnonzero(side.predicted < 0)
    if not len(found):
        return ""
    names = some([evaluation.names[row] for row in found], 3)
    return f"the logits of {images(len(found))} are not finite in {side.label}: {names}"


def worst_first(evaluation: Evaluation) -> list[int]:
    """Order the disagreements: the further a difference is beyond rounding, the earlier.

    Logits that are not finite come first. If logits differ equally, the larger margin comes first:
    the more certain both sides are of their classes, the less likely rounding has swapped them.
    """

    def badness(row: int) -> tuple[bool, bool, float, float]:
        margin = max(float(side.margin[row]) for side in evaluation.sides)
        beyond = float(evaluation.difference[row] / max(evaluation.noise[row], 1e-300))
        is_broken = any(side.predicted[row] < 0 for side in evaluation.sides)
        if math.isnan(beyond):
            beyond = math.inf
        return is_broken, not evaluation.is_rounding(row), beyond, margin

    return sorted((int(row) for row in evaluation.disagreements), key=badness, reverse=True)


def unreadable(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return each image that cannot be read, and why; the name is not repeated in the reason."""
    return [(name, why.removeprefix(f"{name}: ")) for name, why in evaluation.unreadable]


def how_far(evaluation: Evaluation) -> str:
    """Report that an evaluation was interrupted and how to resume it; "" if it is complete."""
    if not evaluation.partial:
        return ""
    done = evaluation.count + len(evaluation.unreadable)
    advice = "With --report, --resume could continue it."
    if evaluation.options.get("report"):
        advice = "To resume, add --resume to the same command."
    return (
        f"PARTIAL: interrupted after {done:,} of {evaluation.wanted:,} images; the figures are "
        f"for these only, which were drawn at random from all of them. {advice}"
    )


def described(preprocessing: Mapping[str, Any]) -> str:
    """Describe in one line how images became the input."""
    known = dict(preprocessing)
    height, width = known.pop("size")
    mode, share = known.pop("crop_mode"), known.pop("crop_pct")
    crop = "squashed" if mode == "squash" else "center crop" if mode == "center" else str(mode)
    parts = [f"{height}x{width} pixels", f"{crop} {share:g}", str(known.pop("interpolation"))]
    for name, value in known.items():
        parts.append(f"{name} {channels(value)}")
    return ", ".join(parts)


def channels(value: Any) -> str:
    """Spell a value of the preprocessing, which may be one number per channel."""
    if isinstance(value, list | tuple):
        return "/".join(f"{part:g}" for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def rates(evaluation: Evaluation) -> str:
    """Describe how fast the whole run was, loading and every side together."""
    known = evaluation.end_to_end is not None
    rate = [f"{evaluation.end_to_end:,.1f} images/s"] if known else []
    many = [f"{evaluation.processes} processes"] if evaluation.processes > 1 else []
    return ", ".join([*rate, f"{evaluation.seconds:,.1f} s in all", *many])
