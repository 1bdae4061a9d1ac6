"""Swin Transformer: attention within windows that every second block shifts by half a window.

Paper: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
ICCV 2021; the S3 variants: Chen et al., "Searching the Search Space of Vision Transformer",
NeurIPS 2021.
Source: https://github.com/huggingface/pytorch-image-models, timm/models/swin_transformer.py,
release 1.0.31.

Maps are [B, H, W, C] throughout, as in the source. Where a window covers its whole map, nothing is
shifted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ._layers import DropPath, drop_path_rates, fan_in_uniform_, normal_, parameter, zeros_

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Config:
    """Sizes of one variant; mappings/variants/swin.toml has the published ones.

    Tuples but img_size have one entry per stage.
    """

    img_size: Size = (224, 224)  # pixels; no window is larger than its map of such an image
    dynamic_img_size: bool = False  # images of any size in whole patches; windows as for img_size
    patch_size: int = 4  # pixels, height = width
    embed_dim: int = 96  # channels of the first stage; each later stage doubles them
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int | tuple[int, ...] = 7  # tokens, height = width
    mlp_ratio: float = 4.0  # hidden channels of an MLP, as a multiple of its stage's
    drop_rate: float = 0.0  # before the head
    proj_drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.1  # of the last block; rises linearly from 0 at the first
    in_chans: int = 3
    num_classes: int = 1000  # 0: no head, the model returns features

    def dim(self, stage: int) -> int:
        """Give the channels of a stage."""
        return self.embed_dim * 2**stage

    def map_size(self, stage: int) -> Size:
        """Give height and width of the map in a stage; PatchMerging rounds odd ones up."""
        scale = 2**stage
        height, width = (-(-(pixels // self.patch_size) // scale) for pixels in self.img_size)
        return height, width

    def window(self, stage: int) -> Size:
        """Give height and width of the windows in a stage; a smaller map is one window."""
        size = self.window_size
        asked = size if isinstance(size, int) else size[stage]
        height, width = (min(asked, side) for side in self.map_size(stage))
        return height, width

    def shift(self, stage: int) -> Size:
        """Give the shift of every second block; 0 along a side that one window covers."""
        sides = zip(self.map_size(stage), self.window(stage), strict=True)
        down, right = (0 if side <= window else window // 2 for side, window in sides)
        return down, right


def partition(x: Tensor, window: Size) -> Tensor:
    """Cut maps into windows: [B, H, W, C] -> [B * windows, N, C], N tokens in a window."""
    h, w, c = x.shape[1:]
    x = x.reshape([-1, h // window[0], window[0], w // window[1], window[1], c])
    # Paddle 3.3.1 skips a reshape before a linear layer when it optimises an export, and fails.
    return x.transpose([0, 1, 3, 2, 4, 5]).flatten(3, 4).flatten(0, 2)


def merge(x: Tensor, window: Size, h: int, w: int) -> Tensor:
    """Put windows together: [B * windows, N, C] -> [B, H, W, C]."""
    c = x.shape[2]
    x = x.reshape([-1, h // window[0], w // window[1], window[0], window[1], c])
    return x.transpose([0, 1, 3, 2, 4, 5]).reshape([-1, h, w, c])


def relative_position_index(window: Size) -> np.ndarray:
    """Say which row of the bias table each pair of tokens reads: int64 [N, N]."""
    rows, columns = (axis.flatten() for axis in np.indices(window))
    down = rows[:, None] - rows + window[0] - 1  # from 0
    right = columns[:, None] - columns + window[1] - 1
    return (down * (2 * window[1] - 1) + right).astype("int64")


def shift_mask(h: int, w: int, window: Size, shift: Size) -> np.ndarray:
    """Keep apart what only the shift brought into one window: [windows, N, N], 0 or -100.

    The last window of a row or column holds both ends of the map. The map is the padded one.
    """
    from_above, from_left = np.arange(h) >= h - shift[0], np.arange(w) >= w - shift[1]
    origin = (2 * from_above[:, None] + from_left).reshape(h // window[0], window[0], -1, window[1])
    of_token = origin.transpose(0, 2, 1, 3).reshape(-1, window[0] * window[1])  # [windows, N]
    return np.where(of_token[:, None] == of_token[:, :, None], 0.0, -100.0)


def as_buffer(array: np.ndarray) -> Tensor:
    """Make a floating tensor of the type that parameters have now."""
    return paddle.to_tensor(array, dtype=paddle.get_default_dtype())


class Mlp(nn.Layer):
    """Two linear layers: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, dim: int) -> None:
        super().__init__()
        hidden_dim = int(dim * cfg.mlp_ratio)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(cfg.proj_drop_rate)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop2 = nn.Dropout(cfg.proj_drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop1(self.act(self.fc1(x)))
        return self.drop2(self.fc2(x))


class WindowAttention(nn.Layer):
    """Attention within windows, with a bias by relative position: [B * windows, N, C] -> same."""

    def __init__(self, cfg: Config, stage: int) -> None:
        super().__init__()
        dim, window = cfg.dim(stage), cfg.window(stage)
        self.num_heads = cfg.num_heads[stage]
        self.head_dim = dim // self.num_heads
        positions = (2 * window[0] - 1) * (2 * window[1] - 1)
        self.relative_position_bias_table = parameter(self, [positions, self.num_heads])
        index = paddle.to_tensor(relative_position_index(window))
        self.register_buffer("relative_position_index", index, persistable=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_drop = nn.Dropout(cfg.attn_drop_rate)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(cfg.proj_drop_rate)
        self.softmax = nn.Softmax(-1)

    def project(self, x: Tensor) -> Tensor:
        """Make queries, keys and values: [B * windows, N, C] -> [B * windows, N, 3 * C]."""
        return self.qkv(x)

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Compare queries with keys: [B * windows, h, N, d] each -> [B * windows, h, N, N]."""
        return q * self.head_dim**-0.5 @ k.transpose([0, 1, 3, 2])

    def position_bias(self) -> Tensor:
        """Look up the bias of every pair of tokens: [h, N, N]."""
        return self.spread(self.relative_position_bias_table)

    def spread(self, table: Tensor) -> Tensor:
        """Give every pair of tokens its row of a table: [positions, h] -> [h, N, N]."""
        n = self.relative_position_index.shape[0]
        bias = table[self.relative_position_index.reshape([-1])]
        return bias.reshape([n, n, self.num_heads]).transpose([2, 0, 1])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n, c = x.shape[1:]
        qkv = self.project(x).reshape([-1, n, 3, self.num_heads, self.head_dim])
        q, k, v = qkv.transpose([2, 0, 3, 1, 4]).unbind(0)  # each [B * windows, h, N, d]
        attn = self.scores(q, k) + self.position_bias()
        if mask is not None:
            attn = attn.reshape([-1, mask.shape[0], self.num_heads, n, n])
            attn = (attn + mask.unsqueeze(1)).reshape([-1, self.num_heads, n, n])
        x = self.attn_drop(self.softmax(attn)) @ v
        return self.proj_drop(self.proj(x.transpose([0, 2, 1, 3]).reshape([-1, n, c])))


class Block(nn.Layer):
    """Attention and MLP, each with norm and shortcut: [B, H, W, C] -> [B, H, W, C]."""

    Attention: ClassVar[Callable[..., WindowAttention]] = WindowAttention

    def __init__(self, cfg: Config, stage: int, shifted: bool, drop_path_rate: float) -> None:
        super().__init__()
        dim, (h, w) = cfg.dim(stage), cfg.map_size(stage)
        self.window = cfg.window(stage)
        self.shift = cfg.shift(stage) if shifted else (0, 0)
        self.norm1 = nn.LayerNorm(dim, 1e-5)
        self.attn = self.Attention(cfg, stage)
        self.drop_path1 = DropPath(drop_path_rate)
        self.norm2 = nn.LayerNorm(dim, 1e-5)
        self.mlp = Mlp(cfg, dim)
        self.drop_path2 = DropPath(drop_path_rate)
        self.masked = h + -h % self.window[0], w + -w % self.window[1]  # the map of attn_mask
        if any(self.shift):
            mask = as_buffer(self.mask_of(*self.masked))
            self.register_buffer("attn_mask", mask, persistable=False)
        else:
            self.attn_mask = None

    def mask_of(self, h: int, w: int) -> np.ndarray:
        """Compute the mask for a padded map: [windows, N, N]."""
        return shift_mask(h, w, self.window, self.shift)

    def attend(self, x: Tensor) -> Tensor:
        """Attend within the windows, shifted or not: [B, H, W, C] -> [B, H, W, C]."""
        h, w = x.shape[1:3]
        if any(self.shift):
            x = x.roll([-self.shift[0], -self.shift[1]], [1, 2])
        # The source shifts first, then adds zeros below and on the right.
        below, right = -h % self.window[0], -w % self.window[1]
        if below or right:
            x = F.pad(x, [0, right, 0, below], data_format="NHWC")
        mask = self.attn_mask
        if mask is not None and self.masked != (h + below, w + right):
            mask = paddle.to_tensor(self.mask_of(h + below, w + right), dtype=x.dtype)
        x = merge(self.attn(partition(x, self.window), mask), self.window, h + below, w + right)
        x = x[:, :h, :w]
        return x.roll([*self.shift], [1, 2]) if any(self.shift) else x

    def forward(self, x: Tensor) -> Tensor:
        h, w, c = x.shape[1:]
        x = x + self.drop_path1(self.attend(self.norm1(x)))
        x = x.reshape([-1, h * w, c])
        x = x + self.drop_path2(self.mlp(self.norm2(x)))
        return x.reshape([-1, h, w, c])


class PatchMerging(nn.Layer):
    """Join two by two tokens into one: [B, H, W, C] -> [B, H/2, W/2, 2 * C], rounded up."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim, 1e-5)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias_attr=False)

    def gather(self, x: Tensor) -> Tensor:
        """Put the four tokens one after the other, the left column first: [..., 4 * C]."""
        h, w, c = x.shape[1:]
        if h % 2 or w % 2:
            x = F.pad(x, [0, w % 2, 0, h % 2], data_format="NHWC")
        x = x.reshape([-1, (h + 1) // 2, 2, (w + 1) // 2, 2, c])
        return x.transpose([0, 1, 3, 4, 2, 5]).flatten(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(self.norm(self.gather(x)))


class PatchEmbed(nn.Layer):
    """Image to tokens: [B, in_chans, H, W] -> [B, H/patch, W/patch, embed_dim]."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.img_size, self.patch_size = cfg.img_size, cfg.patch_size
        self.dynamic_img_size = cfg.dynamic_img_size
        self.proj = nn.Conv2D(cfg.in_chans, cfg.embed_dim, cfg.patch_size, cfg.patch_size)
        self.norm = nn.LayerNorm(cfg.embed_dim, 1e-5)

    def check(self, h: int, w: int) -> None:
        """Refuse images of a size that the windows were not made for.

        Raises:
            ValueError: It is not img_size or, if any size will do, patch_size does not divide it.
        """
        found, expected = f"images of {h}x{w} pixels", "{}x{}".format(*self.img_size)
        if self.dynamic_img_size and (h % self.patch_size or w % self.patch_size):
            raise ValueError(f"{found}, expected multiples of {self.patch_size}.")
        if not self.dynamic_img_size and (h, w) != self.img_size:
            raise ValueError(
                f"{found}, expected {expected}. Build the model with img_size=({h}, {w}), or with "
                f"dynamic_img_size=True."
            )

    def forward(self, x: Tensor) -> Tensor:
        self.check(x.shape[2], x.shape[3])
        return self.norm(self.proj(x).transpose([0, 2, 3, 1]))


class Stage(nn.Layer):
    """Blocks of one resolution, after the merging that leads to it: [B, H, W, C] -> same."""

    Block, Merging = Block, PatchMerging

    def __init__(self, cfg: Config, stage: int, rates: list[float]) -> None:
        super().__init__()
        self.downsample = self.Merging(cfg.dim(stage - 1)) if stage > 0 else nn.Identity()
        blocks = [self.Block(cfg, stage, i % 2 == 1, rate) for i, rate in enumerate(rates)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class Head(nn.Layer):
    """Classify the mean of all tokens: [B, H, W, C] -> [B, num_classes], or [B, C] without any."""

    def __init__(self, cfg: Config, dim: int) -> None:
        super().__init__()
        self.drop = nn.Dropout(cfg.drop_rate)
        self.fc = nn.Linear(dim, cfg.num_classes) if cfg.num_classes > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(x.mean([1, 2])))


class SwinTransformer(nn.Layer):
    """The whole model: images [B, in_chans, H, W] -> logits [B, num_classes]."""

    Stage = Stage

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(cfg)
        rates = drop_path_rates(cfg.drop_path_rate, cfg.depths)
        self.layers = nn.Sequential(*[self.Stage(cfg, i, rate) for i, rate in enumerate(rates)])
        self.norm = nn.LayerNorm(cfg.dim(len(rates) - 1), 1e-5)
        self.head = Head(cfg, cfg.dim(len(rates) - 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.patch_embed(x))))


def init_weights(layer: nn.Layer) -> None:
    """Initialise one layer as the source does; norms keep their ones and zeros."""
    if isinstance(layer, nn.Linear):
        normal_(layer.weight, 0.02)
        zeros_(layer.bias)
    elif isinstance(layer, nn.Conv2D):
        fan_in_uniform_(layer.weight, layer.bias)
    elif isinstance(layer, WindowAttention):
        normal_(layer.relative_position_bias_table, 0.02)


def build(cfg: Config) -> SwinTransformer:
    """Build the model of one configuration, freshly initialised."""
    model = SwinTransformer(cfg)
    model.apply(init_weights)
    return model
