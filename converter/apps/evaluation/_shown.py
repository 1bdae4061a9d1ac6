"""An image that two sides classify differently, as the report shows it."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL.Image import Image

from ._phrases import class_name, number
from ._result import Evaluation

_THUMBNAIL = 240  # pixels, the longer side of an image in the page


@dataclass(frozen=True)
class Shown:
    """An image that two sides classify differently, ready to be shown.

    Attributes:
        row: Of the evaluation.
        image: RGB; None if it cannot be read any more.
    """

    row: int
    image: Image | None

    def encoded(self) -> tuple[str, bytes] | None:
        """Give its media type and content, at most as large as the page shows it."""
        if self.image is None:
            return None
        small, content = self.image.copy(), io.BytesIO()
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        if max(small.size) <= 64:  # so few pixels that every one counts
            small.save(content, "PNG")
            return "image/png", content.getvalue()
        small.save(content, "JPEG", quality=85)
        return "image/jpeg", content.getvalue()


def caption(evaluation: Evaluation, shown: Shown) -> str:
    """Tell the true class, and each side's with its margin, on a line each."""
    row = shown.row
    lines = [f"true: {class_name(evaluation, int(evaluation.labels[row]))}"]
    for side in evaluation.sides:
        predicted = class_name(evaluation, int(side.predicted[row]))
        lines.append(f"{side.label}: {predicted} (+{number(float(side.margin[row]))})")
    if shown.image is None:
        lines.append("cannot be read any more")
    return "\n".join(lines)
