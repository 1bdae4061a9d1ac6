"""timm as the judge of resized tensors: how to import it, and how near to it something is."""

from typing import Any

import numpy as np
import pytest

from vitconvert.checkpoints import Tensor, held


def distance(ours: np.ndarray, theirs: Any) -> float:
    """Give the largest difference, as a share of the largest value."""
    truth = np.asarray(theirs, np.float64)
    return float(np.abs(ours - truth).max() / max(np.abs(truth).max(), 1e-30))


def timm() -> Any:
    """Import timm, which needs a torchvision whose operators cannot be loaded."""
    pytest.importorskip("torch")
    from vitconvert.models_torch._torchvision import import_torchvision

    import_torchvision()
    import timm.layers
    import timm.layers.patch_embed
    import timm.layers.pos_embed_sincos
    import timm.models._manipulate

    return timm


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def stored(values: np.ndarray, dtype: str) -> Tensor:
    """Give a tensor of a dtype, bfloat16 included, with values in memory."""
    cast = held(values).cast(dtype)
    if dtype != "bfloat16":
        return held(cast.read())
    bits = held(cast.read())
    return Tensor(bits.shape, dtype, bits.storage, 0, bits.strides, dtype)
