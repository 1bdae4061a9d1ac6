"""The deformable convolution of both frameworks is the official one."""

import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from conftest import GOLDEN
from golden import rule

LIMIT = 1e-13  # absolute, float64


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    """Inputs and output of the official CUDA source, among them samples on row or column -1."""
    return {
        k: v.astype("f8") for k, v in load_file(GOLDEN / "op_deform_conv2d.safetensors").items()
    }


INPUTS = ("image", "offset", "weight", "bias")


def deformed(x: Any, offset: Any, weight: Any, bias: Any) -> Any:
    """Call the form for every PyTorch, with a stride of 2."""
    from vitconvert.models_torch._deform import plain_deform_conv2d

    return plain_deform_conv2d(x, offset, weight, bias, 2)


@pytest.mark.torch
def test_plain_torch_equals_the_official_operator(golden: dict[str, np.ndarray]) -> None:
    """In float64, and in float32 as far as that goes."""
    import torch

    inputs = [torch.from_numpy(golden[name]) for name in INPUTS]
    single = deformed(*(x.float() for x in inputs))

    np.testing.assert_allclose(deformed(*inputs), golden["output"], 0, LIMIT)
    np.testing.assert_allclose(single, golden["output"], 0, 2e-5)


@pytest.mark.paddle
def test_paddle_equals_the_official_operator(golden: dict[str, np.ndarray]) -> None:
    """As litv2 calls it: without a mask."""
    import paddle
    from paddle.vision.ops import deform_conv2d

    x, offset, weight, bias = (paddle.to_tensor(golden[name]) for name in INPUTS)
    found = deform_conv2d(x, offset, weight, bias, 2).numpy()

    np.testing.assert_allclose(found, golden["output"], 0, LIMIT)


@pytest.mark.torch
@pytest.mark.parametrize("batch", [1, 3, 5])
def test_batch_of_any_size_gives_what_each_image_gives(batch: int) -> None:
    """The official operator refuses odd batches above 3."""
    import torch

    x, offset, weight, bias = noise(batch)
    whole = deformed(x, offset, weight, bias)
    one = [deformed(x[i : i + 1], offset[i : i + 1], weight, bias) for i in range(batch)]

    torch.testing.assert_close(whole, torch.cat(one), rtol=0, atol=LIMIT)


def noise(batch: int, spread: float = 2.0) -> list[Any]:
    import torch

    shapes = {
        "x": (batch, 3, 6, 10),
        "offset": (batch, 8, 3, 5),
        "weight": (4, 3, 2, 2),
        "bias": (4,),
    }
    scale = {"offset": spread}
    return [torch.from_numpy(rule.noise(n, s) * scale.get(n, 1.0)) for n, s in shapes.items()]


@pytest.mark.torch
def test_without_offsets_it_is_a_convolution() -> None:
    """The positions are those of the kernel."""
    import torch

    x, offset, weight, bias = noise(2, 0.0)

    expected = torch.conv2d(x, weight, bias, 2)
    torch.testing.assert_close(deformed(x, offset, weight, bias), expected)


@pytest.mark.torch
def test_offsets_are_down_then_right_for_each_point() -> None:
    """Channel 2k moves point k down, channel 2k + 1 moves it right; points row by row."""
    import torch

    x = torch.arange(60.0).reshape(1, 1, 6, 10)
    for k in range(4):
        weight = torch.zeros(1, 1, 4)
        weight[0, 0, k] = 1
        offset = torch.zeros(1, 8, 3, 5)
        offset[0, 2 * k], offset[0, 2 * k + 1] = 1, 0.25
        out = deformed(x, offset, weight.reshape(1, 1, 2, 2), torch.zeros(1))

        i, j = divmod(k, 2)
        assert out[0, 0, 1, 2] == x[0, 0, 2 + i + 1, 4 + j] + 0.25


@pytest.mark.torch
def test_samples_outside_are_zero_and_not_a_number_is_outside() -> None:
    """A whole pixel or more outside; half a pixel outside half of the border's value counts."""
    import torch

    x, weight = torch.ones(1, 1, 4, 4), torch.tensor([1.0, 0, 0, 0]).reshape(1, 1, 2, 2)
    for down, expected in [(-1.0, 0), (-0.5, 0.5), (3.5, 0.5), (4.0, 0), (1e30, 0), (torch.nan, 0)]:
        offset = torch.zeros(1, 8, 2, 2)
        offset[0, 0, 0, 0] = down
        out = deformed(x, offset, weight, torch.zeros(1))
        assert out[0, 0, 0, 0] == expected, down


@pytest.mark.torch
def test_gradients_are_those_of_the_function() -> None:
    """Of image, offset, weight and bias, against differences, in float64."""
    import torch

    inputs = [tensor.requires_grad_() for tensor in noise(2)]

    assert torch.autograd.gradcheck(deformed, inputs)


@pytest.mark.torch
@pytest.mark.paddle
def test_paddle_has_the_same_gradients() -> None:
    """So that both train alike."""
    import paddle
    from paddle.vision.ops import deform_conv2d

    ours = [tensor.requires_grad_() for tensor in noise(3)]
    theirs: list[Any] = [paddle.to_tensor(t.detach().numpy(), stop_gradient=False) for t in ours]
    x, offset, weight, bias = theirs
    deformed(*ours).square().sum().backward()
    deform_conv2d(x, offset, weight, bias, 2).square().sum().backward()

    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(other.grad.numpy(), one.grad.numpy(), 1e-12, 1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_positions_keep_their_fractions_in_half_precision(half: str) -> None:
    """257.3 is a position at the far side of a map, though no bfloat16 number."""
    import torch

    shapes = {"x": (1, 4, 6, 400), "offset": (1, 8, 3, 200), "weight": (4, 4, 2, 2), "bias": (4,)}
    inputs = [
        torch.from_numpy(rule.noise(n, s)).to(getattr(torch, half)) for n, s in shapes.items()
    ]
    found = deformed(*inputs).double()
    expected = deformed(*(x.double() for x in inputs))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = deformed(*(x.float() for x in inputs)).double()

    step = torch.finfo(getattr(torch, half)).eps
    assert (found - expected).abs().max() < 4 * step * expected.abs().max()
    assert (mixed - expected).abs().max() < 4 * torch.finfo(
        torch.bfloat16
    ).eps * expected.abs().max()


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Put a module of ours in the place of torchvision.ops, and forget what was found before."""
    from vitconvert.models_torch import _deform

    ops = types.ModuleType("torchvision.ops")
    monkeypatch.setattr(_deform, "find_spec", lambda _name: True)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.ops", ops)
    _deform.compiled_deform_conv2d.cache_clear()
    yield ops
    _deform.compiled_deform_conv2d.cache_clear()


@pytest.mark.torch
def test_compiled_operator_is_used_where_it_loads(
    torchvision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same arguments; bfloat16, which it does not have, goes to the plain form."""
    import torch

    from vitconvert.models_torch import _deform

    calls: list[Any] = []
    torchvision.deform_conv2d = lambda *arguments: calls.append(arguments)
    built = types.SimpleNamespace(deform_conv2d=None)
    monkeypatch.setattr(torch.ops, "torchvision", built, raising=False)
    x, offset, weight, bias = noise(1)
    _deform.deform_conv2d(x, offset, weight, bias, 2)
    _deform.deform_conv2d(x.bfloat16(), offset.bfloat16(), weight.bfloat16(), bias.bfloat16(), 2)

    assert [[id(a) for a in call[:4]] + [call[4]] for call in calls] == [
        [id(x), id(offset), id(weight), id(bias), 2]
    ]


@pytest.mark.torch
@pytest.mark.parametrize("broken", ["absent", "not built"])
def test_plain_form_does_the_work_where_torchvision_does_not_load(
    broken: str, torchvision: Any, golden: dict[str, np.ndarray]
) -> None:
    """Its wheel for CUDA beside a torch for the CPU: no import, or none of its operators."""
    import torch

    from vitconvert.models_torch._deform import compiled_deform_conv2d, deform_conv2d

    if broken == "not built":
        torchvision.deform_conv2d = pytest.fail
    x, offset, weight, bias = (torch.from_numpy(golden[name]) for name in INPUTS)
    found = deform_conv2d(x, offset, weight, bias, 2)

    np.testing.assert_allclose(found, golden["output"], 0, LIMIT)
    assert compiled_deform_conv2d() is None
