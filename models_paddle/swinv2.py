"""Swin Transformer V2: windows as in Swin, cosine attention, norms after the branches.

Paper: Liu et al., "Swin Transformer V2: Scaling Up Capacity and Resolution", CVPR 2022.
Source: https://github.com/huggingface/pytorch-image-models, timm/models/swin_transformer_v2.py,
release 1.0.31.

Windows, shifts, masks, MLP, stages and head are Swin's.
"""

import math
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from . import swin
from ._layers import fan_in_uniform_, normal_, parameter, zeros_


@dataclass(frozen=True)
class Config(swin.Config):
    """Sizes of one variant; mappings/variants/swinv2.toml has the published ones.

    As Swin's, and the windows that the weights were first trained with, which scale the positions.
    """

    pretrained_window_sizes: tuple[int, ...] = (0, 0, 0, 0)  # one per stage; 0: the window itself


def relative_coords_table(window: swin.Size, pretrained: int) -> np.ndarray:
    """Give each relative position on a logarithmic scale: float32 [1, 2h - 1, 2w - 1, 2].

    The source computes in float32, even for a model in float64. So does this, step by step; the
    logarithm alone is taken in float64 and rounded, since NumPy's in float32 may be off by a bit.
    """
    axes = []
    for side in window:
        far = np.float32(max((pretrained or side) - 1, 1))
        away = np.arange(1 - side, side, dtype="float32") / far * np.float32(8)
        log = np.log2((np.abs(away) + np.float32(1)).astype("float64")).astype("float32")
        axes.append(np.sign(away) * log / np.float32(3))  # log2(8) = 3
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)[None]


class WindowAttention(swin.WindowAttention):
    """Attention by cosine, its bias from a small network: [B * windows, N, C] -> same."""

    def __init__(self, cfg: Config, stage: int) -> None:
        nn.Layer.__init__(self)
        dim, window = cfg.dim(stage), cfg.window(stage)
        self.num_heads = cfg.num_heads[stage]
        self.head_dim = dim // self.num_heads
        self.logit_scale = parameter(self, [self.num_heads, 1, 1])
        self.cpb_mlp = nn.Sequential(
            nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, self.num_heads, bias_attr=False)
        )
        self.qkv = nn.Linear(dim, 3 * dim, bias_attr=False)
        self.q_bias = parameter(self, [dim])
        self.v_bias = parameter(self, [dim])
        self.attn_drop = nn.Dropout(cfg.attn_drop_rate)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(cfg.proj_drop_rate)
        self.softmax = nn.Softmax(-1)
        table = relative_coords_table(window, cfg.pretrained_window_sizes[stage])
        self.register_buffer("relative_coords_table", swin.as_buffer(table), persistable=False)
        index = paddle.to_tensor(swin.relative_position_index(window))
        self.register_buffer("relative_position_index", index, persistable=False)

    def project(self, x: Tensor) -> Tensor:
        """Make queries, keys and values, keys without a bias: [..., C] -> [..., 3 * C]."""
        bias = paddle.concat([self.q_bias, paddle.zeros_like(self.q_bias), self.v_bias], 0)
        return F.linear(x, self.qkv.weight, bias)

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Give the scaled cosine of queries and keys: [B * windows, h, N, N]."""
        cosine = F.normalize(q, 2, -1) @ F.normalize(k, 2, -1).transpose([0, 1, 3, 2])
        return cosine * self.logit_scale.clip(max=math.log(1.0 / 0.01)).exp()

    def position_bias(self) -> Tensor:
        """Compute the bias of every pair of tokens, between 0 and 16: [h, N, N]."""
        table = self.cpb_mlp(self.relative_coords_table).reshape([-1, self.num_heads])
        return 16 * F.sigmoid(self.spread(table))


class Block(swin.Block):
    """Attention and MLP, each with a norm at its end and shortcut: [B, H, W, C] -> same."""

    Attention = WindowAttention

    def forward(self, x: Tensor) -> Tensor:
        h, w, c = x.shape[1:]
        x = x + self.drop_path1(self.norm1(self.attend(x)))
        x = x.reshape([-1, h * w, c])
        x = x + self.drop_path2(self.norm2(self.mlp(x)))
        return x.reshape([-1, h, w, c])


class PatchMerging(swin.PatchMerging):
    """Join two by two tokens, the norm last: [B, H, W, C] -> [B, H/2, W/2, 2 * C], rounded up."""

    def __init__(self, dim: int) -> None:
        nn.Layer.__init__(self)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias_attr=False)
        self.norm = nn.LayerNorm(2 * dim, 1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.reduction(self.gather(x)))


class Stage(swin.Stage):
    """Blocks of one resolution, after the merging that leads to it: [B, H, W, C] -> same."""

    Block, Merging = Block, PatchMerging


class SwinTransformerV2(swin.SwinTransformer):
    """The whole model: images [B, in_chans, H, W] -> logits [B, num_classes]."""

    Stage = Stage


def init_weights(layer: nn.Layer) -> None:
    """Initialise one layer as the source does: at first, no block changes anything."""
    if isinstance(layer, nn.Linear):
        normal_(layer.weight, 0.02)
        zeros_(layer.bias)
    elif isinstance(layer, nn.Conv2D):
        fan_in_uniform_(layer.weight, layer.bias)
    elif isinstance(layer, WindowAttention):
        nn.initializer.Constant(math.log(10))(layer.logit_scale)
        zeros_(layer.q_bias)
        zeros_(layer.v_bias)
    elif isinstance(layer, Block):
        zeros_(layer.norm1.weight)
        zeros_(layer.norm2.weight)


def build(cfg: Config) -> SwinTransformerV2:
    """Build the model of one configuration, freshly initialised."""
    model = SwinTransformerV2(cfg)
    model.apply(init_weights)
    return model
