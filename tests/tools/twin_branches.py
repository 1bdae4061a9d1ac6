"""Two models of which shapes, order and names do not tell what belongs to what."""

from typing import Any


def torch_model() -> Any:
    """Build the PyTorch model: branches a and b, two bare tensors, two layers that never run."""
    import torch
    from torch import nn

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3)
            self.a = nn.Conv2d(8, 8, 3)
            self.a_norm = nn.BatchNorm2d(8)
            self.b = nn.Conv2d(8, 8, 3)
            self.b_norm = nn.BatchNorm2d(8)
            self.p = nn.Parameter(torch.ones(8, 1, 1))
            self.q = nn.Parameter(torch.ones(8, 1, 1))
            self.spare = nn.Linear(4, 4)
            self.unused = nn.Linear(4, 4)
            self.extra = nn.Linear(6, 6)
            self.head = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            x = self.p * self.a_norm(self.a(x)) - self.q * 2 * self.b_norm(self.b(x)).abs()
            return self.head(x.mean([2, 3]))

    return Branches()


def paddle_model() -> Any:
    """Build the Paddle model; it runs the branch first that PyTorch runs last."""
    import paddle
    from paddle import nn

    class Branches(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2D(3, 8, 3)
            self.left = nn.Conv2D(8, 8, 3)
            self.left_bn = nn.BatchNorm2D(8)
            self.right = nn.Conv2D(8, 8, 3)
            self.right_bn = nn.BatchNorm2D(8)
            self.y = self.create_parameter([8, 1, 1])
            self.z = self.create_parameter([8, 1, 1])
            self.one = nn.Linear(4, 4)
            self.two = nn.Linear(4, 4)
            self.head = nn.Linear(8, 5)

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            x = self.stem(x)
            right = self.right_bn(self.right(x)).abs() * 2 * self.y
            left = self.left_bn(self.left(x))
            return self.head((left * self.z - right).mean([2, 3]))

    return Branches()
