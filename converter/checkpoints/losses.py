"""What a cast to a narrower dtype lost: values too small for it, which became zero."""

from collections.abc import Mapping

from ..errors import some
from ._tensor import Tensor

Lost = dict[str, tuple[int, float]]  # name -> how many values, and the largest

_MOST_SHOWN = 4


def vanished(tensors: Mapping[str, Tensor]) -> Lost:
    """Find the tensors that were written with values that became zero."""
    found = {name: tensor.vanished() for name, tensor in tensors.items()}
    return {name: lost for name, lost in found.items() if lost[0]}


def describe_vanished(lost: Lost) -> str:
    """Say how many values became zero, and in which tensors, the largest first."""
    total = sum(count for count, _ in lost.values())
    worst = sorted(lost.items(), key=lambda item: -item[1][1])
    listed = [f"{name} ({count}, up to {most:.2g})" for name, (count, most) in worst]
    values = "1 value, not zero but too small for the dtype, became"
    if total > 1:
        values = f"{total} values, not zero but too small for the dtype, became"
    return f"{values} zero: {some(listed, _MOST_SHOWN)}"
