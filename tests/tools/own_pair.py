"""A small pair of models as users write them, with weights and a table, for tests of commands."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

CLASSES = 10
TORCH = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.bn = nn.BatchNorm2d(8)
        self.act = nn.GELU()
        self.fc1 = nn.Linear(8, 8)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        x = self.act(self.bn(self.stem(x))).mean((2, 3))
        return self.head(self.fc1(x))

def build():
    return Net()

def sized(classes):
    return Net(classes)

class Twice(Net):
    def forward(self, x):
        return (super().forward(x),) * 2

class Maps(Net):
    def forward(self, x):
        return self.stem(x)

class Narrow(Net):
    def forward(self, x):
        return super().forward(x)[:, :7]

number = 7
"""
PADDLE = """
import paddle
from paddle import nn

class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2D(8)
        self.act = nn.GELU()
        self.fc1 = nn.Linear(8, 8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        x = self.act(self.norm(self.conv(x))).mean([2, 3])
        return self.fc(self.fc1(x))

def build():
    return Net()

class Hasty(Net):
    def forward(self, x):
        return self.fc(self.fc1(self.act(self.norm(self.conv(x))).max([2, 3])))
"""
TABLE = """
input_size = [24, 32]
rows = [
  ["stem", "conv", "conv2d"],
  ["bn",   "norm", "batch_norm"],
  ["act",  "act",  "gelu"],
  ["fc1",  "fc1",  "linear"],
  ["head", "fc",   "linear"],
]

[ignore]
"teacher.weight" = "only for training"
"""


def weights() -> dict[str, np.ndarray]:
    """Make weights under PyTorch's names; the table ignores one of them."""
    rng = np.random.default_rng(0)
    shapes = {"stem.weight": (8, 3, 3, 3), "stem.bias": (8,), "bn.weight": (8,), "bn.bias": (8,)}
    shapes |= {"bn.running_mean": (8,), "bn.running_var": (8,), "fc1.weight": (8, 8)}
    shapes |= {"fc1.bias": (8,), "head.weight": (CLASSES, 8), "head.bias": (CLASSES,)}
    state = {key: rng.standard_normal(shape).astype("f4") for key, shape in shapes.items()}
    state["bn.running_var"] = np.abs(state["bn.running_var"]) + np.float32(0.5)
    return state | {"teacher.weight": np.ones(3, "f4")}


def write_pair(folder: Path) -> None:
    """Write both modules, the table and the weights."""
    (folder / "pair_torch.py").write_text(TORCH)
    (folder / "pair_paddle.py").write_text(PADDLE)
    (folder / "pair.toml").write_text(TABLE)
    save_file(weights(), folder / "w.safetensors", {"format": "pt"})
