"""The images that two sides classify differently, as the report shows them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from ...errors import DataError
from ...images.sheet import Tile, make_sheet
from ...lines import joined
from ._phrases import class_name, number, worst_first
from ._result import Evaluation

if TYPE_CHECKING:
    from ...images import Images

MOST_IMAGES = 40
_THUMBNAIL = 240  # pixels, the longer side of an image in the page


@dataclass(frozen=True)
class Shown:
    """An image that two sides classify differently, ready to be shown.

    Attributes:
        row: Row of the evaluation.
        image: RGB; None if it cannot be read any more.
    """

    row: int
    image: Image.Image | None

    def encoded(self) -> tuple[str, bytes] | None:
        """Return its media type and content, at most as large as the page shows it."""
        if self.image is None:
            return None
        small, content = self.image.copy(), io.BytesIO()
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        if max(small.size) <= 64:  # so few pixels that every one counts
            small.save(content, "PNG")
            return "image/png", content.getvalue()
        small.save(content, "JPEG", quality=85)
        return "image/jpeg", content.getvalue()


def find_shown(evaluation: Evaluation, images: Images) -> list[Shown]:
    """Open the images that two sides classify differently, the worst first, not all if many."""
    shown = []
    for row in worst_first(evaluation)[:MOST_IMAGES]:
        try:
            image = images.open(int(evaluation.indices[row]))
        except DataError:  # the file has gone since; the rest is still worth having
            image = None
        shown.append(Shown(row, image))
    return shown


def draw_sheet(evaluation: Evaluation, shown: Sequence[Shown]) -> bytes:
    """Draw the contact sheet, as PNG."""
    tiles = []
    for one in shown:
        image = one.image or Image.new("RGB", (64, 64), (160, 160, 160))
        good = None if evaluation.is_rounding(one.row) else False
        tiles.append(Tile(image, _caption(evaluation, one), good))
    count, content = len(evaluation.disagreements), io.BytesIO()
    most = f", the worst {len(shown)}" if count > len(shown) else ""
    title = (
        f"{evaluation.variant}: {count:,} of {evaluation.count:,} images are classified differently"
    )
    make_sheet(tiles, title + most).save(content, "PNG")
    return content.getvalue()


def _caption(evaluation: Evaluation, shown: Shown) -> str:
    """Name the true class, and each side's with its margin, on a line each."""
    lines = [f"true: {class_name(evaluation, int(evaluation.labels[shown.row]))}"]
    for side in evaluation.sides:
        predicted = class_name(evaluation, int(side.predicted[shown.row]))
        lines.append(f"{side.label}: {predicted} (+{number(float(side.margin[shown.row]))})")
    if shown.image is None:
        lines.append("cannot be read any more")
    return joined(lines)
