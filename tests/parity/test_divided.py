"""A pair whose Paddle model divides a layer of PyTorch's: a target joins the parts."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conftest import proof
from tracing import run_here
from vitconvert import Pair, Report, check_parity, convert, open_checkpoint

TORCH = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 16, 8, 8)
        self.norm = nn.LayerNorm(16)
        self.attn = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, 5)
    def forward(self, x):
        x = self.proj(x).flatten(2).transpose(1, 2)
        y = self.norm(x)
        return self.head((x + self.attn(y, y, y, need_weights=False)[0]).mean(1))
def build():
    torch.manual_seed(0)
    net = Net()
    nn.init.normal_(net.attn.in_proj_bias)
    return net
"""
PADDLE = """
from paddle import nn
class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2D(3, 16, 8, 8)
        self.norm = nn.LayerNorm(16)
        self.attn = nn.MultiHeadAttention(16, 4)
        self.head = nn.Linear(16, 5)
    def forward(self, x):
        x = self.proj(x).flatten(2).transpose([0, 2, 1])
        y = self.norm(x)
        return self.head((x + self.attn(y, y, y)).mean(1))
def build():
    return Net()
"""
TABLE = """
input_size = [32, 32]
rows = [
  ["proj",                 "proj",                 "conv2d"],
  ["norm",                 "norm",                 "layer_norm"],
  ["attn.in_proj_weight",  "attn.in_proj.weight",  "turned"],
  ["attn.in_proj_bias",    "attn.in_proj.bias",    "param"],
  ["attn.out_proj",        "attn.out_proj",        "out_proj"],
  ["attn",                 "attn",                 "block"],
  ["head",                 "head",                 "linear"],
]
[targets.paddle]
rows = [[["attn.{first}_proj", "attn.{second}_proj", "attn.v_proj"], "attn.in_proj"]]
[kinds.turned.tensors]
"" = { paddle = "", axes = "out in -> in out" }
[kinds.out_proj]
torch = "torch.nn.modules.linear.NonDynamicallyQuantizableLinear"
paddle = "paddle.nn.Linear"
traced = false
[kinds.out_proj.tensors]
weight = { paddle = "weight", axes = "out in -> in out" }
bias = { paddle = "bias" }
"""
PAIR = Pair("divided_torch:build", "divided_paddle:build", "own.toml")

pytestmark = [pytest.mark.torch, pytest.mark.paddle]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the pair and its weights, in which the user is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("vitconvert.parity._run.run", run_here)
    (tmp_path / "divided_torch.py").write_text(TORCH)
    (tmp_path / "divided_paddle.py").write_text(PADDLE)
    import torch
    from divided_torch import build  # type: ignore[import-not-found]

    torch.save(build().state_dict(), tmp_path / "w.pth")
    yield tmp_path
    for module in ("divided_torch", "divided_paddle"):
        sys.modules.pop(module, None)


def proved(first: str = "q", second: str = "k") -> Report:
    """Convert with a target whose parts are in that order, and give the proof."""
    text = TABLE.replace("{first}", first).replace("{second}", second)
    Path("own.toml").write_text(text)
    return proof(convert("w.pth", "x.pdparams", PAIR, target="paddle", device="cpu", force=True))


def test_parts_are_written_and_proved() -> None:
    """With the gradients, when the two files are compared."""
    report = proved()
    assert report.proved
    tensors = open_checkpoint("x.pdparams").tensors
    import torch

    weight = torch.load("w.pth")["attn.in_proj_weight"].numpy()
    assert np.array_equal(tensors["attn.k_proj.weight"].read(), weight[16:32].T)
    again = check_parity(
        PAIR,
        torch_checkpoint="w.pth",
        paddle_checkpoint="x.pdparams",
        device="cpu",
        backward=True,
    )
    assert again.proved
    assert {one.key for one in again.gradients} >= {"attn.in_proj_weight", "attn.in_proj_bias"}


def test_parts_in_another_order_are_found() -> None:
    """Queries and keys exchanged load without a word and change nothing but what is computed."""
    report = proved("k", "q")
    assert not report.proved
    assert report.first_diverging is not None
    assert report.first_diverging.layer == "attn"
