"""LITv2: convolutional MLPs, then blocks whose heads split into high and low frequencies (HiLo).

Paper: Pan et al., "Fast Vision Transformers with HiLo Attention", NeurIPS 2022.
Source: https://github.com/ziplab/LITv2, commit 7501c86: classification/models; for images of any
size and the backbones of detectors detection/mmdet/models/backbones/litv2.py.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._deform import deform_conv2d
from ._layers import (
    DropPath,
    DWConv,
    check_size,
    drop_path_rates,
    fan_in_uniform_,
    he_std,
    normal_,
    parameter,
    zeros_,
)


@dataclass(frozen=True)
class Config:
    """Sizes of one variant; mappings/litv2.toml has the published ones.

    Every tuple but out_norms has one entry per stage. The input may be any image of at least
    32 x 32 pixels; zeros pad it to multiples of patch and window.
    """

    depths: tuple[int, ...]  # blocks
    num_heads: tuple[int, ...]  # in stages with attention
    embed_dim: int = 96  # channels of the first stage; each later stage doubles them
    alpha: float = 0.9  # share of the heads that attend to low frequencies, rounded down
    local_ws: tuple[int, ...] = (0, 0, 2, 1)  # window of HiLo; 1: plain attention, 0: none
    mlp_ratio: float = 4.0  # hidden channels of an MLP, as a multiple of its stage's
    patch_size: int = 4  # pixels, height = width
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0  # of the last block; rises linearly from 0 at the first
    in_chans: int = 3
    num_classes: int = 1000  # 0: no head, the model returns features
    out_norms: tuple[int, ...] = ()  # backbone of a detector: stages that have an output norm

    def __post_init__(self) -> None:
        if self.out_norms and self.num_classes > 0:
            raise ValueError(
                "the backbone of a detector (out_norms) has no head: num_classes is 0."
            )


def pad_to_multiple(x: Tensor, size: int) -> Tensor:
    """Add zeros on the right and below until `size` divides both sides: [B, C, H, W]."""
    below, right = -x.shape[2] % size, -x.shape[3] % size
    return F.pad(x, [0, right, 0, below]) if below or right else x


class DWMlp(nn.Module):
    """Two linear layers with a depthwise convolution in between: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, dim: int) -> None:
        super().__init__()
        hidden_dim = int(dim * cfg.mlp_ratio)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = DWConv(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(cfg.drop_rate)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        x = self.drop(F.gelu(self.dwconv(self.fc1(x), h, w)))
        return self.drop(self.fc2(x))


class HiLo(nn.Module):
    """Heads that attend within windows, and heads that attend to means: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, stage: int) -> None:
        super().__init__()
        dim, heads = cfg.embed_dim * 2**stage, cfg.num_heads[stage]
        self.window = cfg.local_ws[stage]
        self.head_dim = dim // heads
        # A window of one token is its own mean: all heads see everything, whatever alpha.
        self.l_heads = heads if self.window == 1 else int(heads * cfg.alpha)
        self.h_heads = heads - self.l_heads
        l_dim, h_dim = self.l_heads * self.head_dim, self.h_heads * self.head_dim
        if self.l_heads > 0:
            self.l_q = nn.Linear(dim, l_dim)
            self.l_kv = nn.Linear(dim, 2 * l_dim)
            self.l_proj = nn.Linear(l_dim, l_dim)
        if self.h_heads > 0:
            self.h_qkv = nn.Linear(dim, 3 * h_dim)
            self.h_proj = nn.Linear(h_dim, h_dim)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries [..., N, d], keys and values [..., M, d] -> [..., N, d]."""
        axes = [*range(k.ndim - 2), k.ndim - 1, k.ndim - 2]
        return F.softmax(q @ k.permute(axes) * self.head_dim**-0.5, -1) @ v

    def hifi(self, x: Tensor, h: int, w: int) -> Tensor:
        """High frequencies, within each window: [B, N, C] -> [B, N, h_dim]."""
        b, n, _ = x.shape
        s = self.window
        qkv = self.h_qkv(x).reshape([b, h // s, s, w // s, s, 3 * self.h_heads * self.head_dim])
        qkv = qkv.permute([0, 1, 3, 2, 4, 5])
        qkv = qkv.reshape([b, n // s**2, s**2, 3, self.h_heads, self.head_dim])
        q, k, v = qkv.permute([3, 0, 1, 4, 2, 5]).unbind(0)  # each [B, windows, heads, s*s, d]
        x = self.attend(q, k, v).permute([0, 1, 3, 2, 4])
        x = x.reshape([b, h // s, w // s, s, s, self.h_heads * self.head_dim])
        x = x.permute([0, 1, 3, 2, 4, 5]).reshape([b, n, self.h_heads * self.head_dim])
        return self.h_proj(x)

    def lofi(self, x: Tensor, h: int, w: int) -> Tensor:
        """Low frequencies, the mean of each window: [B, N, C] -> [B, N, l_dim]."""
        b, n, c = x.shape
        s = self.window
        q = self.l_q(x).reshape([b, n, self.l_heads, self.head_dim]).permute([0, 2, 1, 3])
        if s > 1:
            x = x.reshape([b, h // s, s, w // s, s, c]).mean([2, 4]).reshape([b, n // s**2, c])
        kv = self.l_kv(x).reshape([b, n // s**2, 2, self.l_heads, self.head_dim])
        k, v = kv.permute([2, 0, 3, 1, 4]).unbind(0)  # each [B, heads, windows, d]
        x = self.attend(q, k, v).permute([0, 2, 1, 3])
        return self.l_proj(x.reshape([b, n, self.l_heads * self.head_dim]))

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        b, n, c = x.shape
        fits = h % self.window == 0 and w % self.window == 0
        rows, columns = -(-h // self.window) * self.window, -(-w // self.window) * self.window
        if not fits:
            x = pad_to_multiple(x.permute([0, 2, 1]).reshape([b, c, h, w]), self.window)
            x = x.flatten(2).permute([0, 2, 1])
        parts = [self.hifi(x, rows, columns)] if self.h_heads > 0 else []
        parts += [self.lofi(x, rows, columns)] if self.l_heads > 0 else []
        x = torch.cat(parts, -1)
        if not fits:
            x = x.reshape([b, rows, columns, c])[:, :h, :w].reshape([b, n, c])
        return x


class ConvFFNBlock(nn.Module):
    """MLP with norm and shortcut, for the early stages: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, stage: int, drop_path_rate: float) -> None:
        super().__init__()
        dim = cfg.embed_dim * 2**stage
        self.drop_path = DropPath(drop_path_rate)
        self.norm2 = nn.LayerNorm(dim, 1e-5)
        self.mlp = DWMlp(cfg, dim)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        return x + self.drop_path(self.mlp(self.norm2(x), h, w))


class Block(nn.Module):
    """Attention and MLP, each with norm and shortcut: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, stage: int, drop_path_rate: float) -> None:
        super().__init__()
        dim = cfg.embed_dim * 2**stage
        self.norm1 = nn.LayerNorm(dim, 1e-5)
        self.attn = HiLo(cfg, stage)
        self.drop_path = DropPath(drop_path_rate)
        self.norm2 = nn.LayerNorm(dim, 1e-5)
        self.mlp = DWMlp(cfg, dim)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), h, w))
        return x + self.drop_path(self.mlp(self.norm2(x), h, w))


class DeformConv2d(nn.Module):
    """2x2 convolution at positions that it predicts: [B, C, H, W] -> [B, 2C, H/2, W/2]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = parameter(self, [2 * dim, dim, 2, 2])
        self.bias = parameter(self, [2 * dim])
        self.conv_offset = nn.Conv2d(dim, 8, 2, 2)  # two offsets for each of the four points

    def forward(self, x: Tensor) -> Tensor:
        return deform_conv2d(x, self.conv_offset(x), self.weight, self.bias, 2)


class DTM(nn.Module):
    """Deformable token merging, halves the grid: [B, N, C] -> [B, N/4, 2C]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dconv = DeformConv2d(dim)
        self.norm_layer = nn.BatchNorm2d(2 * dim)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        b, _, c = x.shape
        x = self.dconv(x.permute([0, 2, 1]).reshape([b, c, h, w]))
        return F.gelu(self.norm_layer(x)).flatten(2).permute([0, 2, 1])


class Stage(nn.Module):
    """Blocks of one width: [B, N, C] -> [B, N, C], and merged for the next stage [B, N/4, 2C]."""

    def __init__(self, cfg: Config, stage: int, drop_path_rates: list[float]) -> None:
        super().__init__()
        block = Block if cfg.local_ws[stage] > 0 else ConvFFNBlock
        self.blocks = nn.ModuleList([block(cfg, stage, rate) for rate in drop_path_rates])
        self.merges = stage < len(cfg.depths) - 1
        if self.merges:
            self.downsample = DTM(cfg.embed_dim * 2**stage)

    def forward(self, x: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
        for block in self.blocks:
            x = block(x, h, w)
        return x, self.downsample(x, h, w) if self.merges else x


class PatchEmbed(nn.Module):
    """Image to tokens: [B, in_chans, H, W] -> [B, N, embed_dim], H/patch_size, W/patch_size."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.patch_size = cfg.patch_size
        self.proj = nn.Conv2d(cfg.in_chans, cfg.embed_dim, cfg.patch_size, cfg.patch_size)
        self.norm = nn.LayerNorm(cfg.embed_dim, 1e-5)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        x = self.proj(pad_to_multiple(x, self.patch_size))
        h, w = x.shape[2], x.shape[3]
        return self.norm(x.flatten(2).permute([0, 2, 1])), h, w


class LITv2(nn.Module):
    """The whole model: images [B, in_chans, H, W] -> logits [B, num_classes].

    The backbone of a detector returns one map [B, C, H/stride, W/stride] per stage instead.
    """

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.patch_embed = PatchEmbed(cfg)
        rates = drop_path_rates(cfg.drop_path_rate, cfg.depths)
        self.layers = nn.ModuleList([Stage(cfg, i, rates[i]) for i in range(len(rates))])
        for i in cfg.out_norms:
            setattr(self, f"norm{i}", nn.LayerNorm(cfg.embed_dim * 2**i, 1e-5))
        num_features = cfg.embed_dim * 2 ** (len(cfg.depths) - 1)
        if not cfg.out_norms:
            self.norm = nn.LayerNorm(num_features, 1e-5)
        if cfg.num_classes > 0:
            self.head = nn.Linear(num_features, cfg.num_classes)
        self.apply(init_weights)

    def forward_stages(self, x: Tensor) -> list[tuple[Tensor, int, int]]:
        """Images [B, in_chans, H, W] -> tokens [B, N, C] of every stage, and their grid."""
        check_size(x, self.cfg.patch_size * 2 ** (len(self.cfg.depths) - 1))
        x, h, w = self.patch_embed(x)
        outputs = []
        for stage in self.layers:
            tokens, x = stage(x, h, w)
            outputs.append((tokens, h, w))
            h, w = h // 2, w // 2
        return outputs

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [B, in_chans, H, W] -> mean of the normalised last tokens [B, C]."""
        x = self.forward_stages(x)[-1][0]
        return self.norm(x).mean(1)

    def forward_maps(self, x: Tensor) -> list[Tensor]:
        """Images [B, in_chans, H, W] -> a detector's input, one [B, C, H, W] per stage."""
        maps = []
        for i, (tokens, h, w) in enumerate(self.forward_stages(x)):
            tokens = getattr(self, f"norm{i}")(tokens) if i in self.cfg.out_norms else tokens
            b, _, c = tokens.shape
            maps.append(tokens.permute([0, 2, 1]).reshape([b, c, h, w]))
        return maps

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        if self.cfg.out_norms:
            return self.forward_maps(x)
        x = self.forward_features(x)
        return self.head(x) if self.cfg.num_classes > 0 else x


def init_weights(layer: nn.Module) -> None:
    """Initialise one layer as the source does; norms keep their ones and zeros.

    Convolutions outside the MLPs get torch's own initialisation, offsets start at zero.
    """
    if isinstance(layer, nn.Linear):
        normal_(layer.weight, 0.02)
        zeros_(layer.bias)
    elif isinstance(layer, DWConv):
        normal_(layer.dwconv.weight, he_std(layer.dwconv))
        zeros_(layer.dwconv.bias)
    elif isinstance(layer, DeformConv2d):
        fan_in_uniform_(layer.weight, layer.bias)
        zeros_(layer.conv_offset.weight)
        zeros_(layer.conv_offset.bias)
    elif isinstance(layer, PatchEmbed):
        fan_in_uniform_(layer.proj.weight, layer.proj.bias)


def build(cfg: Config) -> LITv2:
    """Build the model of one configuration, freshly initialised."""
    return LITv2(cfg)
