"""Occlusion: hide one window of an image after the other, and see how the answer changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...errors import RunError

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...terminal import Progress

Predict = Callable[[np.ndarray], np.ndarray]
Normalise = Callable[[np.ndarray], np.ndarray]

_PARTS = 5  # of the shorter side, the window as long as one of them
_STEPS = 4  # of a window, the stride as long as one of them


def default_window(
    size: tuple[int, int], window: int | None, stride: int | None
) -> tuple[int, int]:
    """Fill in the window and stride that were not given, in pixels."""
    window = max(1, min(size) // _PARTS) if window is None else window
    return window, max(1, window // _STEPS) if stride is None else stride


def places(size: tuple[int, int], window: int, stride: int) -> list[tuple[int, int]]:
    """List the positions of a window: (top, left) in pixels, row by row.

    The last of every row and column ends at the edge of the image, so that all of it is covered.

    Raises:
        RunError: The window does not fit, or the stride leaves gaps.
    """
    if not 1 <= window <= min(size):
        raise RunError(
            f"the window is {window} pixels; expected 1 to {min(size)}, as the model sees "
            f"{size[0]}x{size[1]} pixels."
        )
    if not 1 <= stride <= window:
        raise RunError(
            f"the stride is {stride} pixels; expected 1 to {window}, the window: a longer one "
            f"leaves gaps."
        )
    downwards, across = (sorted({*range(0, side - window, stride), side - window}) for side in size)
    return [(top, left) for top in downwards for left in across]


def occlusion(
    predict: Predict,
    image: Image,
    normalise: Normalise,
    target: int,
    window: int,
    stride: int,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> np.ndarray:
    """Map how much of a class's score is lost where an image is hidden.

    A window is hidden by setting it to 0 after normalisation, which is the mean colour of the
    images that the model was trained with.

    Args:
        predict: float32 [B, 3, H, W], normalised -> scores [B, K].
        image: RGB, what the model sees.
        normalise: uint8 [H, W, 3] -> float32 [3, H, W], as a model is given it.
        target: The class, an index into K.
        window: Side of the square that is hidden, in pixels.
        stride: Pixels from one place of it to the next.
        batch_size: Images that `predict` is given at once.
        progress: Called with a text, the images done and their total.

    Returns:
        float64 [H, W]: at each pixel the mean, over the windows that cover it, of the score of the
        whole image less that of the image with the window hidden. Positive where the image
        speaks for the class.

    Raises:
        RunError: The window does not fit, or the stride leaves gaps.
    """
    whole = normalise(np.asarray(image))
    todo = places((whole.shape[1], whole.shape[2]), window, stride)
    score = float(predict(whole[None])[0, target])
    lost, times = np.zeros(whole.shape[1:]), np.zeros(whole.shape[1:])
    for begin in range(0, len(todo), batch_size):
        batch = todo[begin : begin + batch_size]
        areas = [np.s_[top : top + window, left : left + window] for top, left in batch]
        images = np.repeat(whole[None], len(batch), axis=0)
        for hidden, area in zip(images, areas, strict=True):
            hidden[:, *area] = 0
        found = predict(images)[:, target]
        for area, other in zip(areas, found, strict=True):
            lost[area] += score - float(other)
            times[area] += 1
        if progress is not None:
            progress("hiding windows", begin + len(batch), len(todo))
    return lost / times
