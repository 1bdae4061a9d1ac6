"""Outlines of models that are not there, and what is paired in them."""

from collections.abc import Sequence
from typing import Any

from vitconvert.apps.proposal._match import match_outlines
from vitconvert.apps.proposal._outline import Leaf, Outline, Unit
from vitconvert.apps.proposal._rows import Match
from vitconvert.sides import Side

CLASSES = {
    "torch": {"conv": "torch.nn.Conv2d", "linear": "torch.nn.Linear", "relu": "torch.nn.ReLU"},
    "paddle": {"conv": "paddle.nn.Conv2D", "linear": "paddle.nn.Linear", "relu": "paddle.nn.ReLU"},
}


def unit(name: str, what: str, *shape: int, **how: object) -> dict[str, Any]:
    """Describe one layer; a shape is that of its weight as PyTorch has it."""
    usual = {"fed": (), "gives": (), "calls": 1, "inside": ""}
    return {"name": name, "what": what, "shape": shape, **usual, **how}


def outline(side: Side, *layers: dict[str, Any], bare: Sequence[Leaf] = ()) -> Outline:
    """Make an outline of layers in the order in which they run; an outer one before its parts."""
    made, ran = [Unit("", "a.Model", tuple(bare))], 0
    for place, layer in enumerate(layers):
        what, shape = layer["what"], layer["shape"]
        if side == "paddle" and what == "linear":
            shape = shape[::-1]
        depth = layer["name"].count(".")
        # An outer layer ends behind its parts; as all are in order, by depth is enough.
        place_left = sum(other["name"].startswith(f"{layer['name']}.") for other in layers) + place
        runs = layer["calls"] > 0
        made.append(
            Unit(
                layer["name"],
                CLASSES[side].get(what, what),
                (Leaf("weight", shape),) if shape else (),
                layer["calls"],
                ran if runs else None,
                place_left * 10 - depth if runs else None,
                layer["inside"],
                tuple(layer["fed"]),
                tuple(layer["gives"]),
            )
        )
        ran += runs
    return Outline(side, f"{side}:model", "0", tuple(made))


def match(torch: Sequence[dict[str, Any]], paddle: Sequence[dict[str, Any]]) -> Match:
    return match_outlines(outline("torch", *torch), outline("paddle", *paddle))


def paired(found: Match) -> dict[str, str]:
    return {row.torch: row.paddle for row in found.rows}


def doubtful(found: Match) -> set[str]:
    return {row.torch for row in found.rows if row.undecided}
