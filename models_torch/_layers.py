"""Layers, parameters and initialisation that several families share letter for letter."""

import math

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Drop a residual branch for whole samples in training: [B, ...] -> [B, ...]."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        shape = [x.shape[0]] + [1] * (x.ndim - 1)
        kept = (torch.rand(shape, device=x.device) < keep).to(x.dtype)  # differs
        return x * (kept / keep)


class DWConv(nn.Module):
    """Depthwise 3x3 convolution over the token grid: [B, N, C] -> [B, N, C]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, 1, 1, groups=dim)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        b, _, c = x.shape
        x = x.permute([0, 2, 1]).reshape([b, c, h, w])
        return self.dwconv(x).flatten(2).permute([0, 2, 1])


def check_size(x: Tensor, least: int) -> None:
    """Refuse images too small for the last stage.

    Raises:
        ValueError: Height or width is below `least`; Paddle would compute nonsense silently.
    """
    height, width = x.shape[2], x.shape[3]
    # When a program for images of any size is traced, the size is not a number.
    if isinstance(height, int) and isinstance(width, int) and min(height, width) < least:
        raise ValueError(f"images of {height}x{width} pixels, expected at least {least}x{least}.")


def drop_path_rates(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Give the rate of every block by stage, rising linearly from 0 to `rate`."""
    last = max(sum(depths) - 1, 1)
    rates = [rate * i / last for i in range(sum(depths))]
    return [[rates.pop(0) for _ in range(depth)] for depth in depths]


def parameter(_layer: nn.Module, shape: list[int]) -> nn.Parameter:  # differs
    """Make a parameter of a layer, for later initialisation."""
    return nn.Parameter(torch.zeros(shape))  # differs


def normal_(tensor: Tensor, std: float) -> None:
    """Fill a tensor from a normal distribution of mean 0.

    The sources truncate theirs, of std 0.02, at +-2, which no sample ever reaches.
    """
    nn.init.normal_(tensor, 0.0, std)  # differs


def fan_in_uniform_(weight: Tensor, bias: Tensor | None) -> None:
    """Fill weight and bias with torch's default: uniform in +-1/sqrt(fan-in)."""
    bound = 1.0 / math.sqrt(math.prod(weight.shape[1:]))
    for tensor in (weight, bias):
        if tensor is not None:
            nn.init.uniform_(tensor, -bound, bound)  # differs


def zeros_(tensor: Tensor | None) -> None:
    """Fill a bias with zeros, if there is one."""
    if tensor is not None:
        nn.init.zeros_(tensor)  # differs


def he_std(conv: nn.Conv2d) -> float:
    """Give the std of He's initialisation by the fan-out of one group."""
    points, channels = math.prod(conv.kernel_size), conv.out_channels // conv.groups  # differs
    return math.sqrt(2.0 / (points * channels))
