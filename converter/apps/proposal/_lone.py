"""Why one model has a tensor that the other has not, as far as the way both run tells."""

from collections.abc import Iterator

from ...sides import NAMES, Side
from ...tables.kinds import Kind
from ...tables.table import may_lack
from ._outline import Leaf, Unit
from ._rows import STAYS

# The value with which a tensor does nothing, by the end of its name.
_NEUTRAL = {"bias": 0.0, "weight": 1.0}


def why_alone(side: Side, unit: Unit, leaf: Leaf, kind: Kind | None) -> str:
    """Say why the other model can do without a tensor; empty if nothing says so."""
    own, other = ("PyTorch", "Paddle") if side == "torch" else ("Paddle", "PyTorch")
    if leaf.computed:
        keeps = "; the Paddle model does not keep it" if side == "torch" else ""
        return f"computed when the {own} model is built{keeps}"
    if kind and not unit.calls and leaf.used is not True:
        return f"of a layer that the {own} model never runs and the {other} model does not have"
    if leaf.used is False:
        return f"the {own} model does not use it"
    # Of a known kind there is no such layer in PyTorch: its other tensors are without a row, too.
    bare = side == "paddle" and kind is None
    if bare and leaf.name.endswith("bias") and leaf.start == _NEUTRAL["bias"]:
        return STAYS[_NEUTRAL["bias"]]
    return ""


def one_sided(torch: Unit, paddle: Unit, kind: Kind) -> Iterator[tuple[Leaf, str, str]]:
    """Find what one of two paired layers lacks: a bias, or the scale of a norm.

    Yields:
        The tensor of the other, why Paddle may have it, or else the problem that it is.
    """
    for rule in kind.tensors:
        if rule.paddle is None or not may_lack(kind, rule.leaf):
            continue
        ours = next((leaf for leaf in torch.tensors if leaf.name == rule.leaf), None)
        theirs = next((leaf for leaf in paddle.tensors if leaf.name == rule.paddle), None)
        if (found := ours or theirs) is None or (ours and theirs):
            continue
        neutral = _NEUTRAL[rule.leaf]
        if theirs and theirs.used is False:
            yield theirs, "the Paddle model does not use it", ""
        elif theirs and theirs.start == neutral:
            yield theirs, STAYS[neutral], ""
        else:
            side: Side = "torch" if ours else "paddle"
            has, lacks = (torch, paddle) if ours else (paddle, torch)
            other: Side = "paddle" if ours else "torch"
            named = "" if has.name == lacks.name else f" {lacks.name}"
            yield (
                found,
                "",
                f"{NAMES[side]}'s {has.name} has a {rule.leaf} {list(found.shape)}, "
                f"{NAMES[other]}'s{named} has none: not the same function",
            )
