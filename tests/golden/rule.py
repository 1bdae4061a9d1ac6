"""Deterministic weights and images: every value follows from a name and a shape alone.

The golden data beside this file was computed by the official models on these. An array is drawn
in float64 from Philox(key=crc32(name)), scaled as below, and rounded once to float32.
"""

import hashlib
import math
import zlib
from collections.abc import Iterable, Sequence

import numpy as np


def noise(text: str, shape: Sequence[int]) -> np.ndarray:
    """Draw the standard normal float64 array that belongs to a text."""
    generator = np.random.Generator(np.random.Philox(key=zlib.crc32(text.encode())))
    return generator.standard_normal(tuple(shape))


def weight(name: str, shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """Give one state-dict entry: float32, or int64 one for a step counter."""
    if dtype.startswith("int"):
        return np.ones(tuple(shape), np.int64)
    z = noise(name, shape)
    if len(shape) >= 2:
        gain = 0.5 if name.endswith("conv_offset.weight") else 1.0
        z = gain * z / math.sqrt(math.prod(shape[1:]))
    elif name.endswith("running_var"):
        z = 1.0 + 0.1 * np.abs(z)
    elif name.endswith(".weight"):
        z = 1.0 + 0.1 * z
    else:
        z = 0.1 * z
    return z.astype(np.float32)


def images(variant: str, shape: Sequence[int]) -> np.ndarray:
    """Give the float32 input batch of a variant, [B, 3, H, W]."""
    seed = f"input:{variant}:{'x'.join(map(str, shape))}"
    return noise(seed, shape).astype(np.float32)


def digest(arrays: Iterable[np.ndarray]) -> str:
    """Hash arrays as the golden data does: SHA-256 of their little-endian bytes, in order."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return sha.hexdigest()
