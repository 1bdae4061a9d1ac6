"""PyTorch models that also run as Paddle, under `paddle.enable_compat()`, and faulty ones."""

import torch
from torch import nn
from torch.nn import functional as F

SIZE = (24, 24)  # pixels of the images that all of them take


class Mixer(nn.Module):
    """A stem, layers of every class that Paddle has a second time for PyTorch's users, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.pool = nn.AvgPool2d(3, 2, 1)
        self.unfold = nn.Unfold(2, stride=2)  # [B, 32, 9]
        self.square = nn.Linear(32, 32)
        self.norm = nn.LayerNorm(32, 1e-6)
        self.pool1 = nn.AvgPool1d(2, 2, 1)
        self.gate = nn.Softmax(-1)
        self.attn = nn.MultiheadAttention(32, 4, batch_first=True)
        self.pos = nn.Parameter(torch.zeros(1, 9, 32))
        self.head = nn.Linear(32, 10, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.unfold(self.pool(self.stem(x))).transpose(1, 2) + self.pos  # [B, 9, 32]
        x = self.norm(F.gelu(self.square(x)))
        x = x + self.attn(x, x, x, need_weights=False)[0]
        x = self.pool1(x.transpose(1, 2)).mean(-1)
        return self.head(x * self.gate(x))


class Lacking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)


class LacksWhenRun(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.entr(self.head(x.mean((2, 3))))


def build() -> Mixer:
    return Mixer()


def lacking() -> Lacking:
    return Lacking()


def lacks_when_run() -> LacksWhenRun:
    return LacksWhenRun()
