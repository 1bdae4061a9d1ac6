"""The image of an explanation: what the model sees, where it looked, what it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...images.fonts import Font, say_missing
from ...images.sheet import BACKGROUND, INK, fit, wrap, write_lines
from ...sides import NAMES
from ._colours import AGAINST, FOR, grey, tint
from ._model import MEASURES

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from ._explain import Explained, Explanation

_SIDE = 320  # pixels of a panel, which images of 32 and 64 pixels fill
_GAP = 24
_BAR = 14  # pixels, the height of a bar
_MOST_CLASSES = 5
_FAINT = (222, 222, 219)  # RGB, what a full bar would fill
_PLAIN = (110, 110, 108)  # of the bars of classes that are not explained
_UNDER = 0.8  # lightness of the colour scale where it is 0


class _Sheet(NamedTuple):
    """What explanations are drawn on, and with what."""

    image: Image.Image
    pen: ImageDraw.ImageDraw
    font: Font


def draw(found: Explained) -> Image.Image:
    """Draw all explanations, one under the other, each with its own colour scale.

    Returns:
        RGB; the same explanations give the same pixels, on machines with the same fonts.
    """
    from PIL import Image, ImageDraw

    title, text = Font(20), Font(14)
    width = 3 * _SIDE + 4 * _GAP
    titles = wrap(f"Where {found.variant} looked", title, width - 2 * _GAP, 2)
    run = f"{Path(found.weights).name} in {NAMES[found.framework]} on the {found.device.upper()}"
    facts = f"{found.method}, {found.passes} forward passes each; {run}"
    lines = wrap(facts, text, width - 2 * _GAP, 2)
    head = _GAP + len(titles) * title.height + len(lines) * text.height + _GAP // 2
    high = 2 * text.height + _SIDE + 3 * text.height + _BAR + _GAP
    image = Image.new("RGB", (width, head + high * len(found.explanations)), BACKGROUND)
    sheet = _Sheet(image, ImageDraw.Draw(image), text)
    write_lines(sheet.pen, (_GAP, _GAP), titles, title)
    write_lines(sheet.pen, (_GAP, _GAP + len(titles) * title.height), lines, text)
    for number, one in enumerate(found.explanations):
        _row(sheet, found, one, head + number * high)
    say_missing()
    return image


def _row(sheet: _Sheet, found: Explained, one: Explanation, top: int) -> None:
    """Draw one explanation: three panels with their headings."""
    from PIL import Image

    font, pen = sheet.font, sheet.pen
    left = [_GAP + n * (_SIDE + _GAP) for n in range(3)]
    explained = found.class_name(one.target)
    what = {"probability": "probability depends", "log-odds": "log-odds depend"}[one.measure]
    width, height = one.seen.size
    headings = (
        [*wrap(one.name, font, _SIDE, 1), f"what the model sees, {height}x{width}"],
        [*wrap(explained, font, _SIDE, 1), f"what its {what} on"],
        ["what the model predicts"],
    )
    for x, heading in zip(left, headings, strict=True):
        write_lines(pen, (x, top + (2 - len(heading)) * font.height), heading, font)
    top += 2 * font.height + 4
    under = grey(np.asarray(one.seen))
    limit = float(np.abs(one.heat).max())
    heat = np.zeros_like(one.heat) if one.is_flat else one.heat
    overlay = Image.fromarray(tint(under, heat, limit or 1.0))
    for x, image in ((left[0], one.seen), (left[1], overlay)):
        sheet.image.paste(fit(image, (_SIDE, _SIDE)), (x, top))
    bottom = top + fit(one.seen, (_SIDE, _SIDE)).size[1] + 8
    if one.is_flat:
        write_lines(pen, (left[1], bottom), wrap(flat_text(found, one), font, _SIDE, 4), font)
    else:
        _scale(sheet, found, one, (left[1], bottom))
    _bars(sheet, found, one, (left[2], top))


def flat_text(found: Explained, one: Explanation) -> str:
    """Explain that the map is flat, and what else to try."""
    kind = MEASURES[one.measure]
    least = f"{kind.factor * kind.flat:g} {kind.unit}"
    text = f"Flat: hiding parts changes its {one.measure} by no more than {least}."
    if found.is_linear:
        text = f"Flat: no segment's weight in LIME's linear model exceeds {least}."
    if one.measure == "probability":
        text += " Try --measure log-odds."
    return text


def _scale(sheet: _Sheet, found: Explained, one: Explanation, place: tuple[int, int]) -> None:
    """Draw the colour scale from the lowest to the highest value, and what it means."""
    from PIL import Image

    font, pen, kind = sheet.font, sheet.pen, MEASURES[one.measure]
    low, high = min(0.0, float(one.heat.min())), max(0.0, float(one.heat.max()))
    ramp = np.repeat(np.linspace(low, high, _SIDE)[None], _BAR, axis=0)
    under = np.zeros((*ramp.shape, 3))
    under[..., 0] = _UNDER
    sheet.image.paste(Image.fromarray(tint(under, ramp, max(high, -low))), place)
    below, taken = place[1] + _BAR + 3, list[tuple[float, float]]()
    for value in sorted({low, high, 0.0}, key=abs, reverse=True):
        label = f"{kind.factor * value:+.3g}" if value else "0"
        wide = font.getlength(label)
        middle = place[0] + (value - low) / (high - low) * (_SIDE - 1)
        begin = min(max(middle - wide / 2, place[0]), place[0] + _SIDE - wide)
        if all(begin + wide + 6 < a or begin > b + 6 for a, b in taken):
            pen.line((middle, place[1] + _BAR, middle, below + 1), INK)
            font.write(pen, (begin, below), label, INK)
            taken.append((begin, begin + wide))
    meaning = f"{kind.unit} {scale_text(found)}"
    write_lines(pen, (place[0], below + font.height), wrap(meaning, font, _SIDE, 1), font)


def scale_text(found: Explained) -> str:
    """Explain what the numbers of a map are, after their unit."""
    return "added, by LIME's linear model" if found.is_linear else "lost where it is hidden"


def _bars(sheet: _Sheet, found: Explained, one: Explanation, place: tuple[int, int]) -> None:
    """Draw the probabilities of the likeliest classes, and of the one that is explained."""
    font, pen, (left, top) = sheet.font, sheet.pen, place
    for number in shown_classes(one.probabilities, one.target):
        share = float(one.probabilities[number])
        is_it = number == one.target
        percent = f"{100 * share:.1f}%"
        room = _SIDE - int(font.getlength(percent)) - 12
        mark = " (explained)" if is_it else ""
        name = wrap(found.class_name(number), font, room - int(font.getlength(mark)), 1)[0] + mark
        font.write(pen, (left, top), name, INK)
        font.write(pen, (left + _SIDE - font.getlength(percent), top), percent, INK)
        top += font.height + 1
        pen.rectangle((left, top, left + _SIDE - 1, top + _BAR - 1), _FAINT)
        filled = round(share * _SIDE)
        if filled:
            colour = FOR if is_it else _PLAIN
            pen.rectangle((left, top, left + filled - 1, top + _BAR - 1), colour)
        top += _BAR + 12
    if one.is_flat:
        return
    top += 4
    for colour, meaning in ((FOR, "speaks for it"), (AGAINST, "speaks against it")):
        pen.rectangle((left, top + 3, left + 11, top + 14), colour)
        font.write(pen, (left + 20, top), meaning, INK)
        top += font.height


def shown_classes(probabilities: np.ndarray, target: int) -> Sequence[int]:
    """Choose the likeliest classes, likeliest first, and the one that is explained in any case."""
    order = [int(k) for k in np.argsort(-probabilities, kind="stable")[:_MOST_CLASSES]]
    return order if target in order else [*order, target]
