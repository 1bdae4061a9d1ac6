"""Names and shapes of the models for which the benchmark makes files."""

Shapes = dict[str, tuple[int, ...]]


def vit(embed_dim: int, depth: int) -> Shapes:
    """Give the shapes of timm's VisionTransformer with patches of 16 pixels, in its order."""
    shapes: Shapes = {
        "cls_token": (1, 1, embed_dim),
        "pos_embed": (1, 197, embed_dim),
        **_layer("patch_embed.proj", embed_dim, 3, 16, 16),
    }
    for i in range(depth):
        shapes |= _layer(f"blocks.{i}.norm1", embed_dim)
        shapes |= _layer(f"blocks.{i}.attn.qkv", 3 * embed_dim, embed_dim)
        shapes |= _layer(f"blocks.{i}.attn.proj", embed_dim, embed_dim)
        shapes |= _layer(f"blocks.{i}.norm2", embed_dim)
        shapes |= _layer(f"blocks.{i}.mlp.fc1", 4 * embed_dim, embed_dim)
        shapes |= _layer(f"blocks.{i}.mlp.fc2", embed_dim, 4 * embed_dim)
    return shapes | _layer("norm", embed_dim) | _layer("head", 1000, embed_dim)


def _layer(name: str, *weight: int) -> Shapes:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


SHAPES: dict[str, Shapes] = {
    "vit_large_patch16_224": vit(1024, 24),  # 304 million numbers, 1.2 GB
    "vit_quick": vit(1024, 4),  # 0.2 GB, for trying the benchmark out
    "one_linear": {"head.weight": (24_576, 15_360), "head.bias": (24_576,)},  # 1.5 GB
    "ten_gb": vit(3072, 24),  # 10.9 GB
}
