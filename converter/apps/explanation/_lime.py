"""LIME: a linear model of what hiding random sets of segments does to the answer."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ...errors import RunError
from ._occlusion import Normalise, Predict

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...terminal import Progress

_SEGMENTS = 50  # asked for; the image decides
_COMPACTNESS = 30.0  # of SLIC: how much nearness counts beside colour; at 10, noise is one segment


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
