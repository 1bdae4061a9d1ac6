"""PVTv2 beside timm's at other sizes, and under the names that its authors gave it."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conftest import arrays, paddle_in_float64
from golden import rule
from vitconvert import ConversionError, convert
from vitconvert.models_paddle import pvt_v2
from vitconvert.reference import import_timm
from vitconvert.tables.border import find_names
from vitconvert.tables.reading import find_variant
from vitconvert.tables.spelled import side_patterns

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

SMALL = {
    "depths": (1, 2, 1, 1),
    "embed_dims": (8, 16, 24, 32),
    "num_heads": (1, 2, 3, 4),
    "num_classes": 7,
}
# What each case is about -> arguments, and the size of the images
CASES: Mapping[str, tuple[Mapping[str, Any], tuple[int, int]]] = {
    "neither side divisible": ({}, (70, 45)),
    "one token at the end": ({}, (32, 32)),
    "pooled maps": ({"linear": True}, (70, 301)),
    "pooled maps smaller than the pool": ({"linear": True}, (32, 48)),
    "no head": ({"num_classes": 0}, (64, 32)),
}


@pytest.mark.parametrize("case", CASES)
def test_any_size_gives_what_timm_gives(case: str) -> None:
    """With noise for weights, in float64."""
    import paddle
    import torch

    changes, size = CASES[case]
    with paddle_in_float64():
        ours = pvt_v2.build(pvt_v2.Config(**{**SMALL, **changes}))
    import_timm()
    module = import_module("timm.models.pvt_v2")
    theirs = module.PyramidVisionTransformerV2(**{**SMALL, **changes}).double()
    theirs.eval()
    ours.eval()
    state = ours.state_dict()
    assert set(state) == set(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        noise = rule.weight(key, value.shape)
        value.copy_(torch.from_numpy(noise))
        linear = noise.ndim == 2 and key.endswith(".weight")
        state[key].set_value(paddle.to_tensor((noise.T if linear else noise).astype("f8")))
    images = rule.noise("images", (2, 3, *size))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).numpy()
    with paddle.no_grad():
        found = ours(paddle.to_tensor(images)).numpy()

    np.testing.assert_allclose(found, expected, 0, 1e-10)


def official(variant: str) -> dict[str, np.ndarray]:
    """Make a file of noise as the authors would have saved it."""
    table, found = find_variant(variant)
    names, rng = find_names(table, "torch", "official"), np.random.default_rng(0)
    return {
        key: rng.standard_normal(found.resolve(shape, 7), "f4")
        for key, shape in side_patterns(found, table, "torch", names).items()
    }


@pytest.mark.parametrize("variant", ["pvt_v2_b0", "pvt_v2_b2_li"])
def test_the_authors_file_is_what_timm_makes_of_it(variant: str, tmp_path: Path) -> None:
    """Bit for bit, and back; the dialect and the variant are found."""
    import_timm()
    filtered = import_module("timm.models.pvt_v2").checkpoint_filter_fn
    state = official(variant)
    there, timms, made, other, back = (tmp_path / f"{name}.safetensors" for name in "abcde")
    save_file(state, there)
    save_file(filtered(state, None), timms)

    done = convert(there, made, "pvt_v2", parity=False)
    convert(timms, other, "pvt_v2", parity=False)
    convert(made, back, "pvt_v2", dialect="official", parity=False)

    assert done.plan.variant.name == variant
    assert len(state) == len(arrays(made))
    assert_equal(load_file(made), load_file(other))
    assert_equal(load_file(back), state)


def test_the_authors_names_become_paddleclas_and_come_back(tmp_path: Path) -> None:
    """No name changes; linear weights are turned."""
    state = official("pvt_v2_b0")
    there, made, back = (
        tmp_path / name for name in ("a.safetensors", "b.pdparams", "c.safetensors")
    )
    save_file(state, there)

    convert(there, made, "pvt_v2", target="paddleclas", parity=False)
    convert(made, back, "pvt_v2", dialect="official", parity=False)

    assert arrays(made).keys() == state.keys()
    assert_equal(load_file(back), state)


@pytest.mark.parametrize("prefix", ["pvt_v2.", ""])
def test_hugging_face_has_keys_and_values_apart(prefix: str, tmp_path: Path) -> None:
    """A classifier's file, and one of the layers beneath it alone."""
    state = official("pvt_v2_b2_li")
    source, there, back = (tmp_path / f"{name}.safetensors" for name in "abc")
    save_file(state, source)
    made, again = tmp_path / "made.pdparams", tmp_path / "again.pdparams"

    convert(source, made, "pvt_v2", parity=False)
    convert(made, there, "pvt_v2", dialect="huggingface", parity=False)
    theirs = {
        key.replace("pvt_v2.", prefix): value
        for key, value in load_file(there).items()
        if prefix or not key.startswith("classifier")
    }
    attention = f"{prefix}encoder.layers.2.blocks.5.attention"
    apart = [theirs[f"{attention}.{name}.weight"] for name in ("key", "value")]
    np.testing.assert_array_equal(np.concatenate(apart), state["block3.5.attn.kv.weight"])
    save_file(theirs, there)
    convert(there, again, "pvt_v2", parity=False)
    convert(again, back, "pvt_v2", dialect="official", parity=False)

    kept = {key: value for key, value in state.items() if prefix or not key.startswith("head")}
    assert_equal(load_file(back), kept)


def test_images_of_one_channel_cost_no_size(tmp_path: Path) -> None:
    """The model takes any size, so the table has nothing that depends on it."""
    state = official("pvt_v2_b0")
    source, made = tmp_path / "a.safetensors", tmp_path / "b.pdparams"
    save_file(state, source)

    convert(source, made, "pvt_v2", in_chans=1, parity=False)

    summed = state["patch_embed1.proj.weight"].astype("f8").sum(1, keepdims=True)
    np.testing.assert_allclose(arrays(made)["patch_embed.proj.weight"], summed, 1e-6, 1e-6)
    with pytest.raises(ConversionError, match="leave --image-size out"):
        convert(source, tmp_path / "c.pdparams", "pvt_v2", image_size=(256, 256), parity=False)


def assert_equal(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Hold two states together, bit for bit."""
    assert found.keys() == expected.keys()
    assert [key for key, value in expected.items() if not np.array_equal(found[key], value)] == []
