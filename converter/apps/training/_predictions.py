"""A sheet of pictures with the class that a trained model gives them, and their own."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError
from ...images.sheet import Tile, make_sheet
from ._batches import spread
from ._state import write_bytes

if TYPE_CHECKING:
    from ...images import Pictures, Preprocessing

MOST = 20  # pictures on the sheet


def draw_predictions(
    path: Path,
    model: Any,
    pictures: Pictures,
    chosen: np.ndarray,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    title: str,
) -> None:
    """Draw some pictures, evenly spread, as the model sees them, with what it says of each."""
    import paddle

    seen = []
    for place in spread(len(chosen), MOST):
        try:
            picture = preprocessing.crop(pictures.open(int(chosen[place])))
        except DataError:  # counted and named by the evaluation
            continue
        seen.append((picture, int(pictures.labels[chosen[place]])))
    if not seen:
        return
    images = np.stack([preprocessing.normalise(np.asarray(picture)) for picture, _ in seen])
    model.eval()
    with paddle.no_grad():
        shares = paddle.nn.functional.softmax(model(paddle.to_tensor(images)), -1).numpy()
    tiles = []
    for (picture, label), row in zip(seen, shares, strict=True):
        found = int(row.argmax())
        caption = f"{classes[found]} {100 * row[found]:.0f} %"
        if found != label:
            caption += f"\nis: {classes[label]}"
        tiles.append(Tile(picture, caption, found == label))
    file = io.BytesIO()
    make_sheet(tiles, title).save(file, "PNG")
    write_bytes(path, file.getvalue())
