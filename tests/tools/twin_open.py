"""Pairs of models that leave something open: which branch is which, or what is wrong."""

from typing import Any


def torch_branches() -> Any:
    """Build a residual block that wraps its shortcut alone."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(8, 4, 1)
            self.bn1 = nn.BatchNorm2d(4)
            self.conv3 = nn.Conv2d(4, 4, 1)
            self.bn3 = nn.BatchNorm2d(4)
            self.shortcut = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))

        def forward(self, x: Any) -> Any:
            x = self.bn1(self.conv1(x)).relu()
            return torch.sigmoid(self.bn3(self.conv3(x.relu()))) * self.shortcut(x.relu())

    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), Block(), nn.Flatten(), nn.Linear(4 * 256, 5))


def paddle_branches() -> Any:
    """Build it with all convolutions wrapped, names that mislead, and dots in some of them."""
    from paddle import nn

    class ConvNorm(nn.Layer):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.add_sublayer("conv.0", nn.Conv2D(width, 4, 1))
            self.add_sublayer("_bn.", nn.BatchNorm2D(4))

        def forward(self, x: Any) -> Any:
            return self._sub_layers["_bn."](self._sub_layers["conv.0"](x))

    class Block(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first = ConvNorm(8)
            self.shortcut = ConvNorm(4)
            self.other = ConvNorm(4)

        def forward(self, x: Any) -> Any:
            x = nn.functional.relu(self.first(x))
            main = self.shortcut(nn.functional.relu(x))  # the name of the other branch
            return nn.functional.sigmoid(main) * self.other(nn.functional.relu(x))

    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2D(3, 8, 4, 4)
            self.add_sublayer("blocks.0.", Block())
            self.head = nn.Linear(4 * 256, 5)

        def forward(self, x: Any) -> Any:
            return self.head(self._sub_layers["blocks.0."](self.stem(x)).flatten(1))

    return Model()


def torch_norms() -> Any:
    """Build blocks of attention; layers in them have the same shapes and the same input."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8, 1e-6)
            self.q, self.k, self.v = (nn.Linear(8, 8) for _ in "qkv")
            self.drop = nn.Dropout(0.1)

        def forward(self, x: Any) -> Any:
            y = self.norm(x)
            y = (self.q(y) @ self.k(y).transpose(1, 2)).softmax(2) @ self.v(y)
            return x + self.drop(y)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 16, 16)
            self.bn = nn.BatchNorm2d(8)
            self.blocks = nn.ModuleList([Block() for _ in range(3)])

        def forward(self, x: Any) -> Any:
            x = self.bn(self.stem(x)).flatten(2).transpose(1, 2)
            for block in self.blocks:
                x = block(x)
            return x

    return Model()


def paddle_norms() -> Any:
    """Build them with another epsilon, momentum and rate of dropout."""
    from paddle import nn

    class Block(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8, 1e-5)
            self.a, self.b, self.c = (nn.Linear(8, 8) for _ in "qkv")
            self.drop = nn.Dropout(0.2)

        def forward(self, x: Any) -> Any:
            y = self.norm(x)
            weights = nn.functional.softmax(self.a(y) @ self.b(y).transpose([0, 2, 1]), 2)
            return x + self.drop(weights @ self.c(y))

    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2D(3, 8, 16, 16)
            self.bn = nn.BatchNorm2D(8, momentum=0.1)
            self.blocks = nn.LayerList([Block() for _ in range(3)])

        def forward(self, x: Any) -> Any:
            x = self.bn(self.stem(x)).flatten(2).transpose([0, 2, 1])
            for block in self.blocks:
                x = block(x)
            return x

    return Model()
