"""Two models of which the tensors fit and the blocks do not; and two of which nothing fits."""

from typing import Any


def torch_model() -> Any:
    """Build the PyTorch model: its first block ends with the activation."""
    import torch
    from torch import nn

    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.g = nn.Parameter(torch.ones(8, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.g * (x - x.mean(1, keepdim=True))

    class Block(nn.Module):
        def __init__(self, rate: float) -> None:
            super().__init__()
            self.rate = rate
            self.conv1 = nn.Conv2d(8, 8, 1)
            self.conv2 = nn.Conv2d(8, 8, 1)
            self.norm = Norm()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.conv2(self.conv1(x)))
            return x if self.rate else x.relu()

    stem = nn.Conv2d(3, 8, 4, 4)
    return nn.Sequential(stem, Block(0.0), Block(0.1), nn.Flatten(), nn.Linear(8 * 16 * 16, 3))


def paddle_model() -> Any:
    """Build the Paddle model: the activation is behind the block; the other one's rate differs."""
    import paddle
    from paddle import nn

    class Norm(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.scale = self.create_parameter([8, 1, 1])

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return self.scale * (x - x.mean(1, keepdim=True))

    class Block(nn.Layer):
        def __init__(self, rate: float) -> None:
            super().__init__()
            self.rate = rate
            self.conv1 = nn.Conv2D(8, 8, 1)
            self.conv2 = nn.Conv2D(8, 8, 1)
            self.norm = Norm()

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return self.norm(self.conv2(self.conv1(x)))

    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2D(3, 8, 4, 4)
            self.first = Block(0.0)
            self.second = Block(0.2)
            self.head = nn.Linear(8 * 16 * 16, 3)

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            x = nn.functional.relu(self.first(self.stem(x)))
            return self.head(self.second(x).flatten(1))

    return Model()


def torch_attention() -> Any:
    """Build the attention that PyTorch has, with one weight for query, key and value."""
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 16, 16)
            self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            x = self.stem(x).flatten(2).transpose(1, 2)
            return self.attn(x, x, x)[0]

    return Model()


def paddle_attention() -> Any:
    """Build the attention that Paddle has, with a layer for each."""
    from paddle import nn

    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2D(3, 8, 16, 16)
            self.attn = nn.MultiHeadAttention(8, 2)

        def forward(self, x: Any) -> Any:
            x = self.stem(x).flatten(2).transpose([0, 2, 1])
            return self.attn(x, x, x)

    return Model()
