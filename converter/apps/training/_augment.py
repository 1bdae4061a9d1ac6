"""Random changes of training images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._settings import Crop, Settings

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from ...images import Preprocessing

SMALL = 64  # pixels up to which images are padded and cropped, not enlarged
_PADDING = 8  # the side is so many times the padding: 4 pixels at 32
_TRIES = 10  # for a crop that fits into the image
_RATIO = 4 / 3  # most that a crop's sides differ by, before it is resized


@dataclass(frozen=True)
class Augmentation:
    """How training images are changed; parameters are drawn anew for every image.

    Attributes:
        preprocessing: The one of evaluation.
        crop: "padded", "resized" or "none".
        crop_scale: Smallest share of the area that "resized" cuts out.
        flip: Whether to mirror an image with probability 1/2.
        color_jitter: Largest change of brightness, contrast and saturation.
    """

    preprocessing: Preprocessing
    crop: Crop
    crop_scale: float
    flip: bool
    color_jitter: float

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """Turn an RGB image into one of the model's size.

        Raises:
            DataError: One side is more than 50 times the other.
        """
        from PIL import Image

        if self.crop == "resized":
            image = self._resized(image, rng)
        else:
            image = self.preprocessing.crop(image)
            if self.crop == "padded":
                image = _moved(image, rng)
        if self.flip and rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.color_jitter:
            image = _jittered(image, self.color_jitter, rng)
        return image

    def _resized(self, image: Image, rng: np.random.Generator) -> Image:
        """Cut out a part of random size, proportions and place, and bring it to the size."""
        from PIL import Image

        wide, high = image.size
        height, width = self.preprocessing.size
        for _ in range(_TRIES):
            area = wide * high * rng.uniform(self.crop_scale, 1)
            ratio = width / height * math.exp(rng.uniform(-1, 1) * math.log(_RATIO))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= wide and 0 < h <= high:
                break
        else:
            return self.preprocessing.crop(image)
        left, top = int(rng.integers(wide - w + 1)), int(rng.integers(high - h + 1))
        resampling = Image.Resampling[self.preprocessing.interpolation.upper()]
        return image.resize((width, height), resampling, (left, top, left + w, top + h))


def augmentation_of(settings: Settings, preprocessing: Preprocessing) -> Augmentation:
    """Make the augmentation that the options ask for."""
    usual: Crop = "padded" if max(preprocessing.size) <= SMALL else "resized"
    return Augmentation(
        preprocessing,
        settings.crop or usual,
        settings.crop_scale,
        settings.flip,
        settings.color_jitter,
    )


def _moved(image: Image, rng: np.random.Generator) -> Image:
    """Cut the image's size out of it with a black frame: Pillow gives black beyond the edge."""
    width, height = image.size
    x, y = width // _PADDING, height // _PADDING
    left, top = int(rng.integers(-x, x + 1)), int(rng.integers(-y, y + 1))
    return image.crop((left, top, left + width, top + height))


def _jittered(image: Image, most: float, rng: np.random.Generator) -> Image:
    """Change brightness, contrast and saturation, in random order."""
    from paddle.vision.transforms import functional as F  # noqa: N812

    changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    for which in rng.permutation(len(changes)):
        image = changes[which](image, 1 + most * float(rng.uniform(-1, 1)))
    return image
