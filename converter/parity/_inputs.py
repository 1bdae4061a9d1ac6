"""The images that both models are given: seeded noise, an image, or the user's own array."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, ParityError
from ..tables.reading import find_variant, read_table
from ..tables.variant import PREPROCESSING, Variant
from ._options import BATCH_SIZE, Pair, RunOptions, batch_sizes
from ._trace import INPUT

_COLOURS = 3


def write_inputs(
    model: str | Pair, options: RunOptions, folder: Path
) -> list[tuple[Path, dict[str, Any]]]:
    """Write every batch of images that the model is given: each a file, and what it holds.

    Raises:
        ParityError: The input cannot be read, or several were asked for of one.
    """
    written: list[tuple[Path, dict[str, Any]]] = []
    for images, facts in _inputs(model, options):
        path = folder / (f"further{len(written)}.npy" if written else INPUT)
        np.save(path, images)
        written.append((path, facts))
    return written


def _inputs(model: str | Pair, options: RunOptions) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Make the batches one by one, that with which the layers are compared first."""
    given, size, seeds = options.get("input"), options.get("input_size"), options.get("seeds", 1)
    variant: Variant | None = None
    if isinstance(model, Pair):
        size = size or read_table(Path(model.table)).input_size or (224, 224)
        name, preprocessing, channels = "pair", PREPROCESSING, 3
    else:
        variant = find_variant(model)[1]
        size = size or variant.input_size
        name, preprocessing = model, variant.preprocessing
        channels = variant.channels
    sizes: tuple[int | None, ...] = batch_sizes(options)
    if given not in (None, "noise"):
        if seeds > 1:
            raise ParityError(f"--seeds is for noise; {given} is one batch. Leave out --seeds.")
        sizes = (None,) if options.get("batch_size") is None else sizes  # make_input refuses them
    for batch_size in sizes:
        for seed in range(seeds):
            images, facts = make_input(given, name, batch_size, size, preprocessing, seed, channels)
            if variant is not None:
                variant.check_size((images.shape[2], images.shape[3]))
            yield images, facts


def make_input(
    given: str | None,
    name: str,
    batch_size: int | None,
    size: tuple[int, int],
    preprocessing: Mapping[str, Any],
    seed: int = 0,
    channels: int = 3,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Make or read a batch of images.

    Args:
        given: An image, or an .npy of float [B, 3, H, W]; None or "noise" for seeded noise.
        name: The model; every one has noise of its own.
        batch_size: Images of noise; 2 if None.
        size: Height and width in pixels, of noise or an image.
        preprocessing: How the model's images are preprocessed, all of PREPROCESSING.
        seed: Which of the model's kinds of noise.
        channels: Of an image.

    Returns:
        float32 [B, 3, H, W], and what they are: shape, origin, hash.

    Raises:
        ParityError: The file cannot be read or is something else.
    """
    if given in (None, "noise"):
        shape = (batch_size or BATCH_SIZE, channels, *size)
        own = f":{seed}" if seed else ""
        facts: dict[str, Any] = {"noise": f"input:{name}:{spell_shape(shape)}{own}", "seed": seed}
        images = noise(facts["noise"], shape).astype(np.float32)
    elif batch_size is not None:
        raise ParityError(
            f"--batch is for noise; {given} is a batch of its own. Leave out --batch."
        )
    elif Path(str(given)).suffix == ".npy":
        images, facts = _array(Path(str(given)), channels)
    elif channels != _COLOURS:
        raise ParityError(
            f"{given}: an image has {_COLOURS} channels, the model takes {channels}: give noise, "
            f"or an .npy of floats [B, {channels}, H, W]."
        )
    else:
        images, facts = _image(Path(str(given)), size, preprocessing)
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    return images, {"shape": list(images.shape), **facts, "sha256": digest}


def noise(seed: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from the standard normal distribution, the same for the same seed everywhere."""
    rng = np.random.Generator(np.random.Philox(key=zlib.crc32(seed.encode())))
    return np.asarray(rng.standard_normal(shape))


def spell_shape(shape: Iterable[int]) -> str:
    """Spell a shape: "2x3x224x224"."""
    return "x".join(map(str, shape))


def _array(path: Path, channels: int) -> tuple[np.ndarray, dict[str, Any]]:
    try:
        images = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ParityError(f"{path}: cannot be read as an .npy: {error}") from error
    if not isinstance(images, np.ndarray) or images.dtype.kind != "f" or images.ndim != 4:
        found = f"{images.dtype} {list(images.shape)}" if isinstance(images, np.ndarray) else "more"
        raise ParityError(
            f"{path}: holds {found}; expected floats [B, {channels}, H, W], normalised."
        )
    if images.shape[1] != channels or not images.size:
        raise ParityError(
            f"{path}: has the shape {list(images.shape)}; expected [B, {channels}, H, W]."
        )
    with np.errstate(over="ignore"):
        images = np.ascontiguousarray(images, np.float32)
    if not np.isfinite(images).all():
        raise ParityError(f"{path}: holds values that are not finite as float32.")
    return images, {"file": str(path)}


def _image(
    path: Path, size: tuple[int, int], how: Mapping[str, Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Resize, crop and normalise an image as the published models were evaluated."""
    from ..images import Preprocessing, read_image

    preprocessing = Preprocessing(size, **how)
    try:
        images = preprocessing(read_image(path, str(path)))[None]
    except DataError as error:
        raise ParityError(
            f"{path}: {str(error).removeprefix(f'{path}: ')} --input takes an image, or an .npy "
            f"with floats [B, 3, H, W]."
        ) from error
    text = "{interpolation}, {crop_mode} {crop_pct}".format(**how)
    mean, std = list(preprocessing.mean), list(preprocessing.std)
    return images, {"file": str(path), "preprocessing": text, "mean": mean, "std": std}
