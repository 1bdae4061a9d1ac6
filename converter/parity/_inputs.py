"""The images that both models are given: seeded noise, a picture, or the user's own array."""

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import ParityError

# Of the channels red, green and blue, 0..1: what the published models were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_MOST_RATIO = 50  # of the sides of a picture
_PREPROCESSING = {"crop_pct": 0.875, "crop_mode": "center", "interpolation": "bicubic"}


def make_input(
    given: str | None,
    name: str,
    batch_size: int | None,
    size: tuple[int, int],
    published: Mapping[str, Any] | None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Make a batch of images.

    Args:
        given: A picture, or an .npy of float [B, 3, H, W]; None or "noise" for seeded noise.
        name: The model; every one has noise of its own.
        batch_size: Images of noise; 2 if None.
        size: Height and width in pixels, of noise or a picture.
        published: How the model's pictures are preprocessed: crop_pct, crop_mode, interpolation.

    Returns:
        float32 [B, 3, H, W], and what they are: shape, origin, hash.

    Raises:
        ParityError: The file cannot be read or is something else.
    """
    if given in (None, "noise"):
        images, facts = _noise(name, (batch_size or 2, 3, *size))
    elif batch_size is not None:
        raise ParityError(f"--batch is of noise; {given} is a batch of its own.")
    elif Path(str(given)).suffix == ".npy":
        images, facts = _array(Path(str(given)))
    else:
        images, facts = _picture(Path(str(given)), size, {**_PREPROCESSING, **(published or {})})
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    return images, {"shape": list(images.shape), **facts, "sha256": digest}


def _noise(name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, dict[str, Any]]:
    seed = "input:" + name + ":" + "x".join(map(str, shape))
    rng = np.random.Generator(np.random.Philox(key=zlib.crc32(seed.encode())))
    return rng.standard_normal(shape).astype(np.float32), {"noise": seed}


def _array(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    try:
        images = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ParityError(f"{path}: cannot be read as an .npy: {error}") from error
    if not isinstance(images, np.ndarray) or images.dtype.kind != "f" or images.ndim != 4:
        found = f"{images.dtype} {list(images.shape)}" if isinstance(images, np.ndarray) else "more"
        raise ParityError(f"{path}: holds {found}; expected floats [B, 3, H, W], normalised.")
    if images.shape[1] != 3 or not images.size:
        raise ParityError(f"{path}: has the shape {list(images.shape)}; expected [B, 3, H, W].")
    with np.errstate(over="ignore"):
        images = np.ascontiguousarray(images, np.float32)
    if not np.isfinite(images).all():
        raise ParityError(f"{path}: holds values that are not finite as float32.")
    return images, {"file": str(path)}


def _picture(
    path: Path, size: tuple[int, int], how: Mapping[str, Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Resize, crop and normalise a picture as the published models were evaluated."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            if opened.mode[0] in "IF":
                raise ParityError(f"{path}: has more than 8 bits per channel. Save it with 8.")
            if max(opened.size) > _MOST_RATIO * min(opened.size):
                raise ParityError(
                    f"{path}: is {opened.size[0]}x{opened.size[1]} pixels, and no side may be more "
                    f"than {_MOST_RATIO} times the other."
                )
            picture = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise ParityError(
            f"{path}: cannot be read as a picture: {error}. --input takes a picture, or an .npy "
            f"with floats [B, 3, H, W]."
        ) from error
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    height, width = size
    resampling = filters[how["interpolation"]]
    if how["crop_mode"] == "squash":
        picture = picture.resize((width, height), resampling)
    else:
        # The side that is shorter beside the crop becomes that of the crop, divided by its share.
        wide, high = picture.size
        around = int(width / how["crop_pct"]), int(height / how["crop_pct"])
        if around[0] * high >= around[1] * wide:
            larger = around[0], around[0] * high // wide
        else:
            larger = around[1] * wide // high, around[1]
        picture = picture.resize(larger, resampling)
        left, top = round((larger[0] - width) / 2), round((larger[1] - height) / 2)
        picture = picture.crop((left, top, left + width, top + height))
    pixels = np.asarray(picture, np.float32) / 255  # [H, W, 3], RGB, 0..1
    mean, std = (np.array(channels, np.float32) for channels in (MEAN, STD))
    images = ((pixels - mean) / std).transpose(2, 0, 1)[None]
    text = "{interpolation}, {crop_mode} {crop_pct}".format(**how)
    facts = {"file": str(path), "preprocessing": text, "mean": list(MEAN), "std": list(STD)}
    return np.ascontiguousarray(images, np.float32), facts
