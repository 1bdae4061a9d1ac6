"""Each class of `paddle.compat.nn` computes in float64 what the PyTorch class of its kind does."""

from typing import Any

import numpy as np
import pytest

from vitconvert.parity._distance import apart
from vitconvert.parity._settings import differing, read_settings
from vitconvert.running.side import is_class
from vitconvert.tables import reading

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

LINE, MAPS, VOLUME = (2, 6, 8), (2, 4, 7, 8), (2, 3, 6, 7, 5)
HEADS: dict[str, Any] = {"embed_dim": 8, "num_heads": 2}
# kind, name of the class in both, arguments, shape of the input
LAYERS: list[tuple[str, str, dict[str, Any], tuple[int, ...]]] = [
    ("compat_linear", "Linear", {"in_features": 8, "out_features": 8}, LINE),
    ("compat_linear", "Linear", {"in_features": 8, "out_features": 5, "bias": False}, LINE),
    ("softmax", "Softmax", {"dim": -2}, MAPS),
    ("softmax", "Softmax", {}, LINE),  # of the first axis
    ("softmax", "Softmax", {}, MAPS),  # of the second
    ("unfold", "Unfold", {"kernel_size": 3, "dilation": (2, 1), "padding": 1, "stride": 2}, MAPS),
    ("compat_avg_pool1d", "AvgPool1d", {"kernel_size": 3, "stride": 2, "ceil_mode": True}, LINE),
    ("compat_avg_pool2d", "AvgPool2d", {"kernel_size": 3, "stride": 2, "padding": 1}, MAPS),
    (
        "compat_avg_pool2d",
        "AvgPool2d",
        {"kernel_size": (3, 2), "stride": 1, "padding": (1, 0), "count_include_pad": False},
        MAPS,
    ),
    ("compat_avg_pool2d", "AvgPool2d", {"kernel_size": 2, "divisor_override": 3}, MAPS),
    ("compat_avg_pool3d", "AvgPool3d", {"kernel_size": 3, "padding": 1}, VOLUME),
    ("compat_multihead_attention", "MultiheadAttention", HEADS, LINE),
    (
        "compat_multihead_attention",
        "MultiheadAttention",
        HEADS | {"batch_first": True, "bias": False, "add_bias_kv": True},
        LINE,
    ),
    (
        "compat_multihead_attention",
        "MultiheadAttention",
        HEADS | {"kdim": 6, "vdim": 5, "bias": False, "add_zero_attn": True},
        LINE,
    ),
]


@pytest.mark.parametrize(("name", "cls", "arguments", "shape"), LAYERS)
def test_each_class_computes_what_its_kind_says(
    name: str, cls: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Its tensors are moved by the rules of the kind; nothing else is exchanged."""
    import paddle
    import torch
    from paddle.compat import nn

    kind, noise = reading.read_kinds()[name], np.random.default_rng(0)
    one = getattr(torch.nn, cls)(**arguments).double().eval()
    other = getattr(nn, cls)(**arguments)
    other.to(dtype="float64")
    other.eval()
    assert is_class(one, kind.torch)
    assert is_class(other, kind.paddle)
    assert differing(read_settings(one, kind, "torch"), read_settings(other, kind, "paddle")) == {}
    state = {key: noise.standard_normal(value.shape) for key, value in one.state_dict().items()}
    one.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    rules = {rule.leaf: rule.paddle for rule in kind.tensors}
    moved = {rules[key]: paddle.to_tensor(value) for key, value in state.items()}
    assert {key: list(value.shape) for key, value in other.state_dict().items()} == {
        key: list(value.shape) for key, value in moved.items()
    }
    assert other.set_state_dict(moved) == ([], [])
    x = noise.standard_normal(shape)
    inputs = torch.tensor(x, requires_grad=True), paddle.to_tensor(x, stop_gradient=False)
    fed: list[list[Any]] = [[inputs[0]], [inputs[1]]]
    if "num_heads" in arguments:
        for width in (arguments.get("kdim", 8), arguments.get("vdim", 8)):
            more = noise.standard_normal((*shape[:2], width))
            fed[0].append(torch.tensor(more))
            fed[1].append(paddle.to_tensor(more))

    outputs = one(*fed[0]), other(*fed[1])

    made = [output if isinstance(output, tuple) else (output,) for output in outputs]
    for mine, theirs in zip(*made, strict=True):
        assert apart(mine.detach().numpy(), theirs.numpy()).difference < 1e-14
    (made[0][0] ** 2).sum().backward()
    (made[1][0] ** 2).sum().backward()
    gradients = inputs[0].grad, inputs[1].grad
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert apart(gradients[0].numpy(), gradients[1].numpy()).difference < (
        kind.backward_limit or 1e-13
    )


def test_queries_and_keys_of_other_widths_have_biases_that_no_rule_joins() -> None:
    """PyTorch keeps one, Paddle three: the tensor has no place, and is not put into a wrong one."""
    import torch
    from paddle.compat import nn

    kind = reading.read_kinds()["compat_multihead_attention"]
    one = torch.nn.MultiheadAttention(**HEADS, kdim=6)
    other = nn.MultiheadAttention(**HEADS, kdim=6)

    known = {rule.paddle for rule in kind.tensors}
    assert set(one.state_dict()) <= {rule.leaf for rule in kind.tensors}
    assert set(other.state_dict()) - known == {"q_proj_bias", "k_proj_bias", "v_proj_bias"}


def test_every_kind_of_a_class_for_pytorch_users_is_tested() -> None:
    """And every layer of `paddle.compat.nn` has a kind."""
    from paddle.compat import nn

    kinds = reading.read_kinds()
    named = {name for kind in kinds.values() for name in kind.paddle if ".compat." in name}
    layers = {getattr(nn, name) for name in nn.__all__}
    assert {getattr(nn, name.rpartition(".")[2]) for name in named} == layers
    compat = {name for name, kind in kinds.items() if any(".compat." in p for p in kind.paddle)}
    assert compat == {name for name, *_ in LAYERS}
