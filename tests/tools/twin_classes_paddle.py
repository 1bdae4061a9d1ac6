"""The twin of twin_classes_torch, and layers of classes that no kind names."""

from typing import Any

import paddle
from paddle import nn


class ScaledLinear(nn.Linear):
    """Computes something else than its base."""

    def forward(self, x: Any) -> Any:
        """[B, N, C] -> [B, N, C]."""
        return super().forward(x) * 2


class NormWithinStages(nn.BatchNorm2D):
    """Computes what its base does."""


class ChannelNorm(nn.Layer):
    """Writes a norm of the channels of NCHW out."""

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.weight = self.create_parameter([channels])
        self.bias = self.create_parameter([channels])
        self.epsilon = epsilon

    def forward(self, x: Any) -> Any:
        """[B, C, H, W] -> [B, C, H, W]."""
        x = x - x.mean(1, keepdim=True)
        x = x / paddle.sqrt(x.pow(2).mean(1, keepdim=True) + self.epsilon)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class Twin(nn.Layer):
    """[B, 3, H, W] -> [B, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2D(3, 8, 4, 4)
        self.bn = nn.BatchNorm(8, act="relu")
        self.ln = nn.LayerNorm(8)
        self.act = nn.GELU()
        self.gn = nn.GroupNorm(1, 8)
        self.norm = nn.LayerNorm(8)
        self.fc = nn.Linear(8, 8)
        self.scaled = ScaledLinear(8, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        """[B, 3, H, W] -> [B, 5]."""
        x = self.ln(self.bn(self.stem(x)).transpose([0, 2, 3, 1]))
        x = self.gn(self.act(x.transpose([0, 3, 1, 2])))
        x = self.norm(x.flatten(2).transpose([0, 2, 1]))
        return self.head(self.scaled(self.fc(x)).mean(1))


def model() -> Any:
    """Build it."""
    return Twin()
