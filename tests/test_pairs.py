"""The two files of a family read as one, and both models train."""

import ast
import dataclasses
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden import rule
from vitconvert import _models, _table

ROOT = Path(__file__).parents[1]
FAMILIES = _table.families()


def outline(file: Path) -> list[str]:
    """List classes, functions and uses of self of a module, in order."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.append((node.lineno, node.name))
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self":
            found.append((node.lineno, f"self.{node.attr}"))
    return [name for _line, name in sorted(found)]


@pytest.mark.parametrize("family", FAMILIES)
def test_pair_has_the_same_outline(family: str) -> None:
    """Both files define the same classes, methods and uses of self, in the same order."""
    torch, paddle = (ROOT / f"models_{side}" / f"{family}.py" for side in ("torch", "paddle"))

    assert outline(torch) == outline(paddle)


@pytest.mark.parametrize("family", FAMILIES)
def test_pair_differs_in_words_only(family: str) -> None:
    """Line for line the same but for the frameworks' words."""
    words = {
        "nn.Module": "nn.Layer",
        "ModuleList": "LayerList",
        "permute(": "transpose(",
        "Conv2d": "Conv2D",
        "BatchNorm2d": "BatchNorm2D",
        "bias=False": "bias_attr=False",
        "torch.cat(": "paddle.concat(",
        "torch.split(": "paddle.split(",
        "import torch": "import paddle",
        "from torch": "from paddle",
    }
    torch, paddle = (
        (ROOT / f"models_{side}" / f"{family}.py").read_text() for side in ("torch", "paddle")
    )
    for word, other in words.items():
        torch = torch.replace(word, other)
    pairs = list(zip(torch.splitlines(), paddle.splitlines(), strict=True))

    other = [ours for ours, theirs in pairs if "import" not in ours and ours != theirs]
    assert len(other) <= 5, "\n".join(other)


def small(framework: _table.Side, family: str, **changes: Any) -> Any:
    """Build the smallest classifier of a family with changes to its configuration."""
    table = _table.load_table(family)
    classifiers = (v for v in table.variants.values() if v.num_classes)
    variant = min(classifiers, key=table.parameters)
    config = {**variant.config, **changes}
    return _models.build(
        framework, dataclasses.replace(variant, config=config), config.get("num_classes", 10)
    )


# Height and width in pixels. LITv2 needs multiples of 32, the others take any size.
SIZES = {"litv2": (64, 96)}
TRAINING = {"num_classes": 7, "drop_path_rate": 0.3, "drop_rate": 0.1}


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_torch_trains_on_any_input_size_and_class_count(family: str) -> None:
    """A step in training mode reaches every parameter; input not square, an odd batch."""
    import torch

    torch.manual_seed(0)
    model = small("torch", family, **TRAINING)
    logits = model.train()(torch.randn(3, 3, *SIZES.get(family, (70, 45))))
    logits.square().mean().backward()

    assert logits.shape == (3, 7)
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.paddle
@pytest.mark.parametrize("family", FAMILIES)
def test_paddle_trains_on_any_input_size_and_class_count(family: str) -> None:
    """A step in training mode reaches every parameter; input not square, an odd batch."""
    import paddle

    paddle.seed(0)
    model = small("paddle", family, **TRAINING)
    model.train()
    logits = model(paddle.randn([3, 3, *SIZES.get(family, (70, 45))]))
    logits.square().mean().backward()

    assert logits.shape == [3, 7]
    assert [n for n, p in model.named_parameters() if not p.stop_gradient and p.grad is None] == []


def he(shape: tuple[int, ...]) -> float:
    # A depthwise weight is [out, 1, k, k]; every other convolution here has one group.
    groups = shape[0] if shape[1] == 1 else 1
    return math.sqrt(2 / (math.prod(shape[2:]) * shape[0] // groups))


def expected_std(family: str, layer: str, kind: str, shape: tuple[int, ...]) -> float | None:
    """Give the std of the official initialisation of a weight; None for a norm, which has ones."""
    if kind == "linear":
        return 0.02
    if kind in ("conv2d", "deform_conv2d"):
        if family == "shiftvit":
            return 0.02
        if family == "shunted" or ".mlp." in layer:
            return he(shape)
        if layer.endswith("conv_offset"):
            return 0.0
        return 1 / math.sqrt(3 * math.prod(shape[1:]))  # torch's own, uniform
    return None


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_torch_is_initialised_as_the_source(family: str) -> None:
    """Weights have the std of the official initialisation, biases are zero, norms one."""
    import torch

    torch.manual_seed(0)
    state = small("torch", family).state_dict()
    check_initialisation(family, {k: v.double().numpy() for k, v in state.items()}, "torch")


@pytest.mark.paddle
@pytest.mark.parametrize("family", FAMILIES)
def test_paddle_is_initialised_as_the_source(family: str) -> None:
    """Weights have the std of the official initialisation, biases are zero, norms one."""
    import paddle

    paddle.seed(0)
    state = small("paddle", family).state_dict()
    check_initialisation(family, {k: v.numpy() for k, v in state.items()}, "paddle")


def check_initialisation(family: str, state: dict[str, Any], framework: _table.Side) -> None:
    layers = _table.load_table(family).layers(framework, {k.rpartition(".")[0] for k in state})
    seen = 0
    for key, value in state.items():
        layer, _, leaf = key.rpartition(".")
        kind = layers[layer][2].name
        weight = state.get(f"{layer}.weight", value)
        std = expected_std(family, layer, kind, weight.shape)
        is_uniform = family == "litv2" and layer.endswith(("patch_embed.proj", "dconv"))
        if leaf == "bias" and not is_uniform:
            assert not value.any(), key
        elif leaf in ("weight", "bias") and std is not None:
            # The sample std of n draws is within 5 / sqrt(2n) of the true one.
            assert value.std() == pytest.approx(std, rel=5 / math.sqrt(2 * value.size)), key
            assert not is_uniform or abs(value).max() <= std * math.sqrt(3), key
            seen += 1
        elif leaf == "weight":
            assert (value == 1).all(), key
    assert seen > 35


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("act_layer", ["GELU", "RELU"])
@pytest.mark.parametrize("norm_layer", ["GN1", "BN"])
def test_shiftvit_has_the_norms_and_activations_of_the_source(
    norm_layer: str, act_layer: str
) -> None:
    """BatchNorm with its statistics, and ReLU: no released file has them, the class does."""
    import paddle
    import torch

    config = {"norm_layer": norm_layer, "act_layer": act_layer}
    names = {"running_mean": "_mean", "running_var": "_variance"}
    images = rule.noise("x", (3, 3, 45, 70))
    ours = small("torch", "shiftvit", **config).double()
    paddle.set_default_dtype("float64")
    try:
        theirs = small("paddle", "shiftvit", **config)
    finally:
        paddle.set_default_dtype("float32")
    for key, value in ours.state_dict().items():
        noise = rule.weight(key, value.shape, str(value.dtype)[6:])
        value.copy_(torch.from_numpy(noise))
        layer, _, leaf = key.rpartition(".")
        if leaf != "num_batches_tracked":
            array = (noise.T if key == "head.weight" else noise).astype("f8")
            theirs.state_dict()[f"{layer}.{names.get(leaf, leaf)}"].set_value(array)
    ours.eval()
    theirs.eval()
    logits = ours(torch.from_numpy(images)).detach().numpy()

    np.testing.assert_allclose(theirs(paddle.to_tensor(images)).numpy(), logits, 0, 1e-10)
    assert type(ours.norm).__name__ == {"GN1": "GroupNorm", "BN": "BatchNorm2d"}[norm_layer]
    assert np.abs(logits).max() > 0.1


def test_settings_that_make_no_sense_are_refused() -> None:
    """As an error that says what there is."""
    for framework in ("torch", "paddle"):
        if find_spec(framework) is None:
            continue
        with pytest.raises(ValueError, match="norm_layer is 'LN', expected 'GN1' or 'BN'"):
            small(framework, "shiftvit", norm_layer="LN")
        with pytest.raises(ValueError, match="has no head"):
            small(framework, "litv2", out_norms=(1, 2))


@pytest.mark.torch
def test_torch_litv2_says_which_sizes_it_takes() -> None:
    """Instead of an error from some reshape inside."""
    import torch

    with pytest.raises(ValueError, match="images of 64x40; LITv2 needs multiples of 32"):
        small("torch", "litv2")(torch.zeros(1, 3, 64, 40))


@pytest.mark.paddle
def test_paddle_litv2_says_which_sizes_it_takes() -> None:
    """Instead of an error from some reshape inside."""
    import paddle

    with pytest.raises(ValueError, match="images of 64x40; LITv2 needs multiples of 64"):
        small("paddle", "litv2", local_ws=(0, 0, 4, 1))(paddle.zeros([1, 3, 64, 40]))


def shifted(x: np.ndarray, n_div: int) -> np.ndarray:
    """Shift as the formula says: group 0 reads its right neighbour, and so on round."""
    g, out = x.shape[1] // n_div, np.zeros_like(x)
    out[:, :g, :, :-1] = x[:, :g, :, 1:]
    out[:, g : 2 * g, :, 1:] = x[:, g : 2 * g, :, :-1]
    out[:, 2 * g : 3 * g, :-1] = x[:, 2 * g : 3 * g, 1:]
    out[:, 3 * g : 4 * g, 1:] = x[:, 3 * g : 4 * g, :-1]
    out[:, 4 * g :] = x[:, 4 * g :]
    return out


SHAPES = [(2, 24, 5, 7), (1, 26, 1, 1), (3, 24, 1, 4), (2, 30, 6, 1)]


@pytest.mark.torch
@pytest.mark.parametrize("shape", SHAPES)
def test_torch_shift_is_exact_forth_and_back(shape: tuple[int, ...]) -> None:
    """Not one bit changes; the gradient moves the other way; images of one row or column, too."""
    import torch

    from vitconvert.models_torch.shiftvit import Shift

    x, gradient = (rule.noise(name, shape) for name in ("x", "gradient"))
    tensor = torch.tensor(x, requires_grad=True)
    out = Shift(12)(tensor)
    (out * torch.tensor(gradient)).sum().backward()

    np.testing.assert_array_equal(out.detach().numpy(), shifted(x, 12))
    assert (tensor.grad.numpy() * x).sum() == pytest.approx((gradient * shifted(x, 12)).sum())


@pytest.mark.paddle
@pytest.mark.parametrize("shape", SHAPES)
def test_paddle_shift_is_exact_forth_and_back(shape: tuple[int, ...]) -> None:
    """Not one bit changes; the gradient moves the other way; images of one row or column, too."""
    import paddle

    from vitconvert.models_paddle.shiftvit import Shift

    x, gradient = (rule.noise(name, shape) for name in ("x", "gradient"))
    tensor = paddle.to_tensor(x, stop_gradient=False)
    out = Shift(12)(tensor)
    (out * paddle.to_tensor(gradient)).sum().backward()

    np.testing.assert_array_equal(out.numpy(), shifted(x, 12))
    assert (tensor.grad.numpy() * x).sum() == pytest.approx((gradient * shifted(x, 12)).sum())


@pytest.mark.torch
def test_torch_drop_path_keeps_the_mean_and_drops_whole_samples() -> None:
    """In training a sample is dropped or scaled by 1/keep; in evaluation nothing happens."""
    import torch

    from vitconvert.models_torch._layers import DropPath

    torch.manual_seed(0)
    layer, x = DropPath(0.25), torch.ones(4000, 3, 2)
    out = layer.train()(x).numpy()

    assert sorted(set(out.reshape(-1).tolist())) == pytest.approx([0, 1 / 0.75])
    assert (out == out[:, :1, :1]).all()
    assert out.mean() == pytest.approx(1, abs=0.05)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.paddle
def test_paddle_drop_path_keeps_the_mean_and_drops_whole_samples() -> None:
    """In training a sample is dropped or scaled by 1/keep; in evaluation nothing happens."""
    import paddle

    from vitconvert.models_paddle._layers import DropPath

    paddle.seed(0)
    layer, x = DropPath(0.25), paddle.ones([4000, 3, 2])
    layer.train()
    out = layer(x).numpy()
    layer.eval()

    assert sorted(set(out.reshape(-1).tolist())) == pytest.approx([0, 1 / 0.75])
    assert (out == out[:, :1, :1]).all()
    assert out.mean() == pytest.approx(1, abs=0.05)
    assert (layer(x).numpy() == x.numpy()).all()
