"""A PyTorch model, and the same as PaConvert rewrites it: some classes are Paddle's second ones.

Each function imports the framework that it needs: one module serves both processes.
"""

from typing import Any


def torch_model() -> Any:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
            self.bn = nn.BatchNorm2d(8, eps=1e-3)
            self.pool = nn.AvgPool2d(3, 2, 1)
            self.fc1, self.fc2 = nn.Linear(8, 8), nn.Linear(8, 8)
            self.gate = nn.Softmax(dim=-1)

        def forward(self, x: torch.Tensor) -> Any:
            x = self.pool(self.bn(self.stem(x))).mean([2, 3])
            return self.fc2(self.gate(self.fc1(x)))

    return Net()


def paddle_model() -> Any:
    import paddle

    class Net(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.stem = paddle.nn.Conv2D(3, 8, 3, 2, 1, bias_attr=False)
            self.bn = paddle.nn.BatchNorm2D(num_features=8, epsilon=1e-3)
            self.pool = paddle.compat.nn.AvgPool2d(3, 2, 1)
            self.fc1, self.fc2 = paddle.compat.nn.Linear(8, 8), paddle.nn.Linear(8, 8)
            self.gate = paddle.compat.nn.Softmax(dim=-1)

        def forward(self, x: Any) -> Any:
            x = self.pool(self.bn(self.stem(x))).mean([2, 3])
            return self.fc2(self.gate(self.fc1(x)))

    return Net()
