"""Two models of which each has tensors that the other has not: indices, masks, a spare, a bias."""

from typing import Any


def torch_model() -> Any:
    """Build the PyTorch model: it keeps what it looks up by an index that is not saved."""
    import torch
    from torch import nn

    class Attention(nn.Module):
        relative_position_index: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            at = torch.arange(4)
            index = at[:, None] - at + 3
            self.register_buffer("relative_position_index", index, persistent=False)
            self.table = nn.Parameter(torch.zeros(7, 1))
            self.qkv = nn.Linear(8, 8, bias=False)
            self.kept: dict[torch.dtype, torch.Tensor] = {}

        def forward(self, x: Any) -> Any:
            if x.dtype not in self.kept:
                bias = self.table[self.relative_position_index.view(-1)].view(4, 4)
                self.kept[x.dtype] = bias
            return self.kept[x.dtype] @ self.qkv(x)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8, elementwise_affine=False)
            self.attn = Attention()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            return self.fc(x + self.attn(self.norm(x)))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch_embed = nn.Conv2d(3, 8, 32, 32, bias=False)
            self.blocks = nn.ModuleList([Block(), Block()])
            self.head = nn.Linear(8, 5)
            self.logit_scale = nn.Parameter(torch.ones([]))

        def forward(self, x: Any) -> Any:
            x = self.patch_embed(x).flatten(2).transpose(1, 2)
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean(1))

    return Model()


def paddle_model() -> Any:
    """Build the Paddle model: it saves index and mask, has a spare tensor, and a bias that is 0."""
    import paddle
    from paddle import nn

    class Attention(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            at = paddle.arange(4)
            index = at.unsqueeze(1) - at + 3
            self.register_buffer("relative_position_index", index)
            self.table = self.create_parameter([7, 1])
            self.qkv = nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            bias = self.table[self.relative_position_index.reshape([-1])].reshape([4, 4])
            return bias @ self.qkv(x)

    class Block(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("attn_mask", paddle.to_tensor([0, 1, 1, 0]))
            self.norm = nn.LayerNorm(8)
            self.attn = Attention()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            return self.fc(x + self.attn(self.norm(x)))

    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.patch_embed = nn.Conv2D(3, 8, 32, 32)
            self.blocks = nn.LayerList([Block(), Block()])
            self.head = nn.Linear(8, 5)
            self.proj = self.create_parameter([8, 5])
            self.teacher = nn.Linear(5, 5)

        def forward(self, x: Any) -> Any:
            x = self.patch_embed(x).flatten(2).transpose([0, 2, 1])
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean(1))

    return Model()
