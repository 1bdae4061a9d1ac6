"""Shunted Transformer: conv stem, four stages whose heads look at keys of two scales.

Paper: Ren et al., "Shunted Self-Attention via Multi-Scale Token Aggregation", CVPR 2022.
Source: https://github.com/OliverRensu/Shunted-Transformer, SSA.py, commit 6861101.

Where paper and source differ, this file follows the source, as the released weights do.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._layers import DropPath, DWConv, check_size, drop_path_rates, he_std, normal_, zeros_


@dataclass(frozen=True)
class Config:
    """Sizes of one variant; mappings/shunted.toml has the published ones.

    Every tuple has one entry per stage. The input may be any image of at least 32 x 32 pixels.
    """

    depths: tuple[int, ...]  # blocks
    num_conv: int  # extra 3x3 convolutions in the stem
    embed_dims: tuple[int, ...] = (64, 128, 256, 512)  # channels of a token
    num_heads: tuple[int, ...] = (2, 4, 8, 16)
    mlp_ratios: tuple[int, ...] = (8, 8, 4, 4)
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)  # stride of the coarser of the two key maps
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0  # of the last block; rises linearly from 0 at the first
    in_chans: int = 3
    num_classes: int = 1000  # 0: no head, the model returns features


class Mlp(nn.Module):
    """Two linear layers with the neighbours' detail added in between: [B, N, C] -> [B, N, C]."""

    def __init__(self, dim: int, hidden_dim: int, drop_rate: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = DWConv(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        x = self.fc1(x)
        x = self.drop(F.gelu(x + self.dwconv(x, h, w)))
        return self.drop(self.fc2(x))


class ShuntedAttention(nn.Module):
    """Attention whose head halves see keys at strides sr and sr/2: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, stage: int) -> None:
        super().__init__()
        dim, sr = cfg.embed_dims[stage], cfg.sr_ratios[stage]
        self.num_heads = cfg.num_heads[stage]
        self.head_dim = dim // self.num_heads
        self.q = nn.Linear(dim, dim)
        self.attn_drop = nn.Dropout(cfg.attn_drop_rate)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(cfg.drop_rate)
        self.sr1 = nn.Conv2d(dim, dim, sr, sr)
        self.norm1 = nn.LayerNorm(dim, 1e-5)
        self.sr2 = nn.Conv2d(dim, dim, sr // 2, sr // 2)
        self.norm2 = nn.LayerNorm(dim, 1e-5)
        self.kv1 = nn.Linear(dim, dim)
        self.kv2 = nn.Linear(dim, dim)
        self.local_conv1 = nn.Conv2d(dim // 2, dim // 2, 3, 1, 1, groups=dim // 2)
        self.local_conv2 = nn.Conv2d(dim // 2, dim // 2, 3, 1, 1, groups=dim // 2)

    def attend(
        self, q: Tensor, x: Tensor, norm: nn.Module, kv: nn.Module, local_conv: nn.Module
    ) -> Tensor:
        """Attend to one coarse map: queries [B, h/2, N, d], map [B, C, H', W'] -> [B, N, C/2]."""
        b, c, h, w = x.shape
        x = F.gelu(norm(x.flatten(2).permute([0, 2, 1])))  # [B, M, C]
        kv_heads = kv(x).reshape([b, h * w, 2, self.num_heads // 2, self.head_dim])
        k, v = kv_heads.permute([2, 0, 3, 1, 4]).unbind(0)  # each [B, h/2, M, d]
        local = local_conv(v.permute([0, 1, 3, 2]).reshape([b, c // 2, h, w]))
        local = local.reshape([b, self.num_heads // 2, self.head_dim, h * w])
        v = v + local.permute([0, 1, 3, 2])
        attn = q @ k.permute([0, 1, 3, 2]) * self.head_dim**-0.5  # [B, h/2, N, M]
        x = self.attn_drop(F.softmax(attn, -1)) @ v
        return x.permute([0, 2, 1, 3]).reshape([b, q.shape[2], c // 2])

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        b, n, c = x.shape
        q = self.q(x).reshape([b, n, self.num_heads, self.head_dim]).permute([0, 2, 1, 3])
        q1, q2 = q.chunk(2, 1)  # each [B, h/2, N, d]
        x = x.permute([0, 2, 1]).reshape([b, c, h, w])
        x1 = self.attend(q1, self.sr1(x), self.norm1, self.kv1, self.local_conv1)
        x2 = self.attend(q2, self.sr2(x), self.norm2, self.kv2, self.local_conv2)
        return self.proj_drop(self.proj(torch.cat([x1, x2], -1)))


class Attention(nn.Module):
    """Attention at full resolution, for the last stage: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, stage: int) -> None:
        super().__init__()
        dim = cfg.embed_dims[stage]
        self.num_heads = cfg.num_heads[stage]
        self.head_dim = dim // self.num_heads
        self.q = nn.Linear(dim, dim)
        self.attn_drop = nn.Dropout(cfg.attn_drop_rate)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(cfg.drop_rate)
        self.kv = nn.Linear(dim, 2 * dim)
        self.local_conv = nn.Conv2d(dim, dim, 3, 1, 1, groups=dim)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        b, n, c = x.shape
        q = self.q(x).reshape([b, n, self.num_heads, self.head_dim]).permute([0, 2, 1, 3])
        kv = self.kv(x).reshape([b, n, 2, self.num_heads, self.head_dim])
        k, v = kv.permute([2, 0, 3, 1, 4]).unbind(0)  # each [B, h, N, d]
        # Here, unlike in ShuntedAttention, the local detail joins after the attention.
        local = self.local_conv(v.permute([0, 1, 3, 2]).reshape([b, c, h, w]))
        attn = q @ k.permute([0, 1, 3, 2]) * self.head_dim**-0.5  # [B, h, N, N]
        x = self.attn_drop(F.softmax(attn, -1)) @ v
        x = x.permute([0, 2, 1, 3]).reshape([b, n, c]) + local.flatten(2).permute([0, 2, 1])
        return self.proj_drop(self.proj(x))


class Block(nn.Module):
    """Attention and MLP, each with norm and shortcut: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, stage: int, drop_path_rate: float) -> None:
        super().__init__()
        dim = cfg.embed_dims[stage]
        self.norm1 = nn.LayerNorm(dim, 1e-6)
        attention = ShuntedAttention if cfg.sr_ratios[stage] > 1 else Attention
        self.attn = attention(cfg, stage)
        self.drop_path = DropPath(drop_path_rate)
        self.norm2 = nn.LayerNorm(dim, 1e-6)
        self.mlp = Mlp(dim, dim * cfg.mlp_ratios[stage], cfg.drop_rate)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), h, w))
        return x + self.drop_path(self.mlp(self.norm2(x), h, w))


def conv_bn_relu(in_chans: int, out_chans: int, size: int, stride: int) -> list[nn.Module]:
    """Make three layers: [B, in_chans, H, W] -> [B, out_chans, H/stride, W/stride]."""
    conv = nn.Conv2d(in_chans, out_chans, size, stride, size // 2, bias=False)
    return [conv, nn.BatchNorm2d(out_chans), nn.ReLU()]


class Stem(nn.Module):
    """Image to tokens at stride 4: [B, C, H, W] -> [B, N, embed_dim], H/4, W/4."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        dim = cfg.embed_dims[0]
        layers = conv_bn_relu(cfg.in_chans, dim, 7, 2)
        for _ in range(cfg.num_conv):
            layers += conv_bn_relu(dim, dim, 3, 1)
        self.conv = nn.Sequential(*layers, nn.Conv2d(dim, dim, 2, 2))
        self.norm = nn.LayerNorm(dim, 1e-5)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        x = self.conv(x)
        h, w = x.shape[2], x.shape[3]
        return self.norm(x.flatten(2).permute([0, 2, 1])), h, w


class PatchEmbed(nn.Module):
    """Overlapping patches at stride 2: [B, C, H, W] -> [B, N, embed_dim], H/2, W/2."""

    def __init__(self, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, 3, 2, 1)
        self.norm = nn.LayerNorm(embed_dim, 1e-5)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        x = self.proj(x)
        h, w = x.shape[2], x.shape[3]
        return self.norm(x.flatten(2).permute([0, 2, 1])), h, w


class ShuntedTransformer(nn.Module):
    """The whole model: images [B, in_chans, H, W] -> logits [B, num_classes]."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.num_stages = len(cfg.depths)
        self.num_classes = cfg.num_classes
        for i, rates in enumerate(drop_path_rates(cfg.drop_path_rate, cfg.depths)):
            stem = Stem(cfg) if i == 0 else PatchEmbed(cfg.embed_dims[i - 1], cfg.embed_dims[i])
            blocks = [Block(cfg, i, rate) for rate in rates]
            setattr(self, f"patch_embed{i + 1}", stem)
            setattr(self, f"block{i + 1}", nn.ModuleList(blocks))
            setattr(self, f"norm{i + 1}", nn.LayerNorm(cfg.embed_dims[i], 1e-6))
        if cfg.num_classes > 0:
            self.head = nn.Linear(cfg.embed_dims[-1], cfg.num_classes)
        self.apply(init_weights)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [B, in_chans, H, W] -> mean of the normalised last tokens [B, C]."""
        check_size(x, 32)
        for i in range(1, self.num_stages + 1):
            x, h, w = getattr(self, f"patch_embed{i}")(x)
            for block in getattr(self, f"block{i}"):
                x = block(x, h, w)
            x = getattr(self, f"norm{i}")(x)
            if i < self.num_stages:
                x = x.permute([0, 2, 1]).reshape([x.shape[0], x.shape[2], h, w])
        return x.mean(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)
        return self.head(x) if self.num_classes > 0 else x


def init_weights(layer: nn.Module) -> None:
    """Initialise one layer as the source does; norms keep their ones and zeros."""
    if isinstance(layer, nn.Linear):
        normal_(layer.weight, 0.02)
    elif isinstance(layer, nn.Conv2d):
        normal_(layer.weight, he_std(layer))
    else:
        return
    zeros_(layer.bias)


def build(cfg: Config) -> ShuntedTransformer:
    """Build the model of one configuration, freshly initialised."""
    return ShuntedTransformer(cfg)
