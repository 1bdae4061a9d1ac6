"""The two files of a family read as one, and both models train."""

import ast
import math
from pathlib import Path
from typing import Any

import pytest

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


def small(framework: _table.Side, **changes: Any) -> Any:
    """Build the smallest variant with changes to its configuration."""
    import dataclasses

    _, variant = _table.find_variant("shunted_t")
    config = {**variant.config, **changes}
    classes = config.pop("num_classes", 10)
    return _models.build(framework, dataclasses.replace(variant, config=config), classes)


@pytest.mark.torch
def test_torch_trains_on_any_input_size_and_class_count() -> None:
    """A step in training mode reaches every parameter, with a non-square input."""
    import torch

    torch.manual_seed(0)
    model = small("torch", num_classes=7, drop_path_rate=0.3, drop_rate=0.1, attn_drop_rate=0.1)
    logits = model.train()(torch.randn(2, 3, 70, 45))
    logits.square().mean().backward()

    assert logits.shape == (2, 7)
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.paddle
def test_paddle_trains_on_any_input_size_and_class_count() -> None:
    """A step in training mode reaches every parameter, with a non-square input."""
    import paddle

    paddle.seed(0)
    model = small("paddle", num_classes=7, drop_path_rate=0.3, drop_rate=0.1, attn_drop_rate=0.1)
    model.train()
    logits = model(paddle.randn([2, 3, 70, 45]))
    logits.square().mean().backward()

    assert logits.shape == [2, 7]
    assert [n for n, p in model.named_parameters() if not p.stop_gradient and p.grad is None] == []


def expected_std(shape: tuple[int, ...], kind: str) -> float | None:
    """Give the std of the official initialisation of a weight; None where it is one."""
    if kind == "linear":
        return 0.02
    if kind == "conv2d":
        # A depthwise weight is [out, 1, k, k]; every other convolution here has one group.
        groups = shape[0] if shape[1] == 1 else 1
        return math.sqrt(2 / (math.prod(shape[2:]) * shape[0] // groups))
    return None


@pytest.mark.torch
def test_torch_is_initialised_as_the_source() -> None:
    """Weights have the std of the official initialisation, biases are zero, norms one."""
    import torch

    torch.manual_seed(0)
    state = {k: v.double().numpy() for k, v in small("torch").state_dict().items()}
    check_initialisation(state, "torch")


@pytest.mark.paddle
def test_paddle_is_initialised_as_the_source() -> None:
    """Weights have the std of the official initialisation, biases are zero, norms one."""
    import paddle

    paddle.seed(0)
    state = {k: v.numpy() for k, v in small("paddle").state_dict().items()}
    check_initialisation(state, "paddle")


def check_initialisation(state: dict[str, Any], framework: _table.Side) -> None:
    table = _table.load_table("shunted")
    layers = table.layers(framework, {key.rpartition(".")[0] for key in state})
    seen = 0
    for key, value in state.items():
        layer, _, leaf = key.rpartition(".")
        kind = layers[layer][2].name
        if leaf == "bias":
            assert not value.any(), key
        elif leaf == "weight" and (std := expected_std(value.shape, kind)) is not None:
            # The sample std of n draws is within 5 / sqrt(2n) of the true one.
            assert value.std() == pytest.approx(std, rel=5 / math.sqrt(2 * value.size)), key
            seen += 1
        elif leaf == "weight":
            assert (value == 1).all(), key
    assert seen > 50


@pytest.mark.torch
def test_torch_drop_path_keeps_the_mean_and_drops_whole_samples() -> None:
    """In training a sample is dropped or scaled by 1/keep; in evaluation nothing happens."""
    import torch

    from vitconvert.models_torch.shunted import DropPath

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

    from vitconvert.models_paddle.shunted import DropPath

    paddle.seed(0)
    layer, x = DropPath(0.25), paddle.ones([4000, 3, 2])
    layer.train()
    out = layer(x).numpy()
    layer.eval()

    assert sorted(set(out.reshape(-1).tolist())) == pytest.approx([0, 1 / 0.75])
    assert (out == out[:, :1, :1]).all()
    assert out.mean() == pytest.approx(1, abs=0.05)
    assert (layer(x).numpy() == x.numpy()).all()
