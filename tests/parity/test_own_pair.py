"""A pair of models of the user's own, paired by a table of the user's own."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import arrays, known, write_paddle
from tracing import run_here
from vitconvert import ModelError, Pair, ParityError, Report, TableError, check_parity
from vitconvert.parity._options import RunOptions

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

TORCH = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = 0.5
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.up = nn.Upsample(scale_factor=3, mode="bilinear")
        self.table = nn.Embedding(8, 8)
        self.gamma = nn.Parameter(torch.ones(8))
        self.act = nn.GELU()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        x = self.act(self.stem(x))
        x = self.up(x).mean((2, 3)) * self.gamma
        x = (x + self.table(torch.arange(x.shape[0], device=x.device))) * self.scale
        return self.fc(self.fc(x))

def net():
    return Net()
"""
OUTPUT = "model output"
PADDLE = """
import paddle
from paddle import nn

class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.scale = 0.5
        self.conv = nn.Conv2D(3, 8, 3, 2, 1)
        self.up = nn.Upsample(scale_factor=3, mode="bilinear")
        self.table = nn.Embedding(8, 8)
        self.gamma = self.create_parameter([8])
        self.act = nn.GELU()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        x = self.act(self.conv(x))
        x = self.up(x).mean([2, 3]) * self.gamma
        x = (x + self.table(paddle.arange(x.shape[0]))) * self.scale
        return self.fc(self.fc(x))

def net():
    return Net()
"""
TABLE = """
rows = [
  ["stem",  "conv",  "conv2d"],
  ["act",   "act",   "gelu"],
  ["up",    "up",    "upsample"],
  ["table", "table", "embedding"],
  ["gamma", "gamma", "param"],
  ["fc",    "fc",    "linear"],
]
"""


def state() -> dict[str, np.ndarray]:
    """Make weights under PyTorch's names."""
    rng = np.random.default_rng(0)
    shapes = {"stem.weight": (8, 3, 3, 3), "stem.bias": (8,), "table.weight": (8, 8)}
    shapes |= {"gamma": (8,), "fc.weight": (8, 8), "fc.bias": (8,)}
    return {key: rng.standard_normal(shape).astype("f4") for key, shape in shapes.items()}


def in_paddle(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert them by hand."""
    made = {key.replace("stem", "conv"): array for key, array in weights.items()}
    return made | {"fc.weight": np.ascontiguousarray(made["fc.weight"].T)}


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A folder with both modules, the table and the weights, in which the user is.

    The models run in this process, which imports both anew; with `own_process`, in their own.
    """
    (tmp_path / "own_torch.py").write_text(TORCH)
    (tmp_path / "own_paddle.py").write_text(PADDLE)
    (tmp_path / "own.toml").write_text(TABLE)
    save_file(state(), tmp_path / "w.safetensors", {"format": "pt"})
    write_paddle(tmp_path / "w.pdparams", in_paddle(state()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    if not request.node.get_closest_marker("own_process"):
        monkeypatch.setattr("vitconvert.parity._run.run", run_here)
    yield tmp_path
    for module in ("own_torch", "own_paddle"):
        sys.modules.pop(module, None)


def check(folder: Path, **options: Unpack[RunOptions]) -> Report:
    usual: RunOptions = {"input_size": (16, 24), "device": "cpu"}
    return check_parity(
        Pair("own_torch:net", "own_paddle:net", folder / "own.toml"),
        torch_checkpoint=folder / "w.safetensors",
        paddle_checkpoint=folder / "w.pdparams",
        **(usual | options),
    )


@pytest.mark.own_process
def test_a_pair_of_ones_own_is_proved(folder: Path) -> None:
    """Names that differ, a bare parameter, an embedding, a layer that runs twice, interpolation."""
    report = check(folder, backward=True)

    assert report.proved
    results = {layer.layer: layer for layer in report.layers}
    assert list(results) == ["stem", "act", "up", "table", "fc", "fc#2", OUTPUT]
    assert results["stem"].candidate_layer == "conv"
    # Paddle interpolates in float32 even here; each layer alone shows what is its own fault.
    assert 1e-10 < known(results["up"].alone) < 5e-6
    assert known(results["fc"].alone) < 1e-12
    assert 1e-10 < known(results["fc#2"].float64) < 1e-5
    assert {g.key for g in report.gradients} == {"input", *state()}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "layer", "words"),
    [
        ("0.5", "0.25", OUTPUT, "gives to `fc` is the reference's times 0.5"),
        ("0.5", "0.25", OUTPUT, "scale is 0.5 in torch, 0.25 in Paddle"),
        ("GELU()", "GELU(True)", "act", "approximate is none in torch, tanh in Paddle"),
        ("2, 1)", "2, 0)", "stem", "padding is 1 in torch, 0 in Paddle"),
        ('mode="bilinear"', 'mode="nearest"', "up", "mode is bilinear in torch, nearest in Paddle"),
        (" * self.gamma", "", OUTPUT, "before it calls `fc`"),
        ("self.fc(self.fc(x))", "self.fc(x)", "fc#2", "ran this layer less often"),
        ("self.table(paddle.arange(x.shape[0]))", "0", "table", "did not run this layer"),
        ("nn.Linear(8, 8)", "paddle.compat.nn.Linear(8, 8)", "", "kind 'linear' expects"),
    ],
)
def test_what_is_wrong_in_ones_own_model_is_named(
    old: str, new: str, layer: str, words: str, folder: Path
) -> None:
    """In settings, in code, in calls, in classes."""
    replace(folder / "own_paddle.py", old, new)

    if not layer:
        with pytest.raises(ParityError, match=words):
            check(folder)
        return
    report = check(folder)
    assert not report.proved
    assert known(report.culprit).layer == layer
    assert any(words in line for line in report.diagnosis)


def test_embedding_that_was_transposed_is_named(folder: Path) -> None:
    """Square, so that no shape shows it; 2-D, so that many a script turns it."""
    weights = in_paddle(state())
    weights["table.weight"] = np.ascontiguousarray(weights["table.weight"].T)
    write_paddle(folder / "w.pdparams", weights)

    report = check(folder)

    assert known(report.culprit).layer == "table"
    assert "its weight equals the source's transposed" in report.diagnosis[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["fc",    "fc",    "linear"],', "", "no row of .* claims 2 tensors"),
        ('"embedding"', '"linear"', r"table: is a .*Embedding, kind 'linear'"),
        ('"conv2d"', '"conv9d"', "kind 'conv9d' is unknown"),
        ("rows = [", "rows = 7\nx = [", "is 7, expected a list"),
        ("rows = [", "rows [", "cannot be read as a table"),
    ],
)
def test_table_that_does_not_fit_is_one_error(
    old: str, new: str, message: str, folder: Path
) -> None:
    """What was found and what was expected."""
    replace(folder / "own.toml", old, new)
    with pytest.raises((ParityError, TableError), match=message):
        check(folder)


@pytest.mark.own_process
def test_kinds_of_ones_own(folder: Path) -> None:
    """A class of the user's gets a kind in the user's table."""
    for file, base in (("own_torch.py", "nn.Linear"), ("own_paddle.py", "nn.Linear")):
        replace(folder / file, "class Net", f"class Own({base}):\n    pass\n\nclass Net")
        replace(folder / file, "nn.Linear(8, 8)", "Own(8, 8)")
    replace(folder / "own.toml", '"linear"', '"own"')
    with (folder / "own.toml").open("a") as table:
        table.write(
            '[kinds.own]\ntorch = "own_torch.Own"\npaddle = "own_paddle.Own"\n'
            '[kinds.own.tensors]\nweight = { paddle = "weight", axes = "out in -> in out" }\n'
            'bias = { paddle = "bias" }\n'
        )
    assert check(folder).proved


def test_weights_of_ones_own_model_convert_by_the_table(folder: Path) -> None:
    """No shape decides: the square embedding stays, the square linear layer turns."""
    from click.testing import CliRunner

    from vitconvert.cli import cli

    arguments = ["--table", "own.toml", "--src", "w.safetensors", "--dst", "made.pdparams"]
    done = CliRunner().invoke(cli, ["convert", *arguments])

    assert done.exit_code == 0
    assert "6 tensors. Not proved yet" in done.output
    expected = in_paddle(state())
    made = arrays(folder / "made.pdparams")
    assert made.keys() == expected.keys()
    assert all(np.array_equal(made[key], expected[key]) for key in made)

    back = ["--table", "own.toml", "--src", "made.pdparams", "--dst", "back.pth"]
    shown = CliRunner().invoke(cli, ["convert", *back, "--dry-run"])
    assert "6 tensors: 1 to transpose, 5 to copy. Nothing was written" in shown.output
    assert not (folder / "back.pth").exists()
    assert CliRunner().invoke(cli, ["convert", *back]).exit_code == 0
    again = arrays(folder / "back.pth")
    assert all(np.array_equal(again[key], value) for key, value in state().items())

    replace(folder / "own.toml", '["gamma", "gamma", "param"],', "")
    done = CliRunner().invoke(cli, ["convert", *arguments, "--force"])
    assert done.exit_code == 1
    assert (
        "gamma: no row of own.toml claims this [8] tensor. Add a row, or an [ignore]" in done.output
    )


def test_table_says_for_which_images_it_was_made(folder: Path) -> None:
    """Nothing else is asked for then."""
    replace(folder / "own.toml", "rows = [", "input_size = [16, 40]\nrows = [")
    assert check(folder, input_size=None).inputs["shape"] == [2, 3, 16, 40]

    replace(folder / "own.toml", "[16, 40]", '"16x40"')
    with pytest.raises(TableError, match="input_size is '16x40', expected"):
        check(folder)


def test_a_function_that_is_not_named_as_one_is_refused(folder: Path) -> None:
    """Before anything runs."""
    pair = Pair("own_torch", "own_paddle:net", folder / "own.toml")
    with pytest.raises(ModelError, match=r"'own_torch': expected package\.module:function"):
        check_parity(pair, torch_checkpoint="w.safetensors", paddle_checkpoint="w.pdparams")
