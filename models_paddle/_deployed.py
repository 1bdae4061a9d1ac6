"""Replacements for layers of a deployed model: the same function, cheaper on a CPU.

Nothing here is trained, and no file holds such layers: `for_deployment` makes them from the layers
of a loaded model. Each docstring says why its layer is cheaper, as measured with Paddle 3.3.1,
float32, two threads of an x86 CPU with AVX-512, oneDNN on.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from . import litv2, shiftvit, shunted


class ConvMlp(nn.Layer):
    """Two linear layers and the depthwise convolution between: [B, N, C] -> [B, N, C].

    The linear layers become 1x1 convolutions, so that the wide map in the middle keeps oneDNN's
    preferred layout throughout: 3 times as fast as converting it to tokens and back to a map. If
    the depthwise output is added to its own input, the centre of the kernel grows by one instead.
    """

    def __init__(self, mlp: litv2.DWMlp | shunted.Mlp, adds_itself: bool) -> None:
        super().__init__()
        self.fc1, self.fc2 = as_conv(mlp.fc1), as_conv(mlp.fc2)
        self.dwconv = mlp.dwconv.dwconv
        if adds_itself:
            hidden_dim = self.dwconv.weight.shape[0]
            self.dwconv = nn.Conv2D(hidden_dim, hidden_dim, 3, 1, 1, groups=hidden_dim)
            kernel = mlp.dwconv.dwconv.weight.numpy()
            kernel[:, :, 1, 1] += 1
            self.dwconv.weight.set_value(kernel)
            self.dwconv.bias.set_value(mlp.dwconv.dwconv.bias)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        """Compute what the MLP computes in evaluation."""
        x = x.transpose([0, 2, 1]).reshape([-1, x.shape[2], h, w])
        x = self.fc2(F.gelu(self.dwconv(self.fc1(x))))
        return x.flatten(2).transpose([0, 2, 1])


def as_conv(linear: nn.Linear) -> nn.Conv2D:
    """Make a 1x1 convolution equal to a linear layer."""
    ins, outs = linear.weight.shape
    conv = nn.Conv2D(ins, outs, 1)
    conv.weight.set_value(linear.weight.numpy().T.reshape([outs, ins, 1, 1]))
    conv.bias.set_value(linear.bias)
    return conv


class ConvShift(nn.Layer):
    """The shift of ShiftViT as a depthwise convolution: [B, C, H, W] -> [B, C, H, W].

    Each kernel is a single 1 among zeros, so the result is exact. It takes one pass in the layout
    of the neighbouring convolutions; oneDNN lacks the negative padding of `shiftvit.Shift`.
    """

    def __init__(self, shift: shiftvit.Shift, dim: int) -> None:
        super().__init__()
        g = dim // shift.n_div
        kernel = np.zeros([dim, 1, 3, 3], paddle.get_default_dtype())
        for i, (row, column) in enumerate([(1, 2), (1, 0), (2, 1), (0, 1)]):
            kernel[i * g : (i + 1) * g, 0, row, column] = 1
        kernel[4 * g :, 0, 1, 1] = 1
        self.conv = nn.Conv2D(dim, dim, 3, 1, 1, groups=dim, bias_attr=False)
        self.conv.weight.set_value(kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Move four groups of channels by one pixel."""
        return self.conv(x)


class SampledConv(nn.Layer):
    """The deformable convolution of LITv2: [B, C, H, W] -> [B, 2C, H/2, W/2].

    First a map of all samples, then a plain 2x2 convolution of it: 2 times as fast as Paddle's
    operator, for which oneDNN has no kernel.
    """

    def __init__(self, conv: litv2.DeformConv2d) -> None:
        super().__init__()
        outs, ins = conv.weight.shape[:2]
        self.conv_offset = conv.conv_offset
        self.conv = nn.Conv2D(ins, outs, 2, 2)
        self.conv.weight.set_value(conv.weight)
        self.conv.bias.set_value(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Sample where the offsets say, then convolve."""
        h, w = x.shape[2], x.shape[3]
        rows, columns = h // 2, w // 2  # of the output
        offset = self.conv_offset(x).reshape([-1, 2, 2, 2, rows, columns])
        offset = offset.transpose([0, 4, 1, 5, 2, 3]).reshape([-1, 2 * rows, 2 * columns, 2])
        down, right = offset.unbind(-1)  # pixels, each [B, 2 * rows, 2 * columns]
        y = down + paddle.arange(2 * rows, dtype=offset.dtype).reshape([1, 2 * rows, 1])
        x_ = right + paddle.arange(2 * columns, dtype=offset.dtype).reshape([1, 1, 2 * columns])
        # In units of half the image, from its centre: -1 and 1 are its edges.
        places = paddle.stack([(2 * x_ + 1) / w - 1, (2 * y + 1) / h - 1], -1)
        return self.conv(F.grid_sample(x, places, align_corners=False))


def for_deployment(model: nn.Layer) -> None:
    """Replace layers of a loaded model by cheaper ones that compute the same in evaluation."""
    for layer in model.sublayers(include_self=True):
        if isinstance(layer, litv2.ConvFFNBlock | litv2.Block):
            layer.add_sublayer("mlp", ConvMlp(layer.mlp, adds_itself=False))
        elif isinstance(layer, shunted.Block):
            layer.add_sublayer("mlp", ConvMlp(layer.mlp, adds_itself=True))
        elif isinstance(layer, litv2.DTM):
            layer.add_sublayer("dconv", SampledConv(layer.dconv))
        elif isinstance(layer, shiftvit.Block):
            layer.add_sublayer("shift", ConvShift(layer.shift, layer.mlp.fc1.weight.shape[1]))
    model.eval()
