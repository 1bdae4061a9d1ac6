"""Vision Transformer: patches to tokens, blocks of attention and MLP, a pooled head.

Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021.
Source: timm 1.0.31, vision_transformer.py and deit.py, whose attribute names these are.

One class covers AugReg, DeiT and DeiT III, DINO, DINOv2, MAE, CLIP, SigLIP and what else timm
builds from it; mappings/variants/vit.toml says how they differ.
"""

import math

import paddle
from paddle import Tensor, nn

from ._layers import drop_path_rates, fan_in_uniform_, normal_, parameter, zeros_
from ._vit_blocks import BLOCKS, NORMS, Config, Mlp, attend, linear, make_norm


class AttentionPoolLatent(nn.Layer):
    """One trained query attends to all tokens: [B, N, C] -> [B, C]."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        dim = cfg.embed_dim
        self.num_heads = cfg.num_heads
        self.head_dim = dim // cfg.num_heads
        self.latent = parameter(self, [1, 1, dim])
        self.q = linear(dim, dim)
        self.kv = linear(dim, 2 * dim)
        self.drop = nn.Identity()
        self.proj = linear(dim, dim)
        self.norm = make_norm(cfg, dim)
        self.mlp = Mlp(cfg)
        normal_(self.latent, dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q = self.q(self.latent.expand([b, -1, -1]))
        q = q.reshape([b, 1, self.num_heads, self.head_dim]).transpose([0, 2, 1, 3])
        kv = self.kv(x).reshape([b, n, 2, self.num_heads, self.head_dim])
        k, v = kv.transpose([2, 0, 3, 1, 4]).unbind(0)  # each [B, h, N, d]
        x = self.proj(attend(q, k, v, self.drop))
        return (x + self.mlp(self.norm(x)))[:, 0]


class PatchEmbed(nn.Layer):
    """Image to tokens: [B, C, H, W] -> [B, N, embed_dim]."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.img_size = cfg.img_size
        self.grid_size = [side // cfg.patch_size for side in cfg.img_size]
        patches = cfg.patch_size, cfg.patch_size  # size and stride
        bias = False if cfg.pre_norm else None
        self.proj = nn.Conv2D(cfg.in_chans, cfg.embed_dim, *patches, bias_attr=bias)
        if cfg.embed_norm_layer:
            self.norm = NORMS[cfg.embed_norm_layer](cfg.embed_dim, cfg.embed_norm_eps)
        else:
            self.norm = nn.Identity()

    def check_size(self, x: Tensor) -> None:
        """Refuse images that the position table has no places for.

        Raises:
            ValueError: Height or width is another.
        """
        height, width = x.shape[2], x.shape[3]
        if (height, width) != tuple(self.img_size):
            wanted = f"{self.img_size[0]}x{self.img_size[1]}"
            raise ValueError(f"images of {height}x{width} pixels, expected {wanted}.")

    def forward(self, x: Tensor) -> Tensor:
        self.check_size(x)
        return self.norm(self.proj(x).flatten(2).transpose([0, 2, 1]))


class VisionTransformer(nn.Layer):
    """The whole model: images [B, in_chans, H, W] -> logits [B, num_classes]."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        dim = cfg.embed_dim
        self.cfg = cfg
        self.num_prefix_tokens = cfg.class_token + cfg.distilled + cfg.reg_tokens
        self.patch_embed = PatchEmbed(cfg)
        if cfg.class_token:
            self.cls_token = parameter(self, [1, 1, dim])
        if cfg.distilled:
            self.dist_token = parameter(self, [1, 1, dim])
        if cfg.reg_tokens:
            self.reg_token = parameter(self, [1, cfg.reg_tokens, dim])
        places = math.prod(self.patch_embed.grid_size)
        places += 0 if cfg.no_embed_class else self.num_prefix_tokens
        self.pos_embed = parameter(self, [1, places, dim])
        self.pos_drop = nn.Dropout(cfg.pos_drop_rate)
        self.norm_pre = make_norm(cfg, dim, cfg.pre_norm)
        rates = drop_path_rates(cfg.drop_path_rate, (cfg.depth,))[0]
        self.blocks = nn.Sequential(*[BLOCKS[cfg.block_fn](cfg, rate) for rate in rates])
        fc_norm = cfg.global_pool == "avg" if cfg.fc_norm is None else cfg.fc_norm
        self.norm = make_norm(cfg, dim, cfg.final_norm and not fc_norm)
        if cfg.global_pool == "map":
            self.attn_pool = AttentionPoolLatent(cfg)
        self.fc_norm = make_norm(cfg, dim, cfg.final_norm and fc_norm)
        self.head_drop = nn.Dropout(cfg.drop_rate)
        if cfg.num_classes > 0:
            self.head = nn.Linear(dim, cfg.num_classes)
            if cfg.distilled:
                self.head_dist = nn.Linear(dim, cfg.num_classes)
        self.apply(init_weights)
        self.init_tokens()

    def init_tokens(self) -> None:
        """Initialise tokens and positions as the source does."""
        normal_(self.pos_embed, 0.02)
        if self.cfg.class_token:
            normal_(self.cls_token, 1e-6)
        if self.cfg.distilled:
            normal_(self.dist_token, 0.02)
        if self.cfg.reg_tokens:
            normal_(self.reg_token, 1e-6)

    def embed(self, images: Tensor) -> Tensor:
        """Images [B, in_chans, H, W] -> tokens with their positions [B, N, C]."""
        x = self.patch_embed(images)
        tokens = [getattr(self, name, None) for name in ("cls_token", "dist_token", "reg_token")]
        before = [one.expand([x.shape[0], -1, -1]) for one in tokens if one is not None]
        if self.cfg.no_embed_class:
            x = x + self.pos_embed
        if before:
            x = paddle.concat([*before, x], 1)
        if not self.cfg.no_embed_class:
            x = x + self.pos_embed
        return self.pos_drop(x)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [B, in_chans, H, W] -> tokens [B, N, C]."""
        return self.norm(self.blocks(self.norm_pre(self.embed(x))))

    def pool(self, x: Tensor) -> Tensor:
        """Tokens [B, N, C] -> features [B, C]."""
        if self.cfg.global_pool == "token":
            return x[:, 0]
        if not self.cfg.pool_include_prefix:
            x = x[:, self.num_prefix_tokens :]
        return self.attn_pool(x) if self.cfg.global_pool == "map" else x.mean(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)
        if self.cfg.distilled:  # the mean of what both heads say
            cls, dist = self.head_drop(x[:, 0]), self.head_drop(x[:, 1])
            if self.cfg.num_classes > 0:
                cls, dist = self.head(cls), self.head_dist(dist)
            return (cls + dist) / 2
        x = self.head_drop(self.fc_norm(self.pool(x)))
        return self.head(x) if self.cfg.num_classes > 0 else x


def init_weights(layer: nn.Layer) -> None:
    """Initialise one layer as the source does, but for the gates of SwiGLU, which it sets to 1."""
    if isinstance(layer, nn.Linear):
        normal_(layer.weight, 0.02)
        zeros_(layer.bias)
    elif isinstance(layer, nn.Conv2D):
        fan_in_uniform_(layer.weight, layer.bias)


def build(cfg: Config) -> VisionTransformer:
    """Build the model of one configuration, freshly initialised."""
    return VisionTransformer(cfg)
