"""Official names of vit are read as timm reads them, bit for bit."""

import numpy as np
import pytest

from vitconvert.checkpoints import Tensor, held
from vitconvert.tables.border import to_theirs
from vitconvert.tables.moving import our_tensors
from vitconvert.tables.reading import load_table
from vitconvert.tables.table import sizes_of

VIT = load_table("vit")
# Dialect -> a variant, and what stands before the names in a file.
FILTERED = {
    "openai": ("vit_xsmall_patch16_clip_224", "visual."),
    "open_clip_timm": ("vit_xsmall_patch16_clip_224", "visual."),
    "facebook": ("deit3_small_patch16_224", ""),
    "facebook_dinov2": ("vit_small_patch14_reg4_dinov2", ""),
    "flat_patches": ("test_vit", ""),
}


@pytest.mark.torch
@pytest.mark.parametrize("dialect", FILTERED)
def test_names_mean_what_timm_reads(dialect: str) -> None:
    """The checkpoint_filter_fn of timm makes the same tensors of a file."""
    import torch

    from vitconvert.reference import import_timm

    variant, before = VIT.variants[FILTERED[dialect][0]], FILTERED[dialect][1]
    names, sizes, rng = VIT.dialects[dialect], sizes_of(VIT, variant), np.random.default_rng(0)
    ours = {
        key: held(rng.standard_normal(variant.resolve(shape, 5)).astype(np.float32))
        for key, shape in variant.shapes.items()
    }
    theirs = {k: t.read() for k, t in to_theirs(_without_bias(ours), VIT, names, variant).items()}
    if dialect == "facebook_dinov2":
        theirs["pos_embed"] = rng.standard_normal(theirs["pos_embed"].shape).astype(np.float32)
    read = {key: held(array) for key, array in theirs.items()}
    expected = {key: tensor.shape for key, tensor in ours.items()}
    made = our_tensors(names, read, expected, sizes, lambda _key: 0)

    timm = import_timm()
    model = timm.create_model(variant.name, num_classes=5)
    state = {before + k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in theirs.items()}
    if dialect == "facebook_dinov2":
        state["mask_token"] = torch.zeros(1, 384)
    module = timm.models.vision_transformer
    adapt = {"adapt_layer_scale": True} if dialect == "facebook" else {}
    wanted = module.checkpoint_filter_fn(state, model, **adapt)

    for key, tensor in made.items():
        assert np.array_equal(tensor.read(), wanted[key].numpy()), key


def _without_bias(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: held(np.zeros(5, np.float32)) if k == "head.bias" else t for k, t in ours.items()}
