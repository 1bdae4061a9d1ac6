"""Tensors that Paddle alone has: equal to what PyTorch computes, or reported as not compared."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import known, write_paddle
from tracing import run_here
from vitconvert import Pair, ParityError, Report, check_parity
from vitconvert.parity import html, markdown, summary
from vitconvert.parity._options import RunOptions

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

TORCH = """
import torch
from torch import nn

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(5))
        at = torch.arange(3)
        self.register_buffer("index", (at[:, None] - at + 2).int(), persistent=False)
        self.register_buffer("decay", torch.exp(-torch.arange(3) / 7), persistent=False)
        self.register_buffer("mask", torch.tensor([False, True, True]), persistent=False)
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return self.fc(x) @ self.table[self.index.long()] * self.decay

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attns = nn.ModuleList([Attention(), Attention()])

    def forward(self, x):
        x = x.mean((2, 3))
        for attn in self.attns:
            x = attn(x)
        return x

def net():
    return Net()
"""
PADDLE = """
import paddle
from paddle import nn

class Attention(nn.Layer):
    def __init__(self):
        super().__init__()
        self.table = self.create_parameter([5])
        at = paddle.arange(3, dtype="int64")
        self.register_buffer("rel_index", (at.unsqueeze(1) - at + 2).reshape([-1]))
        self.register_buffer("decay", paddle.exp(-paddle.arange(3, dtype="float64") / 7))
        self.register_buffer("mask", paddle.to_tensor([0.0, -100.0, -100.0]))
        self.register_buffer("step", paddle.to_tensor([3, 4]))
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        table = self.table[self.rel_index].reshape([3, 3])
        return paddle.matmul(self.fc(x), table) * self.decay

class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.layers = nn.LayerList([Attention(), Attention()])
        self.proj = self.create_parameter([4, 2])

    def forward(self, x):
        x = x.mean([2, 3])
        for layer in self.layers:
            x = layer(x)
        return x

def net():
    return Net()
"""
ROWS = """
rows = [
  ["attns.{i}.fc",    "layers.{i}.fc",    "linear"],
  ["attns.{i}.table", "layers.{i}.table", "param"],
  ["attns.{i}",       "layers.{i}",       "block"],
]
"""
ALONE = """
[paddle_only]
"layers.{i}.rel_index" = "computed"
"layers.{i}.decay" = "computed"
"layers.{i}.mask" = "the mask of the window"
"layers.{i}.step" = "counted"
"proj" = "not used"
"""


def state() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"fc.weight": (3, 3), "fc.bias": (3,), "table": (5,)}
    return {
        f"attns.{i}.{key}": rng.standard_normal(shape).astype("f4")
        for i in (0, 1)
        for key, shape in shapes.items()
    }


def in_paddle() -> dict[str, np.ndarray]:
    return {
        key.replace("attns", "layers"): np.ascontiguousarray(x.T) if x.ndim == 2 else x
        for key, x in state().items()
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with both modules, the table and the weights; the models run in this process."""
    (tmp_path / "alone_torch.py").write_text(TORCH)
    (tmp_path / "alone_paddle.py").write_text(PADDLE)
    (tmp_path / "own.toml").write_text(ROWS + ALONE)
    save_file(state(), tmp_path / "w.safetensors", {"format": "pt"})
    write_paddle(tmp_path / "w.pdparams", in_paddle())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("vitconvert.parity._run.run", run_here)
    yield tmp_path
    for module in ("alone_torch", "alone_paddle"):
        sys.modules.pop(module, None)


def check(folder: Path, **options: Unpack[RunOptions]) -> Report:
    usual: RunOptions = {"input_size": (8, 8), "device": "cpu"}
    return check_parity(
        Pair("alone_torch:net", "alone_paddle:net", folder / "own.toml"),
        torch_checkpoint=folder / "w.safetensors",
        paddle_checkpoint=folder / "w.pdparams",
        **(usual | options),
    )


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


CHECKED = "checked: 4 tensors that Paddle alone has equal what PyTorch computes (layers.{i}."
LEFT = (
    "not compared: 3 tensors that Paddle alone has, PyTorch has none: proj [4, 2]: not used; "
    "layers.{i}.step [2]: counted"
)
UNLIKE = "layers.{i}.mask [3]: the mask of the window (torch's mask is bool [3], Paddle's"


def test_what_paddle_alone_has_is_checked_or_named(folder: Path) -> None:
    """An index of another type and shape, found by its size; a float table by its name."""
    report = check(folder, backward=True)

    assert report.proved
    found = {lone.key: lone.reference for lone in report.paddle_only}
    assert found["layers.1.rel_index"] == "attns.1.index"
    assert found["layers.0.decay"] == "attns.0.decay"
    assert found["proj"] == found["layers.0.mask"] == ""
    lines = summary(report)
    assert any(line.startswith(CHECKED) for line in lines)
    claim = f"{LEFT[0].upper()}{LEFT[1:]}"
    assert claim in report.claim
    assert UNLIKE in report.claim
    assert claim in lines[0]
    assert claim in markdown(report)
    assert CHECKED in markdown(report)
    assert "equal what PyTorch computes" in html(report)
    told = report.to_dict()["paddle_only"][1]
    assert told == {
        "key": "layers.0.rel_index",
        "layer": "attns.0",
        "shape": [9],
        "reason": "computed",
        "reference": "attns.0.index",
        "note": "",
    }


@pytest.mark.parametrize("layer", ["attns.1", "attns.0"])
def test_a_wrong_index_is_a_fault_of_its_layer(layer: str, folder: Path) -> None:
    """Both outputs may even agree: here the table holds the same value at both places."""
    weights = in_paddle()
    number = layer[-1]
    at = np.arange(3)
    index = (at[:, None] - at + 2).reshape(-1)
    index[[0, 1]] = index[[1, 0]]
    weights[f"layers.{number}.rel_index"] = index  # a checkpoint may hold it: then it is loaded
    same = {**state(), f"attns.{number}.table": np.full(5, 0.5, "f4")}
    weights[f"layers.{number}.table"] = np.full(5, 0.5, "f4")
    save_file(same, folder / "w.safetensors", {"format": "pt"})
    write_paddle(folder / "w.pdparams", weights)

    report = check(folder)

    assert not report.proved
    culprit = known(report.culprit)
    assert (culprit.layer, culprit.verdict) == (layer, "weights")
    told = "its rel_index differs from the reference's index in 2 of 9 places, first at 0: 1, not 2"
    assert told in culprit.note
    assert told in report.diagnosis[0]
    assert any(line.startswith("not compared: 3 tensors") for line in summary(report))


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("/ 7", "/ 7.0000000001", True),
        ("/ 7", "/ 7.00001", False),
        ('dtype="float64") / 7)', 'dtype="float32") / 7)', True),
        ("-100.0", "-float('inf')", True),
    ],
)
def test_a_table_of_floats_may_differ_by_rounding(
    old: str, new: str, same: bool, folder: Path
) -> None:
    """Of float32 if one side computed it so; the outputs are compared all the same."""
    replace(folder / "alone_paddle.py", old, new)

    report = check(folder)

    found = {lone.key: lone.note for lone in report.paddle_only}
    assert (found["layers.0.decay"] == "") == same


def test_infinite_masks_are_equal_where_both_are_infinite(folder: Path) -> None:
    """And differ elsewhere."""
    inf = 'self.register_buffer("mask", {}.tensor([0.0, -float("inf"), 1.0]){})'
    replace(
        folder / "alone_torch.py",
        'self.register_buffer("mask", torch.tensor([False, True, True]), persistent=False)',
        inf.format("torch", ", persistent=False"),
    )
    mask = 'self.register_buffer("mask", paddle.to_tensor([0.0, -100.0, -100.0]))'
    infinite = inf.format("paddle", "").replace("paddle.tensor", "paddle.to_tensor")
    replace(folder / "alone_paddle.py", mask, infinite)
    assert check(folder).proved

    sys.modules.pop("alone_paddle")
    replace(folder / "alone_paddle.py", infinite, infinite.replace("1.0]", "-float('inf')]"))
    report = check(folder)
    assert "its mask differs from the reference's in 1 of 3 places" in known(report.culprit).note


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"proj" = "not used"',
            "",
            r"proj: missing; the model has it as \[4, 2\]\.\n  no row of .*own\.toml fills proj: "
            r"add rows, or \[paddle_only\] entries with their reasons",
        ),
        ('"proj"', '"prj" = "x"\n"proj"', "paddle_only:\n  prj: the model has no such tensor"),
    ],
)
def test_an_entry_that_is_missing_or_matches_nothing_is_an_error(
    old: str, new: str, message: str, folder: Path
) -> None:
    """As with rows."""
    replace(folder / "own.toml", old, new)

    with pytest.raises(ParityError, match=message):
        check(folder)


def test_a_tensor_that_the_file_has_and_no_entry_names_is_an_error(folder: Path) -> None:
    """The file fits the model then, and not the table."""
    replace(folder / "own.toml", '"proj" = "not used"', "")
    write_paddle(folder / "w.pdparams", in_paddle() | {"proj": np.ones((4, 2), "f4")})

    with pytest.raises(
        ParityError, match=r"no row of .* claims 1 tensor of the Paddle model\..*:\n  proj \[4, 2\]"
    ):
        check(folder)


def test_a_bias_that_pytorch_has_none_of(folder: Path) -> None:
    """It stays 0, in a layer that a row pairs; a checkpoint with another value is caught."""
    replace(folder / "alone_torch.py", "nn.Linear(3, 3)", "nn.Linear(3, 3, bias=False)")
    replace(folder / "own.toml", '"proj"', '"layers.{i}.fc.bias" = "it stays 0"\n"proj"')
    weights = {key: value for key, value in state().items() if not key.endswith("bias")}
    save_file(weights, folder / "w.safetensors", {"format": "pt"})
    converted = {key: value for key, value in in_paddle().items() if not key.endswith("bias")}
    write_paddle(folder / "w.pdparams", converted)

    report = check(folder, backward=True)
    assert report.proved
    assert "layers.{i}.fc.bias [3]: it stays 0" in report.claim

    write_paddle(folder / "w.pdparams", converted | {"layers.1.fc.bias": np.ones(3, "f4")})
    assert known(check(folder).culprit).layer == "attns.1.fc"
