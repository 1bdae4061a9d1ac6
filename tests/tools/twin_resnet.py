"""The ResNet-18 of paddle.vision and a PyTorch twin of our own, called otherwise inside."""

from typing import Any

CLASSES = 7


def paddle_model() -> Any:
    """Build paddle.vision's own."""
    from paddle.vision.models import resnet18

    return resnet18(pretrained=False, num_classes=CLASSES)


def torch_model() -> Any:
    """Build the twin."""
    return _twin()


def torch_without_relu() -> Any:
    """Build the twin without the last activation of its blocks."""
    return _twin(last=False)


def torch_with_early_stride() -> Any:
    """Build the twin with the stride of a block in its second convolution."""
    return _twin(late_stride=True)


def _twin(last: bool = True, late_stride: bool = False) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    class Shortcut(nn.Module):
        def __init__(self, before: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(before, width, 1, stride, bias=False)
            self.bn = nn.BatchNorm2d(width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.bn(self.conv(x))

    class Block(nn.Module):
        def __init__(self, before: int, width: int, stride: int) -> None:
            super().__init__()
            strides = (1, stride) if late_stride else (stride, 1)
            self.shortcut = Shortcut(before, width, stride) if stride > 1 else None
            self.first = nn.Conv2d(before, width, 3, strides[0], 1, bias=False)
            self.first_norm = nn.BatchNorm2d(width)
            self.second = nn.Conv2d(width, width, 3, strides[1], 1, bias=False)
            self.second_norm = nn.BatchNorm2d(width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # Before the others, where Paddle's runs behind them.
            around = x if self.shortcut is None else self.shortcut(x)
            x = functional.relu(self.first_norm(self.first(x)))
            x = self.second_norm(self.second(x)) + around
            return functional.relu(x) if last else x

    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem_conv = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.stem_norm = nn.BatchNorm2d(64)
            self.act = nn.ReLU()
            self.pool = nn.MaxPool2d(3, 2, 1)
            self.stages = nn.ModuleList(
                nn.ModuleList([Block(before, width, stride), Block(width, width, 1)])
                for before, width, stride in (
                    (64, 64, 1),
                    (64, 128, 2),
                    (128, 256, 2),
                    (256, 512, 2),
                )
            )
            self.classifier = nn.Linear(512, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.pool(self.act(self.stem_norm(self.stem_conv(x))))
            for stage in self.stages:
                for block in stage:  # type: ignore[attr-defined]  # a ModuleList
                    x = block(x)
            return self.classifier(x.mean([2, 3]))

    return Twin()
