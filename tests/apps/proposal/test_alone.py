"""What one model alone has gets an entry with its reason, or is a clear problem."""

import tomllib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conftest import TOOLS
from vitconvert.apps.proposal import propose_table
from vitconvert.apps.proposal._match import match_outlines
from vitconvert.apps.proposal._outline import Leaf, Outline, Unit
from vitconvert.apps.proposal._rows import Match
from vitconvert.apps.proposal._unused import uses
from vitconvert.running.setup import Setup, Subject
from vitconvert.running.side import make_side
from vitconvert.sides import Side
from vitconvert.tables import reading

CLASSES: dict[Side, dict[str, str]] = {
    "torch": {"conv": "torch.nn.Conv2d", "linear": "torch.nn.Linear", "norm": "torch.nn.LayerNorm"},
    "paddle": {
        "conv": "paddle.nn.Conv2D",
        "linear": "paddle.nn.Linear",
        "norm": "paddle.nn.LayerNorm",
    },
}


def model(side: Side, *layers: tuple[str, str, list[Leaf]], bare: tuple[Leaf, ...] = ()) -> Outline:
    """Make an outline of layers that run one after another: name, class, tensors."""
    units = [Unit("", "a.Model", bare, 1, None, None)]
    for place, (name, what, leaves) in enumerate(layers):
        turned = [
            replace(
                leaf,
                shape=leaf.shape[::-1] if side == "paddle" and what == "linear" else leaf.shape,
            )
            for leaf in leaves
        ]
        units.append(Unit(name, CLASSES[side][what], tuple(turned), 1, place, place))
    return Outline(side, f"{side}:model", "0", tuple(units))


def weight(*shape: int) -> Leaf:
    return Leaf("weight", shape, used=True)


def bias(size: int, start: float | None = 0.0) -> Leaf:
    return Leaf("bias", (size,), start=start, used=True)


def rows(found: Match) -> list[tuple[str, str, str]]:
    return [(row.torch, row.paddle, row.kind) for row in found.rows]


# -- the matching


def test_a_bias_that_paddle_lacks_is_another_function() -> None:
    """The layers are paired all the same, and the problem says so in a line."""
    found = match_outlines(
        model(
            "torch",
            ("proj", "conv", [weight(8, 3, 2, 2), bias(8)]),
            ("fc", "linear", [weight(5, 8)]),
        ),
        model("paddle", ("conv", "conv", [weight(8, 3, 2, 2)]), ("fc", "linear", [weight(5, 8)])),
    )

    assert rows(found) == [("proj", "conv", "conv2d"), ("fc", "fc", "linear")]
    assert found.problems == [
        "PyTorch's proj has a bias [8], Paddle's conv has none: not the same function"
    ]


def test_a_bias_that_pytorch_lacks_is_one_while_it_is_0() -> None:
    """Which one pairs with which is decided by the order of execution."""
    torch = [(f"fc{i}", "linear", [weight(4, 4)]) for i in range(3)]
    paddle = [(f"l{i}", "linear", [weight(4, 4), bias(4)]) for i in range(3)]

    found = match_outlines(model("torch", *torch), model("paddle", *paddle))

    assert rows(found) == [(f"fc{i}", f"l{i}", "linear") for i in range(3)]
    stays = "PyTorch's layer has none; it stays 0"
    assert found.paddle_only == {f"l{i}.bias": stays for i in range(3)}
    assert not found.problems


def test_a_norm_without_scale_is_paired_with_one_that_has_it() -> None:
    """Its scale starts at 1, its bias at 0."""
    norm = [Leaf("weight", (4,), start=1.0), bias(4)]
    fc = ("fc", "linear", [weight(4, 4)])

    found = match_outlines(
        model("torch", ("a", "norm", []), fc), model("paddle", ("b", "norm", norm), fc)
    )

    assert rows(found)[0] == ("a", "b", "layer_norm")
    assert [why[-1] for why in found.paddle_only.values()] == ["1", "0"]
    assert not found.problems


@pytest.mark.parametrize("start", [None, 0.5])
def test_a_bias_that_does_not_start_at_0_is_another_function(start: float | None) -> None:
    """Nothing says that it will ever be 0."""
    found = match_outlines(
        model("torch", ("fc", "linear", [weight(4, 4)])),
        model("paddle", ("fc", "linear", [weight(4, 4), bias(4, start)])),
    )

    assert not found.paddle_only
    assert found.problems == [
        "Paddle's fc has a bias [4], PyTorch's has none: not the same function"
    ]


def test_a_layer_that_pytorch_lacks_is_a_problem_with_all_its_tensors() -> None:
    """Its bias is no bias of a layer that PyTorch has."""
    fc = ("fc", "linear", [weight(4, 4)])
    norm = ("n", "norm", [Leaf("weight", (4,), start=1.0, used=True), bias(4)])

    found = match_outlines(model("torch", fc), model("paddle", fc, norm))

    assert not found.paddle_only
    assert len(found.problems) == 2


def test_bare_tensors_are_paired_only_with_their_like() -> None:
    """An index is no table of weights, and what nothing uses is no part of the function."""
    found = match_outlines(
        model("torch", bare=(Leaf("scale", (4,), used=True), Leaf("old", (7,), used=False))),
        model(
            "paddle",
            bare=(
                Leaf("index", (4,), computed=True, integer=True),
                Leaf("spare", (4,), used=False),
                Leaf("gamma", (4,), used=True),
                Leaf("proj", (3, 2), used=None),
            ),
        ),
    )

    assert rows(found) == [("scale", "gamma", "param")]
    assert found.ignore == {"old": "the PyTorch model does not use it"}
    assert found.paddle_only == {
        "index": "computed when the Paddle model is built",
        "spare": "the Paddle model does not use it",
    }
    (problem,) = found.problems  # nothing is known of it
    assert str(problem).startswith("Paddle proj [3, 2]")


# -- what a model uses


SPARES = """
def {side}_model():
    import {side}
    from {side} import nn

    class Model(nn.{base}):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.frozen = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x):
            x = x.flatten(2).mean(2)
            return {returned}

    return Model()
"""


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("side", ["torch", "paddle"])
@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        # Times 0 it still is a part of the function; detached, its gradients alone are not.
        (
            "[self.a(x) + 0 * self.b(x)]",
            {"a": True, "b": True, "frozen": False},
        ),
        (
            '{"out": self.a(x) + self.frozen(x).detach()}',
            {"a": True, "b": None, "frozen": None},
        ),
        ("self.a(x).detach()", {"a": None, "b": None, "frozen": None}),
        ("float('nan') * self.a(x)", {"a": True, "b": None, "frozen": None}),
        # A model that takes two images may not take one: nothing is known.
        ("[self.a(x)][len(x)]", {"a": None, "b": None, "frozen": None}),
    ],
)
def test_what_the_output_depends_on(
    side: Side,
    returned: str,
    expected: dict[str, bool | None],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By gradients, and where there are none, by a change that must not show."""
    name = f"spares_{side}_{len(returned)}"
    base = {"torch": "Module", "paddle": "Layer"}[side]
    text = SPARES.replace("{side}", side).replace("{base}", base).replace("{returned}", returned)
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    framework = make_side(Setup(side, Subject(f"{name}:{side}_model"), device="cpu"))

    with framework.floating("float64"):
        found = uses(framework, framework.build("float64"), np.ones((1, 3, 2, 2)))

    assert {key: found.get(f"{key}.weight") for key in expected} == expected


# -- both models, run


@pytest.mark.torch
@pytest.mark.paddle
def test_a_pair_with_tensors_of_its_own_on_either_side_is_proved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Index, mask, spare, a layer that never runs, biases that stay 0: each has its reason."""
    monkeypatch.chdir(TOOLS)
    proposal = propose_table(
        "twin_alone:torch_model", "twin_alone:paddle_model", input_size=(64, 64)
    )

    assert proposal.proved
    never = "of a layer that the Paddle model never runs and the PyTorch model does not have"
    zero, one = (f"PyTorch's layer has none; it stays {value}" for value in (0, 1))
    written = tomllib.loads(proposal.text)
    assert written["ignore"] == {"logit_scale": "the PyTorch model does not use it"}
    assert written["paddle_only"] == {
        "proj": "the Paddle model does not use it",
        "blocks.{i}.attn_mask": "computed when the Paddle model is built",
        "blocks.{i}.attn.relative_position_index": "computed when the Paddle model is built",
        "teacher.weight": never,
        "teacher.bias": never,
        "patch_embed.bias": zero,
        "blocks.{i}.norm.weight": one,
        "blocks.{i}.norm.bias": zero,
        "blocks.{i}.attn.qkv.bias": zero,
    }
    assert len(proposal.undecided) == 4
    assert (
        "Paddle's patch_embed.bias, which PyTorch lacks: the same function only while"
        in (proposal.undecided[0])
    )
    path = tmp_path / "net.toml"
    path.write_text(proposal.text)
    assert reading.read_table(path).paddle_only == written["paddle_only"]
    assert "# undecided: the same function only while it is 0" in proposal.text
    report = proposal.report
    assert report is not None
    compared = [lone.reference for lone in report.paddle_only if lone.reference]
    assert compared == [f"blocks.{i}.attn.relative_position_index" for i in (0, 1)]
