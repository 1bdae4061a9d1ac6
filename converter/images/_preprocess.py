"""Evaluation preprocessing: an image is resized, cropped and normalised."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..tables.variant import Variant

_MOST_RATIO = 50  # of the sides of an image
_MOST_SIDE = 8192  # pixels of the input
_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
_MODES = ("center", "squash")


@dataclass(frozen=True)
class Preprocessing:
    """Evaluation preprocessing; the one implementation for both frameworks.

    Bit for bit equal to torchvision's Resize, CenterCrop, ToTensor and Normalize of a PIL image.

    Attributes:
        size: Height and width of the model's input, in pixels.
        crop_pct: The share of the resized image's shorter side that is kept; 1.0 is all.
        crop_mode: "center" keeps the proportions and cuts out the middle; "squash" does not.
        interpolation: Pillow's filter: "bicubic", "bilinear", "lanczos" or "nearest".
        mean: Of red, green and blue, 0..1, subtracted.
        std: Of red, green and blue, divided by after that.

    Raises:
        DataError: A value is out of its range.
    """

    size: tuple[int, int]
    crop_pct: float
    crop_mode: str
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if len(self.size) != 2 or not 1 <= min(self.size) <= max(self.size) <= _MOST_SIDE:
            raise DataError(
                f"size is {self.size}; expected height and width in pixels, 1 to {_MOST_SIDE}."
            )
        if not 0 < self.crop_pct <= 1 or max(self.size) / self.crop_pct > 2 * _MOST_SIDE:
            raise DataError(
                f"crop_pct is {self.crop_pct}; expected a number above 0 and at most 1, large "
                f"enough that images are not enlarged beyond {2 * _MOST_SIDE} pixels."
            )
        if self.crop_mode not in _MODES:
            raise DataError(f"crop_mode is {self.crop_mode!r}; expected {' or '.join(_MODES)}.")
        if self.interpolation not in _FILTERS:
            raise DataError(
                f"interpolation is {self.interpolation!r}; expected {', '.join(_FILTERS)}."
            )
        channels = (*self.mean, *self.std)
        is_finite = len(self.mean) == len(self.std) == 3 and all(map(math.isfinite, channels))
        if not is_finite or not min(self.std) > 0:
            raise DataError(
                f"mean is {self.mean}, std is {self.std}; expected three numbers each, for red, "
                f"green and blue, and each std above 0."
            )

    def crop(self, image: Image) -> Image:
        """Resize an image and cut out the middle: what the model sees, RGB of `size`.

        Raises:
            DataError: One side is more than 50 times the other.
        """
        from PIL import Image

        wide, high = image.size
        if max(wide, high) > _MOST_RATIO * min(wide, high):
            raise DataError(
                f"is {wide}x{high} pixels; expected no side longer than {_MOST_RATIO} times the "
                f"other."
            )
        if image.mode != "RGB":
            image = image.convert("RGB")
        height, width = self.size
        larger = self._resized(wide, high)
        image = image.resize(larger, Image.Resampling[self.interpolation.upper()])
        left, top = round((larger[0] - width) / 2), round((larger[1] - height) / 2)
        return image.crop((left, top, left + width, top + height))

    def _resized(self, wide: int, high: int) -> tuple[int, int]:
        """Compute the width and height to resize an image to."""
        width, height = (int(side / self.crop_pct) for side in reversed(self.size))
        if self.crop_mode == "squash":
            return width, height
        # The side that is shorter relative to the crop gets the crop's length over crop_pct.
        if width * high >= height * wide:
            return width, width * high // wide
        return height * wide // high, height

    def normalise(self, pixels: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Turn pixels into a model's input: uint8 [H, W, 3] -> float32 [3, H, W].

        Args:
            pixels: RGB, 0..255.
            out: Array to write to; a new one by default.
        """
        if out is None:
            out = np.empty((3, *pixels.shape[:2]), np.float32)
        # Channel by channel and in place, which is ten times as fast as in one expression. These
        # are torchvision's operations in their order, each rounded to float32.
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            plane = out[channel]
            plane[...] = pixels[:, :, channel]
            plane /= np.float32(255)
            plane -= np.float32(mean)
            plane /= np.float32(std)
        return out

    def __call__(self, image: Image) -> np.ndarray:
        """Turn an image into a model's input: float32 [3, H, W].

        Raises:
            DataError: One side is more than 50 times the other.
        """
        return self.normalise(np.asarray(self.crop(image)))

    def to_dict(self) -> dict[str, Any]:
        """Give all values as plain data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def preprocessing_of(
    variant: Variant,
    *,
    size: tuple[int, int] | None = None,
    crop_pct: float | None = None,
    crop_mode: str | None = None,
    interpolation: str | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> Preprocessing:
    """Give a variant's published preprocessing, with the given values replaced.

    Raises:
        DataError: A value is out of its range, or the variant does not take colours.
    """
    if variant.channels != len(variant.preprocessing["mean"]):
        raise DataError(
            f"{variant.name} takes images of {variant.channels} "
            f"channel{'s' * (variant.channels > 1)}; images are read with 3. Only `parity`, `dump` "
            f"and the conversion run such a model, on noise."
        )
    own = {"size": variant.input_size, **variant.preprocessing}
    changes = {"size": size, "crop_pct": crop_pct, "crop_mode": crop_mode, "mean": mean, "std": std}
    changes["interpolation"] = interpolation
    values = own | {name: value for name, value in changes.items() if value is not None}
    values |= {name: tuple(map(float, values[name])) for name in ("mean", "std")}
    return Preprocessing(**values)
