"""Ways past the checker that were found, and correct pairs that it refused: none is left."""

from pathlib import Path

import numpy as np
import pytest

from conftest import known
from tracing import compared_sources, noise
from vitconvert import ParityError, Report, TableError, check_parity
from vitconvert.parity import Pair

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

TORCH = """
from dataclasses import dataclass
from typing import Any, NamedTuple
import torch
from torch import nn

class Two(NamedTuple):
    a: Any
    b: Any

@dataclass
class Out:
    y: Any

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x, scale=1.0):
        return Two(self.fc(x) * scale, 3)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.block = Block()
        self.gate = nn.Parameter(torch.zeros(()))
        # built

    def forward(self, x):
        x = self.conv(x).mean((2, 3))
        x = self.block(x, 2.0).a + self.gate
        return x

def net():
    model = Net()
    # made
    return model
"""
PADDLE = (
    TORCH.replace("import torch\nfrom torch import nn", "import paddle\nfrom paddle import nn")
    .replace("nn.Module", "nn.Layer")
    .replace("Conv2d", "Conv2D")
    .replace("nn.Parameter(torch.zeros(()))", "self.create_parameter([])")
    .replace("mean((2, 3))", "mean([2, 3])")
)
TABLE = """
rows = [
  ["conv",     "conv",     "conv2d"],
  ["block.fc", "block.fc", "linear"],
  ["block",    "block",    "block"],
  ["gate",     "gate",     "param"],
]
"""


def state() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"conv.weight": (8, 3, 3, 3), "conv.bias": (8,), "gate": ()}
    shapes |= {"block.fc.weight": (8, 8), "block.fc.bias": (8,)}
    return {key: np.asarray(rng.standard_normal(shape), "f4") for key, shape in shapes.items()}


class Case:
    """A pair of models that the tests change; both are run in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.torch, self.paddle, self.table = TORCH, PADDLE, TABLE
        self.torch_state = state()
        self.paddle_state = state() | {"block.fc.weight": state()["block.fc.weight"].T.copy()}

    def change(self, old: str, new: str, paddle: str | None = None) -> "Case":
        """Change both models, Paddle's otherwise if it is said."""
        assert old in self.torch
        assert old in self.paddle
        self.torch = self.torch.replace(old, new)
        self.paddle = self.paddle.replace(old, new if paddle is None else paddle)
        return self

    def compare(self, alone: bool = True, backward: bool = False) -> Report:
        """Trace both and compare."""
        return compared_sources(
            self.folder,
            {"torch": self.torch, "paddle": self.paddle},
            {"torch": self.torch_state, "paddle": self.paddle_state},
            self.table,
            noise((2, 3, 8, 8)),
            alone,
            backward,
        )


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return Case(tmp_path)


def test_the_pair_is_proved_as_it_is(case: Case) -> None:
    """A named tuple, a number among outputs, a parameter without axes."""
    report = case.compare(backward=True)

    assert report.proved
    assert [layer.layer for layer in report.layers] == ["conv", "block.fc", "block", "model output"]


@pytest.mark.parametrize(
    ("old", "new", "paddle", "alone"),
    [
        ("# made", "", "model.register_forward_post_hook(lambda l, i, o: o * 2)", True),
        (
            "    def forward(self, x):",
            "    def __call__(self, x):\n        return super().__call__(x)\n\n"
            "    def forward(self, x):",
            "    def __call__(self, x):\n        return super().__call__(x) * 2\n\n"
            "    def forward(self, x):",
            True,
        ),
        ("return x\n", "return x, Out(x)\n", "return x, Out(x * 2)\n", True),
        ("return x\n", "return {'a': x, 'b': 2 * x}\n", "return {'b': x, 'a': 2 * x}\n", False),
        ("return x\n", "return [x, [2 * x]]\n", "return [[2 * x], x]\n", False),
        ("return x\n", "return x, float(x.sum())\n", "return x, float(x.sum()) + 1e-6\n", False),
        ("return x\n", "return x.detach().numpy()\n", "return x.numpy() * 2\n", True),
        ("return x\n", "return object()\n", "return object()\n", True),
        ("return x\n", "return None\n", "return None\n", True),
        ("return x\n", "return x[:, :0]\n", "return x[:, :0] if x.shape else x[0]\n", False),
    ],
)
def test_no_output_escapes(old: str, new: str, paddle: str, alone: bool, case: Case) -> None:
    """What the call of the model gives is compared whole, whatever it is built of."""
    case.change(old, new, paddle)
    if "[:, :0]" in new:
        assert not case.compare(alone).proved  # of nothing, there is nothing to prove
        return
    assert case.compare(alone).verdict == "NOT PROVED"


def test_numbers_that_count_are_equal_or_not(case: Case) -> None:
    """No rounding, however large they are."""
    big = "(x * 0).{cast} + 10**11"
    torch, paddle = (big.format(cast=c) for c in ("long()", "astype('int64')"))
    case.torch = case.torch.replace("return x\n", f"return x, {torch}\n")
    case.paddle = case.paddle.replace("return x\n", f"return x, {paddle} + 5\n")

    assert not case.compare().proved


def test_change_behind_the_back_of_torch_is_recorded(case: Case) -> None:
    """`.data` is changed, which nothing counts."""
    case.torch = case.torch.replace(
        "return Two(self.fc(x) * scale, 3)",
        "y = self.fc(x); y.data.mul_(2); return Two(y * scale, 3)",
    )
    assert not case.compare().proved


def test_live_parameter_cannot_be_ignored(case: Case) -> None:
    """It is loaded all the same, and shows."""
    case.table = case.table.replace('  ["gate",     "gate",     "param"],\n', "")
    case.table += '[ignore]\ngate = "not needed"\n'
    del case.paddle_state["gate"]
    case.paddle = case.paddle.replace("self.gate = self.create_parameter([])", "self.gate = 0")

    assert not case.compare().proved


def test_row_that_matches_nothing_is_told(case: Case) -> None:
    """A misspelt row would take its layer out of the proof."""
    case.table = case.table.replace('["block",    "block",', '["blokk",    "blokk",')
    with pytest.raises(ParityError, match="row 3: the model has nothing called blokk"):
        case.compare()


def test_parameter_without_axes_is_explained(case: Case) -> None:
    """Its value is told."""
    case.paddle_state["gate"] = np.asarray(0.5, "f4")

    report = case.compare()

    assert not report.proved
    assert known(report.culprit).layer == "gate"
    assert "became 0.5" in report.diagnosis[0]


def test_causes_explain_more_than_they_leave(case: Case) -> None:
    """A difference of 2e-10 in one element is no factor of 1."""
    case.paddle = case.paddle.replace(
        "return x\n", "y = x * 1.0; y[0, 0] = y[0, 0] + 2e-8; return y\n"
    )
    report = case.compare()

    assert known(report.culprit).layer == "model output"
    assert "times 1" not in report.diagnosis[0]


@pytest.mark.parametrize(
    ("old", "new", "paddle"),
    [
        ("self.block(x, 2.0)", "self.block(x, scale=2.0)", "self.block(x, 2.0)"),
        ("return x\n", "return {0: x, 1: 2 * x}\n", None),
        ("return x\n", "return Out(Two(x, [x]))\n", None),
        ("return x\n", "return x, float(x.sum())\n", None),
        ("return x\n", "return x, x.argmax(1)\n", "return x, x.argmax(1).astype('int32')\n"),
    ],
)
def test_correct_pairs_are_proved(old: str, new: str, paddle: str | None, case: Case) -> None:
    """By name or by position, with numbers as keys, in dataclasses, of either width."""
    report = case.change(old, new, paddle).compare()

    assert report.proved, report.claim


def test_layer_of_two_names_is_one(case: Case) -> None:
    """Rows for both, or for one: its tensors are claimed."""
    case.change("# built", "self.other = self.block.fc")
    for weights in (case.torch_state, case.paddle_state):
        weights |= {f"other.{n}": weights[f"block.fc.{n}"].copy() for n in ("weight", "bias")}
    assert case.compare().proved
    case.table = case.table.replace("rows = [", 'rows = [\n  ["other", "other", "linear"],')
    assert case.compare().proved


def test_gradients_of_all_outputs_are_compared(case: Case) -> None:
    """The second is detached in Paddle."""
    case.change("return x\n", "return {'a': x, 'b': (x * x,)}\n")
    assert case.compare(backward=True).proved
    case.paddle = case.paddle.replace("(x * x,)", "((x * x).detach(),)")
    assert not case.compare(backward=True).proved


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limit = inf", "limit is inf, expected a number up to 0.0001"),
        ("limit = 0.5", "limit is 0.5, expected"),
        ("tensors = 3", "tensors is 3, expected a table of tables"),
        ("settings = { eps = 3 }", "expected a table of tables"),
        ("tensors = { weight = { paddle = 3 } }", "tensors.weight.paddle is 3, expected a name"),
        ('float32 = "eps"', "float32 is 'eps', expected an attribute of torch"),
        ("torch = 3", "torch is 3, expected a text"),
    ],
)
def test_kinds_of_the_users_are_checked(text: str, message: str, case: Case) -> None:
    """Types and values: a limit without end would let anything pass."""
    case.table += f"[kinds.own]\n{text}\n"
    with pytest.raises(TableError) as caught:
        case.compare()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("import sys; sys.exit(0)", r"the PyTorch model ends the process: sys.exit\(0\)"),
        ("input()", "EOFError"),
    ],
)
def test_model_that_ends_or_waits_is_told(made: str, message: str, case: Case) -> None:
    """In a process of its own; nobody waits for it for ever."""
    case.compare()
    (case.folder / "ends.py").write_text(TORCH.replace("# made", made))
    (case.folder / "ends_paddle.py").write_text(PADDLE)
    with pytest.raises(ParityError, match=message):
        check_parity(
            Pair("ends:net", "ends_paddle:net", case.folder / "t.toml"),
            torch_checkpoint=case.folder / "w.safetensors",
            paddle_checkpoint=case.folder / "w.pdparams",
            input_size=(8, 8),
        )


def test_gradients_that_paddle_computes_in_float32_are_no_fault(case: Case) -> None:
    """Those of a mean over nine values: the kind says by how much they may be off."""
    case.change("self.conv(x).mean", "self.pool(self.conv(x)).mean")
    case.change("# built", "self.pool = nn.AvgPool2d(3)", "self.pool = nn.AvgPool2D(3)")
    case.table = case.table.replace("rows = [", 'rows = [\n  ["pool", "pool", "avg_pool2d"],')
    report = case.compare(backward=True)
    assert report.proved  # how padding is counted does not matter here: there is none
    case.paddle = case.paddle.replace("AvgPool2D(3)", "AvgPool2D(3, exclusive=False)")

    report = case.compare(backward=True)

    assert report.proved
    assert 1e-10 < max(known(gradient.difference) for gradient in report.gradients) < 5e-8
