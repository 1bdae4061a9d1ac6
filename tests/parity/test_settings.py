"""Settings of paired layers, spelled alike and compared."""

from typing import Any

import pytest

from vitconvert.parity._settings import differing, read_settings
from vitconvert.tables import reading

pytestmark = [pytest.mark.torch, pytest.mark.paddle]


# kind: how to build it in torch and in Paddle so that both are the same, then ways in which the
# Paddle one is wrong, each with the setting that must be named.
PAIRS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "conv2d": (
        lambda t: t.Conv2d(4, 4, 3, 2, 1, 2, 2),
        lambda p, **k: p.Conv2D(
            4, 4, 3, **{"stride": [2, 2], "padding": 1, "dilation": 2, "groups": 2} | k
        ),
        {"stride": 1, "padding": 2, "dilation": 1, "groups": 4},
    ),
    "conv_transpose2d": (
        lambda t: t.ConvTranspose2d(4, 4, 3, 2, 1, 1),
        lambda p, **k: p.Conv2DTranspose(
            4, 4, 3, **{"stride": 2, "padding": 1, "output_padding": 1} | k
        ),
        {"stride": 3, "padding": 0},
    ),
    "layer_norm": (
        lambda t: t.LayerNorm(4, 1e-6),
        lambda p, **k: p.LayerNorm(4, k.get("eps", 1e-6)),
        {"eps": 1e-5},
    ),
    "group_norm": (
        lambda t: t.GroupNorm(2, 4),
        lambda p, **k: p.GroupNorm(k.get("num_groups", 2), 4, k.get("eps", 1e-5)),
        {"eps": 1e-6, "num_groups": 1},
    ),
    "batch_norm": (
        lambda t: t.BatchNorm2d(4),
        lambda p, **k: p.BatchNorm2D(4, k.get("momentum", 0.9), k.get("eps", 1e-5)),
        {"eps": 1e-3, "momentum": 0.1},
    ),
    "instance_norm": (
        lambda t: t.InstanceNorm2d(4, affine=True),
        lambda p, **k: p.InstanceNorm2D(4, k.get("eps", 1e-5)),
        {"eps": 1e-6},
    ),
    "embedding": (
        lambda t: t.Embedding(5, 4, padding_idx=2),
        lambda p, **k: p.Embedding(5, 4, k.get("padding_idx", 2)),
        {"padding_idx": None},
    ),
    "gelu": (
        lambda t: t.GELU(),
        lambda p, **k: p.GELU(k.get("approximate", False)),
        {"approximate": True},
    ),
    "softmax": (lambda t: t.Softmax(-1), lambda p, **k: p.Softmax(k.get("dim", -1)), {"dim": 1}),
    "dropout": (
        lambda t: t.Dropout(0.1),
        lambda nn, **k: nn.Dropout(k.get("p", 0.1), mode=k.get("mode", "upscale_in_train")),
        {"p": 0.2, "mode": "downscale_in_infer"},
    ),
    "avg_pool2d": (
        lambda t: t.AvgPool2d(2, padding=1),
        lambda p, **k: p.AvgPool2D(
            2,
            k.get("stride"),
            k.get("padding", 1),
            k.get("ceil_mode", False),
            k.get("count_include_pad", False),  # "exclusive" counts the other way
        ),
        {"stride": 1, "padding": 0, "ceil_mode": True, "count_include_pad": True},
    ),
    "max_pool2d": (
        lambda t: t.MaxPool2d(3, 2, 1),
        lambda p, **k: p.MaxPool2D(
            k.get("kernel_size", 3), k.get("stride", 2), 1, ceil_mode=k.get("ceil_mode", False)
        ),
        {"kernel_size": 2, "stride": 3, "ceil_mode": True},
    ),
    "adaptive_avg_pool2d": (
        lambda t: t.AdaptiveAvgPool2d((1, 1)),
        lambda p, **k: p.AdaptiveAvgPool2D(k.get("output_size", 1)),
        {"output_size": 2},
    ),
    "upsample": (
        lambda t: t.Upsample(scale_factor=2, mode="bilinear"),
        lambda p, **k: p.Upsample(
            scale_factor=2,
            mode=k.get("mode", "bilinear"),
            align_corners=k.get("align_corners", False),
            align_mode=k.get("align_mode", 0),
        ),
        {"mode": "bicubic", "align_corners": True, "align_mode": 1},
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_same_layers_agree_and_each_wrong_setting_is_named(name: str) -> None:
    """No false alarm, and no setting of the kind that a change escapes."""
    import paddle
    import torch

    kind, (make_torch, make_paddle, wrong) = reading.read_kinds()[name], PAIRS[name]
    expected = read_settings(make_torch(torch.nn).eval(), kind, "torch")

    def compare(**change: Any) -> dict[str, Any]:
        layer = make_paddle(paddle.nn, **change)
        layer.eval()
        return differing(expected, read_settings(layer, kind, "paddle"))

    assert compare() == {}
    for setting, value in wrong.items():
        assert setting in compare(**{setting: value})
    training = make_paddle(paddle.nn)
    training.train()
    assert "training" in differing(expected, read_settings(training, kind, "paddle"))


def test_every_kind_with_settings_is_tested() -> None:
    """But for drop_path, whose class is our own."""
    assert {name for name, kind in reading.read_kinds().items() if kind.settings} - {
        "drop_path"
    } == set(PAIRS)


def test_plain_attributes_of_blocks_are_settings() -> None:
    """A number, a text or a flag that both sides have under one name; nothing else."""
    import torch

    block: Any = torch.nn.Module()
    block.scale, block.heads, block.sizes, block.act = 0.125, 4, (7, 7), torch.nn.ReLU()
    block._hidden = 3

    settings = read_settings(block.eval(), reading.read_kinds()["block"], "torch")

    assert settings == {"training": False, "scale": 0.125, "heads": 4, "sizes": 7}
    assert differing(settings, {"scale": 0.25, "other": 1}) == {"scale": (0.125, 0.25)}
