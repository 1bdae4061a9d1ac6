"""Pyramid Vision Transformer v2: overlapping patches, keys of a coarser map, convolving MLPs.

Paper: Wang et al., "PVT v2: Improved Baselines with Pyramid Vision Transformer", CVMJ 2022.
Source: https://github.com/huggingface/pytorch-image-models, timm/models/pvt_v2.py, release 1.0.31.
"""

from dataclasses import dataclass

import paddle.nn.functional as F
from paddle import Tensor, nn

from ._layers import DropPath, check_size, drop_path_rates, he_std, normal_, zeros_


@dataclass(frozen=True)
class Config:
    """Sizes of one variant; mappings/variants/pvt_v2.toml has the published ones.

    Every tuple has one entry per stage. The input may be any image of at least 32 x 32 pixels.
    """

    depths: tuple[int, ...] = (3, 4, 6, 3)  # blocks
    embed_dims: tuple[int, ...] = (64, 128, 320, 512)  # channels of a token
    num_heads: tuple[int, ...] = (1, 2, 5, 8)
    mlp_ratios: tuple[float, ...] = (8.0, 8.0, 4.0, 4.0)  # hidden channels / embed_dims
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)  # stride of the map that the keys are of
    linear: bool = False  # that map is 7x7 instead, whatever the size of the image
    drop_rate: float = 0.0  # before the head
    proj_drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0  # of the last block; rises linearly from 0 at the first
    in_chans: int = 3
    num_classes: int = 1000  # 0: no head, the model returns features


class Mlp(nn.Layer):
    """Two linear layers and a depthwise convolution in between: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, stage: int) -> None:
        super().__init__()
        dim = cfg.embed_dims[stage]
        hidden_dim = int(dim * cfg.mlp_ratios[stage])
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.relu = nn.ReLU() if cfg.linear else nn.Identity()
        self.dwconv = nn.Conv2D(hidden_dim, hidden_dim, 3, 1, 1, groups=hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(cfg.proj_drop_rate)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        x = self.fc1(x)
        b, _, c = x.shape
        x = self.relu(x.transpose([0, 2, 1]).reshape([b, c, h, w]))
        x = self.dwconv(x).flatten(2).transpose([0, 2, 1])
        return self.drop(self.fc2(self.drop(self.act(x))))


class Attention(nn.Layer):
    """Attention to the tokens of a coarser map: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, stage: int) -> None:
        super().__init__()
        dim, sr_ratio = cfg.embed_dims[stage], cfg.sr_ratios[stage]
        self.num_heads = cfg.num_heads[stage]
        self.head_dim = dim // self.num_heads
        self.is_coarse = cfg.linear or sr_ratio > 1
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.attn_drop = nn.Dropout(cfg.attn_drop_rate)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(cfg.proj_drop_rate)
        if self.is_coarse:
            stride = 1 if cfg.linear else sr_ratio
            self.pool = nn.AdaptiveAvgPool2D(7) if cfg.linear else nn.Identity()
            self.sr = nn.Conv2D(dim, dim, stride, stride)
            self.norm = nn.LayerNorm(dim, 1e-5)
            self.act = nn.GELU() if cfg.linear else nn.Identity()

    def coarser(self, x: Tensor, h: int, w: int) -> Tensor:
        """Give the tokens of the coarser map: [B, N, C] -> [B, M, C]."""
        b, _, c = x.shape
        x = x.transpose([0, 2, 1]).reshape([b, c, h, w])
        return self.act(self.norm(self.sr(self.pool(x)).flatten(2).transpose([0, 2, 1])))

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        b, n, c = x.shape
        q = self.q(x).reshape([b, n, self.num_heads, self.head_dim]).transpose([0, 2, 1, 3])
        kv = self.kv(self.coarser(x, h, w) if self.is_coarse else x)
        kv = kv.reshape([b, -1, 2, self.num_heads, self.head_dim]).transpose([2, 0, 3, 1, 4])
        k, v = kv.unbind(0)  # each [B, h, M, d]
        attn = q @ k.transpose([0, 1, 3, 2]) * self.head_dim**-0.5  # [B, h, N, M]
        x = self.attn_drop(F.softmax(attn, -1)) @ v
        return self.proj_drop(self.proj(x.transpose([0, 2, 1, 3]).reshape([b, n, c])))


class Block(nn.Layer):
    """Attention and MLP, each with norm and shortcut: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, stage: int, drop_path_rate: float) -> None:
        super().__init__()
        dim = cfg.embed_dims[stage]
        self.norm1 = nn.LayerNorm(dim, 1e-6)
        self.attn = Attention(cfg, stage)
        self.drop_path1 = DropPath(drop_path_rate)
        self.norm2 = nn.LayerNorm(dim, 1e-6)
        self.mlp = Mlp(cfg, stage)
        self.drop_path2 = DropPath(drop_path_rate)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        x = x + self.drop_path1(self.attn(self.norm1(x), h, w))
        return x + self.drop_path2(self.mlp(self.norm2(x), h, w))


class PatchEmbed(nn.Layer):
    """Overlapping patches: [B, C, H, W] -> [B, H/stride, W/stride, embed_dim]."""

    def __init__(self, in_chans: int, embed_dim: int, patch_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2D(in_chans, embed_dim, patch_size, stride, patch_size // 2)
        self.norm = nn.LayerNorm(embed_dim, 1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).transpose([0, 2, 3, 1]))


class Stage(nn.Layer):
    """Blocks of one resolution, and what leads to it: [B, C, H, W] -> [B, embed_dim, H/2, W/2].

    The first takes the tokens [B, H, W, embed_dim] of the image and keeps their number.
    """

    def __init__(self, cfg: Config, stage: int, rates: list[float]) -> None:
        super().__init__()
        dim = cfg.embed_dims[stage]
        self.downsample = PatchEmbed(cfg.embed_dims[stage - 1], dim, 3, 2) if stage > 0 else None
        self.blocks = nn.LayerList([Block(cfg, stage, rate) for rate in rates])
        self.norm = nn.LayerNorm(dim, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        if self.downsample is not None:
            x = self.downsample(x)
        b, h, w, c = x.shape
        x = x.reshape([b, h * w, c])
        for block in self.blocks:
            x = block(x, h, w)
        return self.norm(x).reshape([b, h, w, c]).transpose([0, 3, 1, 2])


class PyramidVisionTransformerV2(nn.Layer):
    """The whole model: images [B, in_chans, H, W] -> logits [B, num_classes]."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        dim = cfg.embed_dims[-1]
        self.patch_embed = PatchEmbed(cfg.in_chans, cfg.embed_dims[0], 7, 4)
        rates = drop_path_rates(cfg.drop_path_rate, cfg.depths)
        self.stages = nn.Sequential(*[Stage(cfg, i, rate) for i, rate in enumerate(rates)])
        self.head_drop = nn.Dropout(cfg.drop_rate)
        self.head = nn.Linear(dim, cfg.num_classes) if cfg.num_classes > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        check_size(x, 32)
        x = self.stages(self.patch_embed(x)).mean([2, 3])
        return self.head(self.head_drop(x))


def init_weights(layer: nn.Layer) -> None:
    """Initialise one layer as the source does; norms keep their ones and zeros."""
    if isinstance(layer, nn.Linear):
        normal_(layer.weight, 0.02)
    elif isinstance(layer, nn.Conv2D):
        normal_(layer.weight, he_std(layer))
    else:
        return
    zeros_(layer.bias)


def build(cfg: Config) -> PyramidVisionTransformerV2:
    """Build the model of one configuration, freshly initialised."""
    model = PyramidVisionTransformerV2(cfg)
    model.apply(init_weights)
    return model
