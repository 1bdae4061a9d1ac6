"""Layers of classes that no kind names, and a model of them; its twin has Paddle's own layers."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


class Norm(nn.LayerNorm):
    """Calls the function itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, C] -> [B, N, C]."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class ChannelNorm(nn.LayerNorm):
    """Norms the channels of NCHW."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GroupNorm1(nn.GroupNorm):
    """Has one group."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class NormAct(nn.BatchNorm2d):
    """Has its activation within."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels)
        self.drop = nn.Identity()
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        statistics = self.running_mean, self.running_var
        x = F.batch_norm(x, *statistics, self.weight, self.bias, self.training, 0.1, self.eps)
        return self.act(self.drop(x))


class ChannelNormAct(ChannelNorm):
    """Norms the channels, and has its activation within."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return self.act(super().forward(x))


class CastLinear(nn.Linear):
    """Brings its weight to the type of its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, C] -> [B, N, C]."""
        return F.linear(x, self.weight.to(x.dtype), self.bias)


class ScaledLinear(nn.Linear):
    """Computes something else than its base."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, C] -> [B, N, C]."""
        return super().forward(x) * 2


class TwoWays(nn.Linear):
    """Computes something else from the second call on."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, C] -> [B, N, C]."""
        self.calls += 1
        return super().forward(x) * self.calls


class WrittenOut(nn.Module):
    """Writes a layer norm out; `off` makes it another function."""

    def __init__(self, channels: int, first: bool = False, off: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels))
        self.bias = nn.Parameter(torch.rand(channels))
        self.eps, self.first, self.off = 1e-6, first, off

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] if the channels are first, else [B, ..., C]."""
        if not self.first:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps + self.off)
        x = x - x.mean(1, keepdim=True)
        x = x / (x.pow(2).mean(1, keepdim=True) + self.eps + self.off).sqrt()
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class Twin(nn.Module):
    """[B, 3, H, W] -> [B, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.bn = NormAct(8, nn.ReLU(inplace=True))
        self.ln = ChannelNormAct(8)
        self.gn = GroupNorm1(8)
        self.norm = Norm(8)
        self.fc = CastLinear(8, 8)
        self.scaled = ScaledLinear(8, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] -> [B, 5]."""
        x = self.gn(self.ln(self.bn(self.stem(x))))
        x = self.norm(x.flatten(2).permute(0, 2, 1))
        return self.head(self.scaled(self.fc(x)).mean(1))


def model() -> Any:
    """Build it."""
    return Twin()
