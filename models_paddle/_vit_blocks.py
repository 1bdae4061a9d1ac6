"""The blocks of a Vision Transformer, and what says which of them a variant has."""

from dataclasses import dataclass

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ._layers import DropPath, parameter, zeros_


@dataclass(frozen=True)
class Config:
    """Sizes and parts of one variant, by timm's names; its defaults are ViT-B/16 at 224."""

    img_size: tuple[int, int] = (224, 224)  # height, width in pixels
    patch_size: int = 16
    in_chans: int = 3
    num_classes: int = 1000  # 0: no head, the model returns features
    global_pool: str = "token"  # or "avg" of the patches, or "map": attention of one query
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_norm: bool = False
    scale_attn_norm: bool = False  # a norm before the last linear layer of the attention
    scale_mlp_norm: bool = False  # and of the MLP
    proj_bias: bool = True  # of all linear layers but qkv and the head
    init_values: float | None = None  # of the layer scale; None for none
    class_token: bool = True
    no_embed_class: bool = False  # positions are added before the class token comes
    reg_tokens: int = 0
    distilled: bool = False  # DeiT's second token, with a head of its own
    pre_norm: bool = False
    final_norm: bool = True
    fc_norm: bool | None = None  # the norm after pooling instead; None: if that averages
    pool_include_prefix: bool = False  # whether class and register tokens count in the average
    embed_norm_layer: str = ""  # of the patches; as norm_layer
    embed_norm_eps: float = 1e-6
    norm_layer: str = "layer_norm"  # or "rms_norm"
    norm_eps: float = 1e-6
    act_layer: str = "gelu"  # or "gelu_tanh", "quick_gelu", "silu"
    block_fn: str = "block"  # or "parallel_things", "parallel_scaling", "res_post"
    mlp_layer: str = "mlp"  # or "swiglu", "swiglu_packed"
    drop_rate: float = 0.0  # before the head
    pos_drop_rate: float = 0.0
    proj_drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0  # of the last block; rises linearly from 0 at the first


class QuickGELU(nn.Layer):
    """The activation of OpenAI's CLIP: x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * F.sigmoid(1.702 * x)


class RmsNorm(nn.Layer):
    """Divide by the root of the mean square of the last axis: [..., C] -> [..., C]."""

    def __init__(self, dim: int, epsilon: float) -> None:
        super().__init__()
        self._normalized_shape = [dim]
        self._epsilon = epsilon
        self.weight = parameter(self, [dim])
        nn.initializer.Constant(1.0)(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x * paddle.rsqrt(x.square().mean(-1, keepdim=True) + self._epsilon) * self.weight


class LayerScale(nn.Layer):
    """One trained factor for each channel: [..., C] -> [..., C]."""

    def __init__(self, dim: int, init_values: float) -> None:
        super().__init__()
        self.gamma = parameter(self, [dim])
        nn.initializer.Constant(init_values)(self.gamma)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


NORMS = {"layer_norm": nn.LayerNorm, "rms_norm": RmsNorm}


def make_norm(cfg: Config, dim: int, wanted: bool = True) -> nn.Layer:
    """Make the norm of a variant, or what changes nothing."""
    return NORMS[cfg.norm_layer](dim, cfg.norm_eps) if wanted else nn.Identity()


def make_act(cfg: Config) -> nn.Layer:
    """Make the activation of a variant."""
    if cfg.act_layer == "quick_gelu":
        return QuickGELU()
    return nn.Silu() if cfg.act_layer == "silu" else nn.GELU(cfg.act_layer == "gelu_tanh")


def make_scale(cfg: Config) -> nn.Layer:
    """Make the layer scale of a variant, or what changes nothing."""
    return LayerScale(cfg.embed_dim, cfg.init_values) if cfg.init_values else nn.Identity()


def linear(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """Make a linear layer: [..., in_features] -> [..., out_features]."""
    return nn.Linear(in_features, out_features, bias_attr=None if bias else False)


class Mlp(nn.Layer):
    """Two linear layers: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, norm: bool = False, bias: bool = True) -> None:
        super().__init__()
        hidden_dim = int(cfg.embed_dim * cfg.mlp_ratio)
        self.fc1 = linear(cfg.embed_dim, hidden_dim, bias)
        self.act = make_act(cfg)
        self.drop1 = nn.Dropout(cfg.proj_drop_rate)
        self.norm = make_norm(cfg, hidden_dim, norm)
        self.fc2 = linear(hidden_dim, cfg.embed_dim, bias)
        self.drop2 = nn.Dropout(cfg.proj_drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.drop1(self.act(self.fc1(x))))
        return self.drop2(self.fc2(x))


class SwiGLUPacked(nn.Layer):
    """An MLP whose first half gates its second: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, norm: bool = False, bias: bool = True) -> None:
        super().__init__()
        hidden_dim = int(cfg.embed_dim * cfg.mlp_ratio)
        self.fc1 = linear(cfg.embed_dim, hidden_dim, bias)
        self.act = make_act(cfg)
        self.drop1 = nn.Dropout(cfg.proj_drop_rate)
        self.norm = make_norm(cfg, hidden_dim // 2, norm)
        self.fc2 = linear(hidden_dim // 2, cfg.embed_dim, bias)
        self.drop2 = nn.Dropout(cfg.proj_drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        gate, x = self.fc1(x).chunk(2, -1)
        x = self.norm(self.drop1(self.act(gate) * x))
        return self.drop2(self.fc2(x))


class SwiGLU(nn.Layer):
    """An MLP with a gate of its own: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, norm: bool = False, bias: bool = True) -> None:
        super().__init__()
        hidden_dim = int(cfg.embed_dim * cfg.mlp_ratio)
        self.fc1_g = linear(cfg.embed_dim, hidden_dim, bias)
        self.fc1_x = linear(cfg.embed_dim, hidden_dim, bias)
        self.act = make_act(cfg)
        self.drop1 = nn.Dropout(cfg.proj_drop_rate)
        self.norm = make_norm(cfg, hidden_dim, norm)
        self.fc2 = linear(hidden_dim, cfg.embed_dim, bias)
        self.drop2 = nn.Dropout(cfg.proj_drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.drop1(self.act(self.fc1_g(x)) * self.fc1_x(x)))
        return self.drop2(self.fc2(x))


MLPS = {"mlp": Mlp, "swiglu": SwiGLU, "swiglu_packed": SwiGLUPacked}


def make_mlp(cfg: Config) -> nn.Layer:
    """Make the MLP of a block."""
    return MLPS[cfg.mlp_layer](cfg, cfg.scale_mlp_norm, cfg.proj_bias)


def attend(q: Tensor, k: Tensor, v: Tensor, drop: nn.Layer) -> Tensor:
    """Attend: queries [B, h, N, d], keys and values [B, h, M, d] -> [B, N, h d]."""
    b, h, n, d = q.shape
    attn = (q * d**-0.5) @ k.transpose([0, 1, 3, 2])  # [B, h, N, M]
    x = drop(F.softmax(attn, -1)) @ v
    return x.transpose([0, 2, 1, 3]).reshape([b, n, h * d])


class Attention(nn.Layer):
    """Multi-head self-attention: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        dim = cfg.embed_dim
        self.num_heads = cfg.num_heads
        self.head_dim = dim // cfg.num_heads
        self.qkv = linear(dim, 3 * dim, cfg.qkv_bias)
        self.q_norm = make_norm(cfg, self.head_dim, cfg.qk_norm)
        self.k_norm = make_norm(cfg, self.head_dim, cfg.qk_norm)
        self.attn_drop = nn.Dropout(cfg.attn_drop_rate)
        self.norm = make_norm(cfg, dim, cfg.scale_attn_norm)
        self.proj = linear(dim, dim, cfg.proj_bias)
        self.proj_drop = nn.Dropout(cfg.proj_drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        qkv = self.qkv(x).reshape([b, n, 3, self.num_heads, self.head_dim])
        q, k, v = qkv.transpose([2, 0, 3, 1, 4]).unbind(0)  # each [B, h, N, d]
        x = attend(self.q_norm(q), self.k_norm(k), v, self.attn_drop)
        return self.proj_drop(self.proj(self.norm(x)))


class Block(nn.Layer):
    """Norm, attention, norm, MLP, with shortcuts: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, drop_path_rate: float) -> None:
        super().__init__()
        self.norm1 = make_norm(cfg, cfg.embed_dim)
        self.attn = Attention(cfg)
        self.ls1 = make_scale(cfg)
        self.drop_path1 = DropPath(drop_path_rate)
        self.norm2 = make_norm(cfg, cfg.embed_dim)
        self.mlp = make_mlp(cfg)
        self.ls2 = make_scale(cfg)
        self.drop_path2 = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class ResPostBlock(nn.Layer):
    """The norms at the end of each branch: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, drop_path_rate: float) -> None:
        super().__init__()
        self.attn = Attention(cfg)
        self.norm1 = make_norm(cfg, cfg.embed_dim)
        self.drop_path1 = DropPath(drop_path_rate)
        self.mlp = make_mlp(cfg)
        self.norm2 = make_norm(cfg, cfg.embed_dim)
        self.drop_path2 = DropPath(drop_path_rate)
        if cfg.init_values is not None:
            for norm in (self.norm1, self.norm2):
                nn.initializer.Constant(cfg.init_values)(norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.norm1(self.attn(x)))
        return x + self.drop_path2(self.norm2(self.mlp(x)))


class ParallelScalingBlock(nn.Layer):
    """Attention and MLP of the same norm and linear layer, side by side: [B, N, C] -> [B, N, C].

    Paper: Dehghani et al., "Scaling Vision Transformers to 22 Billion Parameters", 2023.
    """

    def __init__(self, cfg: Config, drop_path_rate: float) -> None:
        super().__init__()
        dim, hidden_dim = cfg.embed_dim, int(cfg.mlp_ratio * cfg.embed_dim)
        self.num_heads = cfg.num_heads
        self.head_dim = dim // cfg.num_heads
        self.in_split = [hidden_dim, dim, dim, dim]
        self.in_norm = make_norm(cfg, dim)
        self.in_proj = linear(dim, sum(self.in_split), cfg.qkv_bias)
        if not cfg.qkv_bias:
            self.mlp_bias = parameter(self, [hidden_dim])
            zeros_(self.mlp_bias)
        self.q_norm = make_norm(cfg, self.head_dim, cfg.qk_norm)
        self.k_norm = make_norm(cfg, self.head_dim, cfg.qk_norm)
        self.attn_drop = nn.Dropout(cfg.attn_drop_rate)
        self.mlp_drop = nn.Dropout(cfg.proj_drop_rate)
        self.mlp_act = make_act(cfg)
        self.attn_out_proj = linear(dim, dim, cfg.proj_bias)
        self.mlp_out_proj = linear(hidden_dim, dim, cfg.proj_bias)
        self.ls = make_scale(cfg)
        self.drop_path = DropPath(drop_path_rate)

    def heads(self, x: Tensor) -> Tensor:
        """Part the channels: [B, N, C] -> [B, h, N, d]."""
        b, n, _ = x.shape
        return x.reshape([b, n, self.num_heads, self.head_dim]).transpose([0, 2, 1, 3])

    def forward(self, x: Tensor) -> Tensor:
        mlp, q, k, v = self.in_proj(self.in_norm(x)).split(self.in_split, -1)
        if self.in_proj.bias is None:
            mlp = mlp + self.mlp_bias
        q, k = self.q_norm(self.heads(q)), self.k_norm(self.heads(k))
        y = self.attn_out_proj(attend(q, k, self.heads(v), self.attn_drop))
        y = y + self.mlp_out_proj(self.mlp_drop(self.mlp_act(mlp)))
        return x + self.drop_path(self.ls(y))


class Branch(nn.Layer):
    """One of the branches of ParallelThingsBlock: [B, N, C] -> [B, N, C]."""

    def __init__(self, cfg: Config, name: str, inner: nn.Layer, drop_path_rate: float) -> None:
        super().__init__()
        self.norm = make_norm(cfg, cfg.embed_dim)
        self.add_sublayer(name, inner)
        self.ls = make_scale(cfg)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class ParallelThingsBlock(nn.Layer):
    """Two attentions side by side, then two MLPs: [B, N, C] -> [B, N, C].

    Paper: Touvron et al., "Three things everyone should know about Vision Transformers", 2022.
    """

    def __init__(self, cfg: Config, drop_path_rate: float) -> None:
        super().__init__()
        self.attns = nn.LayerList(
            [Branch(cfg, "attn", Attention(cfg), drop_path_rate) for _ in range(2)]
        )
        self.ffns = nn.LayerList(
            [Branch(cfg, "mlp", make_mlp(cfg), drop_path_rate) for _ in range(2)]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attns[0](x) + self.attns[1](x)
        return x + self.ffns[0](x) + self.ffns[1](x)


BLOCKS = {
    "block": Block,
    "parallel_scaling": ParallelScalingBlock,
    "parallel_things": ParallelThingsBlock,
    "res_post": ResPostBlock,
}
