"""ShiftViT: a vision transformer whose attention is a shift of some channels by one pixel.

Paper: Wang et al., "When Shift Operation Meets Vision Transformer", AAAI 2022.
Source: https://github.com/microsoft/SPACH, models/shiftvit.py, commit dcede1e.

Where paper and source differ, this file follows the source, as the released weights do: the paper's
formula moves the first group of channels to the right, the source to the left.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._layers import DropPath, check_size, drop_path_rates, normal_, zeros_


@dataclass(frozen=True)
class Config:
    """Sizes of one variant; mappings/shiftvit.toml has the published ones.

    The input may be any image of at least 8 * patch_size pixels in either direction.
    """

    depths: tuple[int, ...]  # blocks of each stage
    mlp_ratio: float  # hidden channels of an MLP, as a multiple of its stage's
    embed_dim: int = 96  # channels of the first stage; each later stage doubles them
    n_div: int = 12  # one in n_div channels is shifted to each of the four sides
    patch_size: int = 4  # pixels, height = width
    norm_layer: str = "GN1"  # "GN1": GroupNorm of one group; "BN": BatchNorm
    act_layer: str = "GELU"  # "GELU" or "RELU"
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0  # of the last block; rises linearly from 0 at the first
    in_chans: int = 3
    num_classes: int = 1000  # 0: no head, the model returns features

    def __post_init__(self) -> None:
        if self.norm_layer not in ("GN1", "BN") or self.act_layer not in ("GELU", "RELU"):
            raise ValueError(
                f"norm_layer is {self.norm_layer!r}, expected 'GN1' or 'BN'; "
                f"act_layer is {self.act_layer!r}, expected 'GELU' or 'RELU'."
            )


def make_norm(cfg: Config, dim: int) -> nn.Module:
    """Make the norm of a configuration: [B, dim, H, W] -> [B, dim, H, W]."""
    return nn.GroupNorm(1, dim, 1e-5) if cfg.norm_layer == "GN1" else nn.BatchNorm2d(dim)


class Shift(nn.Module):
    """Move four groups of channels by one pixel, each to its side: [B, C, H, W] -> [B, C, H, W].

    Negative padding crops the pixels that leave the image, positive padding adds zeros on the other
    side: nothing is computed, every channel is written once and the shifted ones twice. No other
    exact form measured on the CPU was cheaper forward and backward in both frameworks. Assigning
    slices to zeros, as the source does, took 2 to 10 times as long in Paddle; in torch 0.7 to 1.0
    times, but 3 to 6 times with gradients. A depthwise convolution took up to 6 times as long.
    """

    def __init__(self, n_div: int) -> None:
        super().__init__()
        self.n_div = n_div

    def forward(self, x: Tensor) -> Tensor:
        c = x.shape[1]
        g = c // self.n_div
        left, right, up, down, still = torch.split(x, [g, g, g, g, c - 4 * g], 1)
        left = F.pad(left, [-1, 1, 0, 0])
        right = F.pad(right, [1, -1, 0, 0])
        up = F.pad(up, [0, 0, -1, 1])
        down = F.pad(down, [0, 0, 1, -1])
        return torch.cat([left, right, up, down, still], 1)


class Mlp(nn.Module):
    """Two 1x1 convolutions: [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, cfg: Config, dim: int) -> None:
        super().__init__()
        hidden_dim = int(dim * cfg.mlp_ratio)
        self.fc1 = nn.Conv2d(dim, hidden_dim, 1)
        self.act = nn.GELU() if cfg.act_layer == "GELU" else nn.ReLU()
        self.fc2 = nn.Conv2d(hidden_dim, dim, 1)
        self.drop = nn.Dropout(cfg.drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.act(self.fc1(x)))
        return self.drop(self.fc2(x))


class Block(nn.Module):
    """Shift, then MLP with norm and shortcut: [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, cfg: Config, dim: int, drop_path_rate: float) -> None:
        super().__init__()
        self.shift = Shift(cfg.n_div)
        self.drop_path = DropPath(drop_path_rate)
        self.norm2 = make_norm(cfg, dim)
        self.mlp = Mlp(cfg, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shift(x)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Halve the grid: [B, C, H, W] -> [B, 2C, H/2, W/2]."""

    def __init__(self, cfg: Config, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(dim, 2 * dim, 2, 2, bias=False)
        self.norm = make_norm(cfg, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(self.norm(x))


class Stage(nn.Module):
    """Blocks of one width: [B, C, H, W] -> [B, 2C, H/2, W/2], the last stage [B, C, H, W]."""

    def __init__(self, cfg: Config, stage: int, drop_path_rates: list[float]) -> None:
        super().__init__()
        dim = cfg.embed_dim * 2**stage
        self.blocks = nn.ModuleList([Block(cfg, dim, rate) for rate in drop_path_rates])
        last = stage == len(cfg.depths) - 1
        self.downsample = nn.Identity() if last else PatchMerging(cfg, dim)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class PatchEmbed(nn.Module):
    """Image to patches: [B, in_chans, H, W] -> [B, embed_dim, H/patch_size, W/patch_size]."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.proj = nn.Conv2d(cfg.in_chans, cfg.embed_dim, cfg.patch_size, cfg.patch_size)
        self.norm = make_norm(cfg, cfg.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x))


class ShiftViT(nn.Module):
    """The whole model: images [B, in_chans, H, W] -> logits [B, num_classes]."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.patch_embed = PatchEmbed(cfg)
        self.pos_drop = nn.Dropout(cfg.drop_rate)
        rates = drop_path_rates(cfg.drop_path_rate, cfg.depths)
        self.layers = nn.ModuleList([Stage(cfg, i, rates[i]) for i in range(len(rates))])
        num_features = cfg.embed_dim * 2 ** (len(cfg.depths) - 1)
        self.norm = make_norm(cfg, num_features)
        if cfg.num_classes > 0:
            self.head = nn.Linear(num_features, cfg.num_classes)
        self.apply(init_weights)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [B, in_chans, H, W] -> mean of the normalised last map [B, C]."""
        check_size(x, self.cfg.patch_size * 2 ** (len(self.cfg.depths) - 1))
        x = self.pos_drop(self.patch_embed(x))
        for stage in self.layers:
            x = stage(x)
        return self.norm(x).mean([2, 3])

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)
        return self.head(x) if self.cfg.num_classes > 0 else x


def init_weights(layer: nn.Module) -> None:
    """Initialise one layer as the source does; norms keep their ones and zeros."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        normal_(layer.weight, 0.02)
        zeros_(layer.bias)


def build(cfg: Config) -> ShiftViT:
    """Build the model of one configuration, freshly initialised."""
    return ShiftViT(cfg)
