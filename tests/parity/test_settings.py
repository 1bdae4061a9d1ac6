"""Settings of paired layers, spelled alike and compared."""

from typing import Any

import numpy as np
import pytest

from vitconvert.parity._distance import apart
from vitconvert.parity._dump import round_settings
from vitconvert.parity._record import Paired
from vitconvert.parity._settings import differing, idle, read_settings
from vitconvert.running.side import is_class
from vitconvert.tables import reading

pytestmark = [pytest.mark.torch, pytest.mark.paddle]


def compat(name: str, *args: Any, **options: Any) -> Any:
    """Build a layer of `paddle.compat.nn`."""
    from paddle.compat import nn

    return getattr(nn, name)(*args, **options)


def pool(dimensions: int, change: dict[str, Any]) -> Any:
    """Build a pool of `paddle.compat.nn`, with one setting changed."""
    named = {"divisor": "divisor_override"}
    options = {named.get(name, name): value for name, value in change.items()}
    return compat(f"AvgPool{dimensions}D", **{"kernel_size": 2, "padding": 1} | options)


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
    "conv1d": (
        lambda t: t.Conv1d(4, 4, 3, 2, 1),
        lambda p, **k: p.Conv1D(4, 4, 3, k.get("stride", 2), k.get("padding", 1)),
        {"stride": 1, "padding": 2},
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
    "leaky_relu": (
        lambda t: t.LeakyReLU(0.2),
        lambda p, **k: p.LeakyReLU(k.get("negative_slope", 0.2)),
        {"negative_slope": 0.1},
    ),
    "elu": (lambda t: t.ELU(0.5), lambda p, **k: p.ELU(k.get("alpha", 0.5)), {"alpha": 1.0}),
    "hardtanh": (
        lambda t: t.Hardtanh(0, 6),
        lambda p, **k: p.Hardtanh(k.get("min", 0.0), k.get("max", 6.0)),
        {"min": -1.0, "max": 1.0},
    ),
    "softplus": (
        lambda t: t.Softplus(2),
        lambda p, **k: p.Softplus(k.get("beta", 2), k.get("threshold", 20)),
        {"beta": 1, "threshold": 15},
    ),
    "log_softmax": (
        lambda t: t.LogSoftmax(-1),
        lambda p, **k: p.LogSoftmax(k.get("dim", -1)),
        {"dim": 1},
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
    "dropout2d": (
        lambda t: t.Dropout2d(0.1),
        lambda nn, **k: nn.Dropout2D(k.get("p", 0.1)),
        {"p": 0.2},
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
    "compat_avg_pool1d": (
        lambda t: t.AvgPool1d(2, padding=1),
        lambda _, **k: pool(1, k),
        {
            "kernel_size": 3,
            "stride": 1,
            "padding": 0,
            "ceil_mode": True,
            "count_include_pad": False,
        },
    ),
    "compat_avg_pool2d": (
        lambda t: t.AvgPool2d(2, padding=1),
        lambda _, **k: pool(2, k),
        {"stride": 1, "padding": 0, "ceil_mode": True, "count_include_pad": False, "divisor": 3},
    ),
    "compat_avg_pool3d": (
        lambda t: t.AvgPool3d(2, padding=1),
        lambda _, **k: pool(3, k),
        {"stride": 1, "padding": 0, "ceil_mode": True, "count_include_pad": False, "divisor": 3},
    ),
    "compat_multihead_attention": (
        lambda t: t.MultiheadAttention(8, 2),
        lambda _, **k: compat("MultiheadAttention", 8, **{"num_heads": 2} | k),
        {"num_heads": 4, "dropout": 0.1, "batch_first": True, "add_zero_attn": True},
    ),
    "unfold": (
        lambda t: t.Unfold((3, 2), 2, 1, 3),
        lambda p, **k: p.Unfold(
            k.get("kernel_size", [3, 2]),
            k.get("dilation", 2),
            k.get("padding", 1),
            k.get("stride", 3),
        ),
        {"kernel_size": 3, "dilation": 1, "padding": 0, "stride": [3, 2]},
    ),
    "max_pool2d": (
        lambda t: t.MaxPool2d(3, 2, 1),
        lambda p, **k: p.MaxPool2D(
            k.get("kernel_size", 3), k.get("stride", 2), 1, ceil_mode=k.get("ceil_mode", False)
        ),
        {"kernel_size": 2, "stride": 3, "ceil_mode": True},
    ),
    "avg_pool1d": (
        lambda t: t.AvgPool1d(2, padding=1),
        lambda p, **k: p.AvgPool1D(
            2, k.get("stride"), k.get("padding", 1), k.get("count_include_pad", False)
        ),
        {"stride": 1, "padding": 0, "count_include_pad": True},
    ),
    "max_pool1d": (
        lambda t: t.MaxPool1d(3, 2, 1),
        lambda p, **k: p.MaxPool1D(
            k.get("kernel_size", 3), k.get("stride", 2), 1, ceil_mode=k.get("ceil_mode", False)
        ),
        {"kernel_size": 2, "stride": 3, "ceil_mode": True},
    ),
    "adaptive_avg_pool2d": (
        lambda t: t.AdaptiveAvgPool2d((1, 1)),
        lambda p, **k: p.AdaptiveAvgPool2D(k.get("output_size", 1)),
        {"output_size": 2},
    ),
    "adaptive_max_pool2d": (
        lambda t: t.AdaptiveMaxPool2d(1),
        lambda p, **k: p.AdaptiveMaxPool2D(k.get("output_size", 1), k.get("return_mask", False)),
        {"output_size": 2, "return_mask": True},
    ),
    "adaptive_avg_pool1d": (
        lambda t: t.AdaptiveAvgPool1d(1),
        lambda p, **k: p.AdaptiveAvgPool1D(k.get("output_size", 1)),
        {"output_size": 2},
    ),
    "pad2d": (
        lambda t: t.ZeroPad2d((1, 2, 0, 1)),
        lambda p, **k: p.Pad2D(
            k.get("padding", [1, 2, 0, 1]), k.get("mode", "constant"), k.get("value", 0.0)
        ),
        {"padding": [0, 1, 1, 2], "mode": "reflect", "value": 1.0},
    ),
    "pixel_shuffle": (
        lambda t: t.PixelShuffle(2),
        lambda p, **k: p.PixelShuffle(2, k.get("data_format", "NCHW")),
        {"data_format": "NHWC"},
    ),
    "flatten": (
        lambda t: t.Flatten(),
        lambda p, **k: p.Flatten(k.get("start", 1)),
        {"start": 2},
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


# Every further class of a kind: torch's, Paddle's, what agrees with torch, what does not, and a
# setting that must be named.
CLASSES: list[tuple[str, Any, Any, str]] = [
    ("BatchNorm1d", lambda p: p.BatchNorm1D(4), lambda p: p.BatchNorm1D(4, 0.1), "momentum"),
    (
        "BatchNorm1d",
        lambda p: p.BatchNorm1D(4, data_format="NC"),
        lambda p: p.BatchNorm1D(4, data_format="NLC"),
        "data_format",
    ),
    (
        "BatchNorm3d",
        lambda p: p.BatchNorm3D(4),
        lambda p: p.BatchNorm3D(4, data_format="NDHWC"),
        "data_format",
    ),
    ("SyncBatchNorm", lambda p: p.SyncBatchNorm(4), lambda p: p.SyncBatchNorm(4, 0.9, 1), "eps"),
    (
        "BatchNorm2d",
        lambda p: p.BatchNorm(4),
        lambda p: p.BatchNorm(4, data_layout="NHWC"),
        "data_format",
    ),
    (
        "BatchNorm2d",
        lambda p: p.BatchNorm(4, use_global_stats=False),
        lambda p: p.BatchNorm(4, trainable_statistics=True),
        "trainable_statistics",
    ),
    # In evaluation mode, too, this one takes the statistics of the batch.
    (
        "BatchNorm2d",
        lambda p: p.BatchNorm2D(4),
        lambda p: p.BatchNorm2D(4, use_global_stats=False),
        "use_global_stats",
    ),
]


@pytest.mark.parametrize(("torch_class", "agreeing", "wrong", "setting"), CLASSES)
def test_classes_of_one_kind_are_spelled_alike(
    torch_class: str, agreeing: Any, wrong: Any, setting: str
) -> None:
    """Whatever each of them calls its settings."""
    import paddle
    import torch

    kind = reading.read_kinds()["batch_norm"]
    expected = read_settings(getattr(torch.nn, torch_class)(4).eval(), kind, "torch")

    def compare(layer: Any) -> dict[str, Any]:
        layer.eval()
        return differing(expected, read_settings(layer, kind, "paddle"))

    assert compare(agreeing(paddle.nn)) == {}
    assert set(compare(wrong(paddle.nn))) == {setting}


# Kinds whose layers have no tensors and that no shipped model has.
PLAIN: dict[str, tuple[Any, Any]] = {
    "relu6": (lambda t: t.ReLU6(), lambda p: p.ReLU6()),
    "leaky_relu": (lambda t: t.LeakyReLU(0.3), lambda p: p.LeakyReLU(0.3)),
    "elu": (lambda t: t.ELU(0.3), lambda p: p.ELU(0.3)),
    "hardtanh": (lambda t: t.Hardtanh(-2, 3), lambda p: p.Hardtanh(-2.0, 3.0)),
    "softplus": (lambda t: t.Softplus(1.3, 5), lambda p: p.Softplus(1.3, 5)),
    "tanh": (lambda t: t.Tanh(), lambda p: p.Tanh()),
    "mish": (lambda t: t.Mish(), lambda p: p.Mish()),
    "silu": (lambda t: t.SiLU(), lambda p: p.Swish()),
    "log_softmax": (lambda t: t.LogSoftmax(1), lambda p: p.LogSoftmax(1)),
    "adaptive_max_pool2d": (lambda t: t.AdaptiveMaxPool2d(2), lambda p: p.AdaptiveMaxPool2D(2)),
    "pad2d": (lambda t: t.ZeroPad2d((1, 2, 0, 1)), lambda p: p.ZeroPad2D([1, 2, 0, 1])),
    "pixel_shuffle": (lambda t: t.PixelShuffle(2), lambda p: p.PixelShuffle(2)),
    "flatten": (lambda t: t.Flatten(), lambda p: p.Flatten()),
}


@pytest.mark.parametrize("name", PLAIN)
def test_layers_without_tensors_compute_the_same(name: str) -> None:
    """In float64, and so do their gradients."""
    import paddle
    import torch

    kind, (make_torch, make_paddle) = reading.read_kinds()[name], PLAIN[name]
    one, other = make_torch(torch.nn), make_paddle(paddle.nn)
    assert is_class(one, kind.torch)
    assert is_class(other, kind.paddle)
    assert differing(read_settings(one, kind, "torch"), read_settings(other, kind, "paddle")) == {}
    round_settings([Paired(one, name, name, kind)], "torch")
    round_settings([Paired(other, name, name, kind)], "paddle")
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 6)) * 4
    inputs = torch.tensor(x, requires_grad=True), paddle.to_tensor(x, stop_gradient=False)

    outputs = one(inputs[0]), other(inputs[1])
    (outputs[0] ** 2).sum().backward()
    (outputs[1] ** 2).sum().backward()

    assert apart(outputs[0].detach().numpy(), outputs[1].numpy()).difference < 1e-14
    gradients = inputs[0].grad, inputs[1].grad
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert apart(gradients[0].numpy(), gradients[1].numpy()).difference < 1e-13


@pytest.mark.parametrize("padding", [0, 1])
def test_a_setting_that_changes_nothing_is_not_compared(padding: int) -> None:
    """Without padding no pool counts it."""
    import paddle
    import torch

    kind = reading.read_kinds()["avg_pool2d"]
    settings = [
        read_settings(torch.nn.AvgPool2d(2, padding=padding), kind, "torch"),
        read_settings(paddle.nn.AvgPool2D(2, padding=padding), kind, "paddle"),
    ]

    assert differing(*settings) == {"count_include_pad": (True, False)}
    assert [idle(one, kind) for one in settings] == [[] if padding else ["count_include_pad"]] * 2


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


@pytest.mark.parametrize(
    ("kind", "setting", "value", "spelled"),
    [
        ("layer_norm", "eps", 1e-6, "epsilon=1e-06"),
        ("batch_norm", "momentum", 0.1, "momentum=0.9"),
        ("gelu", "approximate", "none", "approximate=False"),
        ("avg_pool2d", "count_include_pad", True, "exclusive=False"),
        ("conv2d", "stride", 2, "stride=2"),
        ("conv2d", "stride", [2, 1], "stride=[2, 1]"),
    ],
)
def test_value_of_pytorch_is_spelled_as_paddle_takes_it(
    kind: str, setting: str, value: Any, spelled: str
) -> None:
    """Who copies it into the Paddle model sets what PyTorch has."""
    found = next(one for one in reading.read_kinds()[kind].settings if one.name == setting)

    assert found.in_paddle(value) == spelled
