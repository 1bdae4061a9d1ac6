"""Deformable convolution for torch: the operator that `paddle.vision.ops` provides.

Paper: Dai et al., "Deformable Convolutional Networks", ICCV 2017 (no mask: version 1).
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor


def deform_conv2d(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Convolve at shifted positions, without padding: [B, C, H, W] -> [B, out, H', W'].

    Uses torchvision's compiled operator where it loads, else `plain_deform_conv2d`.

    Args:
        x: Maps [B, C, H, W].
        offset: Pixels [B, 2 * kh * kw, H', W'] to add to the positions of the kernel's points:
            for each point, row by row, first down and then right.
        weight: Kernel [out, C, kh, kw].
        bias: [out].
        stride: Pixels between neighbouring outputs, in both directions.
    """
    # torch.compile cannot follow an import, but it fuses the plain form.
    compiled = None if torch.compiler.is_compiling() else compiled_deform_conv2d()
    if compiled is None or x.dtype == torch.bfloat16:  # which torchvision lacks
        return plain_deform_conv2d(x, offset, weight, bias, stride)
    return compiled(x, offset, weight, bias, stride)


@cache
def compiled_deform_conv2d() -> Callable[..., Tensor] | None:
    """Give torchvision's operator; None without torchvision, or where its compiled part fails.

    torchvision's CUDA wheel beside a CPU build of torch is installed but cannot be imported.
    """
    if find_spec("torchvision") is None:
        return None
    try:
        from torchvision.ops import deform_conv2d as compiled

        torch.ops.torchvision.deform_conv2d  # noqa: B018  raises AttributeError if missing
    except (ImportError, RuntimeError, AttributeError, OSError):
        return None
    return compiled


def plain_deform_conv2d(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, stride: int
) -> Tensor:
    """Compute `deform_conv2d` in plain PyTorch: any device, floating type and batch size.

    A sample between pixels is interpolated bilinearly. Pixels outside the image are 0, and so is
    a sample a whole pixel or more outside.

    Beside torchvision's compiled operator (torch 2.13, torchvision 0.28, float32, one and two CPU
    threads; the three merges of LITv2-S, 2 and 16 images) it took 0.4 to 1.0 times as long, and
    0.2 to 0.5 times with gradients. The two have not been compared on a GPU.
    """
    b, c, h, w = x.shape
    out, _, kh, kw = weight.shape
    ho, wo = offset.shape[2:]
    # Where the points of the kernel sample, down and right: each [B, H', W', kh * kw]. Half
    # precision has no fractions left at the far side of a map.
    offset = offset.to(torch.promote_types(offset.dtype, torch.float32))
    down, right = offset.permute([0, 2, 3, 1]).reshape([b, ho, wo, kh * kw, 2]).unbind(-1)
    rows, columns, points = (torch.arange(n, device=x.device) for n in (ho, wo, kh * kw))
    y, below = _split(down + (rows[:, None, None] * stride + points // kw), h)
    x_, beside = _split(right + (columns[:, None] * stride + points % kw), w)
    # Pixels as rows of a table, with a border of zeros; the four around a sample lie close by.
    table = F.pad(x, [1, 1, 1, 1]).permute([0, 2, 3, 1]).reshape([-1, c])
    image = torch.arange(b, device=x.device)[:, None, None, None]
    first = ((image * (h + 2) + y) * (w + 2) + x_).flatten()
    samples = torch.zeros([], dtype=x.dtype, device=x.device)
    for step_y, share_y in ((0, 1 - below), (1, below)):
        for step_x, share_x in ((0, 1 - beside), (1, beside)):
            pixels = table.index_select(0, first + (step_y * (w + 2) + step_x))
            samples = samples + pixels * (share_y * share_x).to(x.dtype).reshape([-1, 1])
    samples = samples.reshape([b, ho, wo, kh * kw * c])
    kernel = weight.permute([0, 2, 3, 1]).reshape([out, kh * kw * c])
    return F.linear(samples, kernel, bias).permute([0, 3, 1, 2])


def _split(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Split positions into the pixel before, counted with a border of one, and the fraction after.

    Positions a whole pixel or more outside, or not a number, move onto the border.
    """
    inside = (position > -1) & (position < size)
    position = torch.where(inside, position, -1.0)
    before = position.floor()
    return before.long() + 1, position - before
