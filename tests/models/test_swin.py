"""Swin and SwinV2 beside timm's, also at sizes and with windows that no variant has."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from conftest import paddle_in_float64
from golden import rule
from vitconvert.models_paddle import swin, swinv2
from vitconvert.reference import import_timm

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

MODELS = {"swin": "swin_tiny_patch4_window7_224", "swinv2": "swinv2_tiny_window8_256"}
SMALL = {"embed_dim": 16, "depths": (2, 3, 2), "num_heads": (1, 2, 4), "num_classes": 7}
# What each case is about -> arguments, and the size of the images
CASES: Mapping[str, tuple[Mapping[str, Any], tuple[int, int]]] = {
    "a window for each stage": ({"img_size": (64, 64), "window_size": (4, 7, 2)}, (64, 64)),
    "windows padded": ({"img_size": (100, 132), "window_size": 4}, (100, 132)),
    "pixels that no patch holds": ({"img_size": (70, 45), "window_size": 5}, (70, 45)),
    "shifted to one side alone": ({"img_size": (32, 128), "window_size": 8}, (32, 128)),
    "another size, smaller": (
        {"img_size": (64, 64), "window_size": 4, "dynamic_img_size": True},
        (36, 100),
    ),
    "another size, larger": (
        {"img_size": (32, 32), "window_size": 8, "dynamic_img_size": True},
        (64, 96),
    ),
    "no head": ({"img_size": (32, 32), "window_size": 4, "num_classes": 0}, (32, 32)),
}


def agree(theirs: Any, ours: Any, size: tuple[int, int]) -> None:
    """Fill both float64 models with the same noise, and hold their outputs together."""
    import paddle
    import torch

    theirs.eval()
    ours.eval()
    state = ours.state_dict()
    assert set(state) == set(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        noise = rule.weight(key, value.shape)
        if key.endswith("logit_scale"):  # some above 4.6, where it is cut
            noise = 3 + 3 * noise
        value.copy_(torch.from_numpy(noise))
        linear = noise.ndim == 2 and key.endswith(".weight")
        state[key].set_value(paddle.to_tensor((noise.T if linear else noise).astype("f8")))
    images = rule.noise("images", (2, 3, *size))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).numpy()
    with paddle.no_grad():
        found = ours(paddle.to_tensor(images)).numpy()

    np.testing.assert_allclose(found, expected, 0, 1e-10)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_any_size_and_window_agree_with_timm(family: str, case: str) -> None:
    """To 1e-10; the state has timm's names, without indices and masks."""
    arguments, size = CASES[case]
    arguments = {**SMALL, **arguments}
    if family == "swinv2":
        arguments["pretrained_window_sizes"] = (6, 0, 3)
    theirs = import_timm().create_model(MODELS[family], **arguments).double()
    module = import_module(f"vitconvert.models_paddle.{family}")
    with paddle_in_float64():
        ours = module.build(module.Config(**arguments))

    agree(theirs, ours, size)


def test_a_window_that_covers_its_map_is_not_shifted() -> None:
    """Along either side by itself; otherwise the shift is half a window, rounded down."""
    cfg = swin.Config(img_size=(224, 448))

    assert [cfg.window(stage) for stage in range(4)] == [(7, 7)] * 4
    assert [cfg.shift(stage) for stage in range(4)] == [(3, 3), (3, 3), (3, 3), (0, 3)]
    assert swin.Config(img_size=(32, 64)).window(2) == (2, 4)


@pytest.mark.parametrize("pretrained", [0, 6, 12])
@pytest.mark.parametrize("window", [6, 7, 8, 12, 16, 24])
def test_positions_of_v2_are_those_of_timm_bit_for_bit(window: int, pretrained: int) -> None:
    """They are float32 in a model of any type: a last bit would cost the proof in float64."""
    import_timm()
    attention = import_module("timm.models.swin_transformer_v2").WindowAttention
    theirs = attention(8, (window, window), 1, pretrained_window_size=(pretrained, pretrained))

    ours = swinv2.relative_coords_table((window, window), pretrained)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs.relative_coords_table.numpy())


@pytest.mark.parametrize("family", MODELS)
def test_images_of_another_size_are_refused(family: str) -> None:
    """With the arguments that would take them."""
    import paddle

    module = import_module(f"vitconvert.models_paddle.{family}")
    ours = module.build(module.Config(**SMALL, img_size=(32, 32)))
    with pytest.raises(ValueError, match=r"64x32 pixels, expected 32x32\. .*img_size=\(64, 32\)"):
        ours(paddle.zeros([1, 3, 64, 32]))
    ours = module.build(module.Config(**SMALL, img_size=(32, 32), dynamic_img_size=True))
    with pytest.raises(ValueError, match="images of 34x32 pixels, expected multiples of 4"):
        ours(paddle.zeros([1, 3, 34, 32]))


@pytest.mark.parametrize("family", MODELS)
def test_every_parameter_learns(family: str) -> None:
    """A step of training reaches each of them."""
    import paddle

    module = import_module(f"vitconvert.models_paddle.{family}")
    rates = {"drop_rate": 0.1, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.3}
    ours = module.build(module.Config(**SMALL, **rates, img_size=(64, 48), window_size=4))
    ours.train()
    ours(paddle.randn([3, 3, 64, 48])).square().mean().backward()

    assert [name for name, one in ours.named_parameters() if one.grad is None] == []


@pytest.mark.parametrize("family", MODELS)
def test_initialisation_is_that_of_timm(family: str) -> None:
    """By mean and spread: of n samples they are within five of their own deviations."""
    import paddle
    import torch

    torch.manual_seed(0)
    paddle.seed(0)
    arguments = {**SMALL, "img_size": (32, 32)}
    theirs = import_timm().create_model(MODELS[family], **arguments).state_dict()
    module = import_module(f"vitconvert.models_paddle.{family}")
    ours = module.build(module.Config(**arguments)).state_dict()

    for key, value in theirs.items():
        mean, std, n = float(value.mean()), float(value.std(correction=0)), value.numel()
        found = ours[key].numpy()
        assert found.mean() == pytest.approx(mean, abs=5 * std * (2 / n) ** 0.5 + 1e-6), key
        assert found.std() == pytest.approx(std, rel=5 / n**0.5, abs=1e-6), key
