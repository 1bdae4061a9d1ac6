"""A PyTorch model that also runs as Paddle, under `paddle.enable_compat()`, and faulty ones."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Mixer(nn.Module):
    """A stem, layers of every class that Paddle has a second time for PyTorch's users, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.pool = nn.AvgPool2d(3, 2, 1)
        self.unfold = nn.Unfold(2, stride=2)
        self.pos = nn.Parameter(torch.zeros(1, 9, 32))
        self.square = nn.Linear(32, 32)
        self.norm = nn.LayerNorm(32, 1e-6)
        self.attn = nn.MultiheadAttention(32, 4, batch_first=True)
        self.pool1 = nn.AvgPool1d(2, 2, 1)
        self.gate = nn.Softmax(-1)
        self.head = nn.Linear(32, 10, bias=False)

    def forward(self, x: torch.Tensor) -> Any:
        """Take images [B, 3, 24, 24], give logits [B, 10]."""
        x = self.unfold(self.pool(self.stem(x))).transpose(1, 2) + self.pos  # [B, 9, 32]
        x = self.norm(functional.gelu(self.square(x)))
        x = x + self.attn(x, x, x, need_weights=False)[0]
        x = self.pool1(x.transpose(1, 2)).mean(-1)
        return self.head(x * self.gate(x))


class Lacking(nn.Module):
    """What Paddle 3.3.1 does not have is missed when the model is built."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)


class LacksLater(nn.Module):
    """Or when it runs."""

    def __init__(self, of_tensor: bool) -> None:
        super().__init__()
        self.of_tensor = of_tensor
        self.head = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> Any:
        """Take images [B, 3, H, W], give [B, 4]."""
        x = self.head(x.mean((2, 3)))
        return x.xlogy(x) if self.of_tensor else torch.special.entr(x)


def build() -> Mixer:
    return Mixer()


def wrong_pool() -> Mixer:
    model = Mixer()
    model.pool = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
    return model


def wrong_heads() -> Mixer:
    model = Mixer()
    model.attn.num_heads, model.attn.head_dim = 2, 16
    return model


def wrong_axis() -> Mixer:
    model = Mixer()
    model.gate = nn.Softmax(0)
    return model


def lacking() -> Lacking:
    return Lacking()


def lacking_module() -> nn.Module:
    import torch.fx

    return torch.fx.GraphModule(Mixer(), torch.fx.Graph())


def lacking_name() -> nn.Module:
    from torch.nn import RMSNorm

    return RMSNorm(3)


def lacks_function() -> LacksLater:
    return LacksLater(of_tensor=False)


def lacks_method() -> LacksLater:
    return LacksLater(of_tensor=True)


def which_torch() -> nn.Module:
    """Say what a worker has in its place."""
    import sys

    modules = [name for name in sys.modules if name.partition(".")[0] == "torch"]
    kinds = {type(sys.modules[name]).__name__ for name in modules}
    raise ValueError(f"torch is {torch.__name__}, of {torch.nn.Linear.__module__}: {kinds}")
