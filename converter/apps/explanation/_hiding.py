"""Maps of what hiding parts of an image does to a model's answer: occlusion and LIME."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
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
_SEGMENTS = 50  # asked for; the image decides
_COMPACTNESS = 30.0  # of SLIC: how much nearness counts beside colour; at 10, noise is one segment


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


def require_lime() -> None:
    """Check that the package is installed, without importing it.

    Raises:
        RunError: It is not; the message says how to install it.
    """
    if find_spec("lime") is None or find_spec("skimage") is None:
        raise RunError(
            "--method lime needs the package lime, which is not installed here. Install it: "
            "pip install lime; or use the default, --method occlusion."
        )


def lime(
    predict: Predict,
    image: Image,
    normalise: Normalise,
    target: int,
    samples: int,
    seed: int,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> np.ndarray:
    """Map the weight of every segment of an image in a linear model of a class's score.

    Segments are SLIC's, so that small images have enough of them, and they are hidden as in
    `occlusion`: filled with their own mean, those of one colour would not be hidden at all.
    Distances, kernel and regression are those of the package.

    Args:
        predict: float32 [B, 3, H, W], normalised -> scores [B, K].
        image: RGB, what the model sees.
        normalise: uint8 [H, W, 3] -> float32 [3, H, W], as a model is given it.
        target: The class, an index into K.
        samples: Images with random halves of the segments hidden.
        seed: Of that choice.
        batch_size: Images that `predict` is given at once.
        progress: Called with a text, the images done and their total.

    Returns:
        float64 [H, W]: at each pixel the weight of its segment, in units of the score. Positive
        where the image speaks for the class.

    Raises:
        RunError: The package is not installed, or the image has no parts.
    """
    require_lime()
    from lime.lime_image import LimeImageExplainer
    from skimage.segmentation import slic
    from sklearn.metrics import pairwise_distances

    pixels = np.asarray(image)
    segments = slic(pixels, _SEGMENTS, _COMPACTNESS, start_label=0)
    count = int(segments.max()) + 1
    if count < 2:
        raise RunError("the image is a single segment to LIME. Use --method occlusion.")
    whole = normalise(pixels)
    shown = np.random.default_rng(seed).integers(0, 2, (samples, count))
    shown[0] = 1  # the image itself
    found = []
    for begin in range(0, samples, batch_size):
        batch = shown[begin : begin + batch_size]
        found.append(predict(whole * batch[:, None, segments].astype(np.float32)))
        if progress is not None:
            progress("hiding segments", begin + len(batch), samples)
    distances = pairwise_distances(shown, shown[:1], metric="cosine").ravel()
    base = LimeImageExplainer(random_state=seed).base
    weights = base.explain_instance_with_data(
        shown, np.concatenate(found), distances, target, count
    )[1]
    values = np.zeros(count)
    for segment, weight in weights:
        values[segment] = weight
    heat: np.ndarray = values[segments]
    return heat
