"""A small pair of models of a user's own, written to a folder as modules, table and weights."""

import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import write_paddle

TORCH = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.act = nn.GELU()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        x = self.act(self.stem(x))
        return self.fc(x.mean((2, 3)))

def net():
    return Net()
"""
PADDLE = """
from paddle import nn

class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2D(3, 8, 3, 2, 1)
        self.act = nn.GELU()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        x = self.act(self.stem(x))
        return self.fc(x.mean([2, 3]))

def net():
    return Net()
"""
TABLE = """
input_size = [16, 24]
rows = [
  ["stem", "stem", "conv2d"],
  ["act",  "act",  "gelu"],
  ["fc",   "fc",   "linear"],
]
"""
PARAMETERS = 8 * 3 * 9 + 8 + 8 * 8 + 8
MODULES = "small_torch", "small_paddle"


def write_pair(folder: Path) -> None:
    """Write small_torch.py, small_paddle.py, small.toml, w.safetensors and w.pdparams."""
    (folder / "small_torch.py").write_text(TORCH)
    (folder / "small_paddle.py").write_text(PADDLE)
    (folder / "small.toml").write_text(TABLE)
    rng = np.random.default_rng(0)
    shapes = {"stem.weight": (8, 3, 3, 3), "stem.bias": (8,), "fc.weight": (8, 8), "fc.bias": (8,)}
    state = {key: rng.standard_normal(shape).astype("f4") for key, shape in shapes.items()}
    save_file(state, folder / "w.safetensors", {"format": "pt"})
    turned = {"fc.weight": np.ascontiguousarray(state["fc.weight"].T)}
    write_paddle(folder / "w.pdparams", state | turned)


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the pair to a folder, and go there."""
    write_pair(folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)


def forget() -> None:
    """Let the modules be imported anew: the next test writes others of these names."""
    for module in MODULES:
        sys.modules.pop(module, None)


def plant(folder: Path, condition: str, factor: float = 1.001) -> None:
    """Let the Paddle model compute something else where a condition on `given` holds, its input."""
    path, first = folder / "small_paddle.py", "        x = self.act"
    fault = f"        x = x * {factor} if {condition} else x\n        return"
    text = PADDLE.replace(first, f"        given = x\n{first}").replace("        return", fault)
    path.write_text(f"import numpy\nimport pathlib\n{text}")
