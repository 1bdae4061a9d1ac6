"""A sheet of images with their true class and the one that the model predicts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError
from ...files import write_whole
from ...images.sheet import Tile, make_sheet
from ._batches import spread

if TYPE_CHECKING:
    from ...images import Images, Preprocessing

MOST = 20  # images on the sheet


def draw_predictions(
    path: Path,
    model: Any,
    images: Images,
    chosen: np.ndarray,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    title: str,
) -> None:
    """Draw some images, evenly spread, as the model sees them, with its prediction."""
    import paddle

    seen = []
    for place in spread(len(chosen), MOST):
        try:
            image = preprocessing.crop(images.open(int(chosen[place])))
        except DataError:  # the evaluation counts and reports it
            continue
        seen.append((image, int(images.labels[chosen[place]])))
    if not seen:
        return
    inputs = np.stack([preprocessing.normalise(np.asarray(image)) for image, _ in seen])
    model.eval()
    with paddle.no_grad():
        shares = paddle.nn.functional.softmax(model(paddle.to_tensor(inputs)), -1).numpy()
    tiles = []
    for (image, label), row in zip(seen, shares, strict=True):
        found = int(row.argmax())
        caption = f"{classes[found]} {100 * row[found]:.0f} %"
        if found != label:
            caption += f"\nis: {classes[label]}"
        tiles.append(Tile(image, caption, found == label))
    file = io.BytesIO()
    make_sheet(tiles, title).save(file, "PNG")
    write_whole(path, file.getvalue())
