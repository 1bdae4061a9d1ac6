"""Tensors that layers take and give are compared, whatever their nesting, names and shapes."""

from pathlib import Path

import numpy as np
import pytest

from conftest import known
from tracing import compared_sources, noise
from vitconvert import Report
from vitconvert.parity import html
from vitconvert.parity._terminal import summary

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

HEAD = """
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

Two = namedtuple("Two", "a b")

@dataclass
class Out:
    y: Any

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 8, 8)
        self.layer = Of()
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 8)

    def forward(self, x):
        x = self.conv(x)
USE
        return RESULT

def net():
    return Net()
"""
# Both frameworks' functions under the same names.
TORCH = """
import torch
from torch import nn
from torch.nn import functional as F

tensor = torch.tensor

def turn(x, *axes):
    return x.permute(axes)
"""
PADDLE = """
import paddle
from paddle import nn
from paddle.nn import functional as F

tensor = paddle.to_tensor

def turn(x, *axes):
    return x.transpose(axes)
"""
TABLE = """
rows = [
  ["conv",     "conv",     "conv2d"],
  ["layer.fc", "layer.fc", "linear"],
  ["layer",    "layer",    "block"],
  ["norm",     "norm",     "layer_norm"],
  ["head",     "head",     "linear"],
]
"""
FC = "def forward(self, x): return self.fc(x)"
TOKENS = "x = turn(x.flatten(2), 0, 2, 1)\n"  # [B, N, C]
POOLED = "x = self.head(self.norm(x).mean(1))\n"
USUAL = TOKENS + "x = self.layer(x)\n" + POOLED
Code = tuple[str, str, str]  # of the layer, of its use, and what the model gives


def source(side: str, forward: str, use: str, result: str = "x") -> str:
    """Write the module of one side."""
    head = HEAD.replace("class Net", f"class Of(Layer):\n{indented(forward, 4)}\n\nclass Net")
    head = head.replace("USE", indented(use, 8)).replace("RESULT", result)
    if side == "torch":
        return TORCH + head
    return PADDLE + head.replace("nn.Module", "nn.Layer").replace("Conv2d", "Conv2D")


def indented(code: str, by: int) -> str:
    return "\n".join(" " * by + line for line in code.strip("\n").split("\n"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def compared(
    folder: Path,
    torch: tuple[str, ...],
    paddle: tuple[str, ...],
    alone: bool = True,
    backward: bool = False,
) -> Report:
    """Compare two models of the same weights: code of the layer, its use, what is given."""
    rng = np.random.default_rng(0)
    shapes = {"conv.weight": (8, 3, 8, 8), "norm.weight": (8,), "layer.fc.weight": (8, 8)}
    shapes |= {"head.weight": (8, 8)}
    shapes |= {key.replace("weight", "bias"): (8,) for key in shapes}
    state = {key: rng.standard_normal(shape).astype("f4") for key, shape in shapes.items()}
    turned = {key: a.T.copy() if a.ndim == 2 else a for key, a in state.items()}
    return compared_sources(
        folder,
        {"torch": source("torch", *torch), "paddle": source("paddle", *paddle)},
        {"torch": state, "paddle": turned},
        TABLE,
        noise((2, 3, 32, 24)),  # 4 x 3 tokens
        alone,
        backward,
    )


def with_use(call: str) -> str:
    return TOKENS + call + "\n" + POOLED


SWITCHES = (
    "def forward(self, x, mask=None, causal=False, scale=1.0):\n    return self.fc(x) * scale"
)
SUM = "def forward(self, {}):\n    return self.fc(a) + 2 * b"


FILLS = """
def forward(self, x, seen):
    seen["y"] = 2 * x
    return self.fc(x)
"""
SIZED = with_use("x, _ = self.layer(x, tensor([4, 3]))")


@pytest.mark.parametrize(
    ("torch", "paddle"),
    [
        pytest.param(
            (SWITCHES, with_use("x = self.layer(x, None, causal=False)")),
            (FC, with_use("x = self.layer(x)")),
            id="None, and switches at their default",
        ),
        pytest.param(
            (SWITCHES, with_use("x = self.layer(x, scale=2.0)")),
            (SWITCHES, with_use("x = self.layer(x, None, False, 2)")),
            id="by name or by position",
        ),
        pytest.param(
            (SUM.format("a, b"), with_use("x = self.layer(x, 3 * x)")),
            (
                SUM.format("*, a, **more").replace("* b", "* more['b']"),
                with_use("x = self.layer(b=3 * x, a=x)"),
            ),
            id="names in any order",
        ),
        pytest.param(
            (
                "def forward(self, x, size):\n    return self.fc(x) * size[0]",
                with_use("x = self.layer(x, (4, 3))"),
            ),
            (
                "def forward(self, x, H, W):\n    return self.fc(x) * H",
                with_use("x = self.layer(x, 4, 3)"),
            ),
            id="a size, or two numbers",
        ),
        pytest.param(
            (
                "def forward(self, q, k, v):\n    return self.fc(q) * k + v",
                with_use("x = self.layer(x, x, v=x)"),
            ),
            ("def forward(self, q):\n    return self.fc(q) * q + q", with_use("x = self.layer(x)")),
            id="one tensor thrice, or once",
        ),
        pytest.param(
            ("def forward(self, x, size):\n    return self.fc(x) * size[0], size", SIZED),
            (
                "def forward(self, x, H):\n    return self.fc(x) * H",
                with_use("x = self.layer(x, 4)"),
            ),
            id="a size as a tensor, or a number",
        ),
        pytest.param(
            (
                "def forward(self, x, bias, mask):\n    return self.fc(x) * mask + bias",
                with_use("x = self.layer(x, 2 * x, 3 * x)"),
            ),
            (
                "def forward(self, y, mask, bias):\n    return self.fc(y) * mask + bias",
                with_use("x = self.layer(x, 3 * x, 2 * x)"),
            ),
            id="some names are the same",
        ),
        pytest.param(
            (FC, USUAL),
            (
                "def forward(self, x):\n    return self.fc(x), 4, 3",
                with_use("x, H, W = self.layer(x)"),
            ),
            id="a tensor, or one with its size",
        ),
        pytest.param(
            (
                "def forward(self, x):\n    return {'b': 2 * x, 'a': self.fc(x)}",
                with_use("y = self.layer(x)\nx = y['a'] + y['b']"),
                "{'u': x, 't': 2 * x}",
            ),
            (
                "def forward(self, x):\n    return {'a': self.fc(x), 'b': 2 * x}",
                with_use("y = self.layer(x)\nx = y['a'] + y['b']"),
                "{'t': 2 * x, 'u': x}",
            ),
            id="dicts in another order",
        ),
        pytest.param(
            (
                "def forward(self, x):\n    return [self.fc(x), [2 * x]]",
                with_use("y = self.layer(x)\nx = y[0] + y[1][0]"),
                "x, 3",
            ),
            (
                "def forward(self, x):\n    return Two(Out(self.fc(x)), {'z': 2 * x})",
                with_use("y = self.layer(x)\nx = y.a.y + y.b['z']"),
                "{'logits': Out(x)}",
            ),
            id="nested otherwise",
        ),
        pytest.param(
            (FILLS, with_use("seen = {}\nx = self.layer(x, seen) + seen['y']")),
            (FILLS, with_use("seen = {'z': 3}\nx = self.layer(x, seen) + seen['y']")),
            id="a dict that the layer fills",
        ),
    ],
)
def test_only_tensors_are_compared(
    torch: tuple[str, ...], paddle: tuple[str, ...], folder: Path
) -> None:
    """Both models are right; either may be the reference's way to write it."""
    for pair in ((torch, paddle), (paddle, torch)):
        report = compared(folder, *pair)

        assert report.proved, report.claim


LAST = "x = turn(x, 0, 2, 3, 1)\n"  # [B, H, W, C]
CHANNELS_FIRST = (
    "def forward(self, x):\n"
    "    return turn(self.fc(turn(x, 0, 2, 3, 1)), 0, 3, 1, 2)"
)  # [B, C, H, W] -> [B, C, H, W]


@pytest.mark.parametrize(
    ("torch", "paddle", "arranged", "shapes"),
    [
        pytest.param(
            (FC, LAST + "x = self.layer(x).flatten(1, 2)\n" + POOLED),
            (FC, USUAL),
            "reshaped",
            ((2, 4, 3, 8), (2, 12, 8)),
            id="a map or tokens",
        ),
        pytest.param(
            (CHANNELS_FIRST, "x = self.layer(x)\n" + TOKENS + POOLED),
            (FC, LAST + "x = self.layer(x)\nx = x.flatten(1, 2)\n" + POOLED),
            "channels moved",
            ((2, 8, 4, 3), (2, 4, 3, 8)),
            id="channels first or last",
        ),
        pytest.param(
            (CHANNELS_FIRST, "x = self.layer(x)\n" + TOKENS + POOLED),
            (FC, USUAL),
            "channels moved",
            ((2, 8, 4, 3), (2, 12, 8)),
            id="a map with channels first, or tokens",
        ),
        pytest.param(
            (FC, TOKENS + "x = turn(self.layer(turn(x, 1, 0, 2)), 1, 0, 2)\n" + POOLED),
            (FC, USUAL),
            "batch moved",
            ((12, 2, 8), (2, 12, 8)),
            id="the batch second or first",
        ),
        pytest.param(
            (
                CHANNELS_FIRST,
                "x = self.layer(x.mean((2, 3))[:, :, None, None])\n"
                "x = self.head(self.norm(x.flatten(1)))",
                "x[:, :, None, None]",
            ),
            (FC, "x = self.layer(x.mean((2, 3)))\nx = self.head(self.norm(x))"),
            "reshaped",
            ((2, 8, 1, 1), (2, 8)),
            id="pooled with or without its axes",
        ),
    ],
)
def test_the_same_values_in_another_shape_are_the_same(
    torch: tuple[str, ...],
    paddle: tuple[str, ...],
    arranged: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    folder: Path,
) -> None:
    """Either way round; the report says how one comes of the other."""
    for pair, expected in (((torch, paddle), shapes), ((paddle, torch), shapes[::-1])):
        report = compared(folder, *pair, alone=expected is shapes, backward=True)

        assert report.proved, report.claim
        layer = next(one for one in report.layers if one.layer == "layer")
        assert (layer.arranged, layer.shape, layer.candidate_shape) == (arranged, *expected)
        first = next(one for one in report.layers if one.arranged == arranged)
        shown = f"{first.layer} {list(first.shape)} and {list(first.candidate_shape)}"
        assert any(line.startswith(arranged) and shown in line for line in summary(report))
        assert shown in html(report)
        assert all(figures.max is not None for figures in report.output)


def test_square_maps_may_have_channels_last(folder: Path) -> None:
    """As many channels as columns, so that no shape shows that they moved."""
    torch = CHANNELS_FIRST, "x = F.pad(x, (0, 5, 0, 4))\nx = self.layer(x)\n" + TOKENS + POOLED
    paddle = (
        FC,
        "x = F.pad(x, [0, 5, 0, 4])\n" + LAST + "x = self.layer(x).flatten(1, 2)\n" + POOLED,
    )

    report = compared(folder, torch, paddle)

    assert report.proved, report.claim
    assert known(next(one for one in report.layers if one.layer == "layer")).arranged


TWO = "def forward(self, q, k):\n    return self.fc(q) + 2 * k"


@pytest.mark.parametrize(
    ("torch", "paddle", "layer", "words"),
    [
        pytest.param(
            (TWO, with_use("x = self.layer(x, 3 * x)")),
            (TWO, with_use("x = self.layer(3 * x, x)")),
            "model output",
            "gives to `layer` is the reference's times 3",
            id="q and k exchanged",
        ),
        pytest.param(
            (TWO, with_use("x = self.layer(x, 3 * x)")),
            (
                TWO.replace("k):", "k=None):").replace("2 * k", "(0 if k is None else 2 * k)"),
                with_use("x = self.layer(x)"),
            ),
            "model output",
            "gives to `layer` is 1 tensor [2, 12, 8], the reference's is 2 tensors [2, 12, 8], [2",
            id="a tensor is not given",
        ),
        pytest.param(
            (
                "def forward(self, x):\n    return self.fc(x), 2 * x",
                with_use("x, y = self.layer(x)\nx = x + y"),
            ),
            (FC, USUAL),
            "layer",
            "gives is 1 tensor [2, 12, 8], the reference's is 2 tensors",
            id="a tensor is not given back",
        ),
        pytest.param(
            (SWITCHES, with_use("x = self.layer(x, scale=2.0)")),
            (SWITCHES, with_use("x = self.layer(x, scale=3.0)")),
            "model output",
            "gives to `layer` has scale=3.0, the reference's 2.0",
            id="another number",
        ),
        pytest.param(
            (SWITCHES, with_use("x = self.layer(x, scale=2.0)")),
            (SWITCHES, USUAL),
            "model output",
            "gives to `layer` has scale=1.0, the reference's 2.0",
            id="a number that is left out",
        ),
        pytest.param(
            (SWITCHES, with_use("x = self.layer(x, scale=2.0)")),
            (SWITCHES.replace("scale", "factor"), with_use("x = self.layer(x, factor=3.0)")),
            "model output",
            "gives to `layer` has factor=3.0, the reference's 2.0",
            id="another number, of another name",
        ),
        pytest.param(
            (SWITCHES, USUAL),
            (SWITCHES.replace("1.0", "2.0"), USUAL),
            "layer",
            "gives is the reference's times 2",
            id="another default",
        ),
        pytest.param(
            (CHANNELS_FIRST, "x = x[:, :, :3]\nx = self.layer(x)\n" + TOKENS + POOLED),
            (
                CHANNELS_FIRST.replace("0, 3, 1, 2", "0, 3, 2, 1"),
                "x = x[:, :, :3]\nx = self.layer(x)\n" + TOKENS + POOLED,
            ),
            "layer",
            "arranged otherwise",
            id="height and width of a square map exchanged",
        ),
        pytest.param(
            (FC, USUAL),
            (FC, "x = self.layer(x.reshape([2, 12, 8]))\n" + POOLED),
            "model output",
            "gives to `layer` holds the same values in another order",
            id="reshaped without turning",
        ),
        pytest.param(
            (CHANNELS_FIRST, "x = self.layer(x)\n" + TOKENS + POOLED),
            (CHANNELS_FIRST, "x = self.layer(x)\nx = x.reshape([2, 12, 8])\n" + POOLED),
            "model output",
            "gives to `norm` holds the same values in another order",
            id="reshaped without turning later",
        ),
        pytest.param(
            (FC, USUAL, "x"),
            (FC, USUAL, "x.transpose([1, 0])"),
            "model output",
            "is float64 [8, 2], the reference's is float64 [2, 8]",
            id="the output turned",
        ),
        pytest.param(
            (FC, USUAL, "x, 2 * x"),
            (FC, USUAL, "x"),
            "model output",
            "is 1 tensor [2, 8], the reference's is 2 tensors",
            id="an output less",
        ),
        pytest.param(
            (FC, USUAL, "x, 7"),
            (FC, USUAL, "x, 8"),
            "model output",
            "gives ([2, 8], 7) and Paddle float64 gives ([2, 8], 8)",
            id="another number beside the output",
        ),
    ],
)
def test_what_differs_is_still_blamed_on_who_does_it(
    torch: tuple[str, ...], paddle: tuple[str, ...], layer: str, words: str, folder: Path
) -> None:
    """Tensors in another order, too few of them, other numbers, values in other places."""
    report = compared(folder, torch, paddle)

    assert not report.proved
    assert known(report.culprit).layer == layer
    assert any(words in line for line in (report.claim, *report.diagnosis)), report.diagnosis
