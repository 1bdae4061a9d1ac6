"""Tensors that Paddle alone has: a table names them with a reason, and conversion leaves them."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from conftest import arrays, write_paddle
from vitconvert import CheckpointError, ConversionError, TableError
from vitconvert.cli import cli
from vitconvert.conversion import convert
from vitconvert.planning import plan
from vitconvert.tables.patterns import overlap
from vitconvert.tables.reading import read_table

ROWS = """
rows = [
  ["blocks.{i}.fc",   "blocks.{i}.fc",   "linear"],
  ["blocks.{i}.norm", "blocks.{i}.norm", "layer_norm"],
  ["blocks.{i}",      "blocks.{i}",      "block"],
]
"""
ALONE = """
[paddle_only]
"blocks.{i}.index" = "computed from the window size"
"proj" = "the Paddle model does not use it"
"blocks.1.fc.bias" = "PyTorch's layer has none"
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "net.toml"
    path.write_text(ROWS + ALONE)
    return path


def torch_state() -> dict[str, np.ndarray]:
    """Make weights of two blocks, the second without a bias."""
    rng = np.random.default_rng(0)
    shapes = {"fc.weight": (4, 6), "fc.bias": (4,), "norm.weight": (6,), "norm.bias": (6,)}
    state = {
        f"blocks.{i}.{key}": rng.standard_normal(shape).astype("f4")
        for i in (0, 1)
        for key, shape in shapes.items()
    }
    del state["blocks.1.fc.bias"]
    return state


def paddle_state() -> dict[str, np.ndarray]:
    """Make what becomes of them."""
    return {
        key: np.ascontiguousarray(value.T) if key.endswith("fc.weight") else value
        for key, value in torch_state().items()
    }


def alone() -> dict[str, np.ndarray]:
    """Make what Paddle has besides."""
    index = {f"blocks.{i}.index": np.arange(9).reshape(3, 3) for i in (0, 1)}
    return index | {"proj": np.ones((6, 6), "f4"), "blocks.1.fc.bias": np.zeros(4, "f4")}


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(TableError) as caught:
        read_table(path)
    return str(caught.value)


# -- the table


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            '"blocks.0.fc.weight" = "x"',
            "'blocks.0.fc.weight' names a tensor that row 1 (blocks.{i}",
        ),
        ('"blocks.{j}.norm.{k}" = "x"\n"blocks.{j}.fc.weight" = "x"', "'blocks.{j}.fc.weight'"),
        ('"index" = ""', "paddle_only is {'index': ''}, expected key patterns, each with its"),
        ('"index" = 1', "expected key patterns, each with its reason"),
        ('"blocks.{0}.index" = "x"', "'blocks.{0}.index': a placeholder is a name in braces"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(entry: str, message: str, tmp_path: Path) -> None:
    """Without a reason, of a tensor that a row fills, or misspelled."""
    assert message in refused(tmp_path, f"{ROWS}[paddle_only]\n{entry}\n")


def test_a_tensor_that_a_row_names_itself_is_no_exception(tmp_path: Path) -> None:
    """Though it is called bias: the row is about nothing else."""
    rows = 'rows = [["q.bias", "q.bias", "param"]]\n'
    assert "row 1 (q.bias, kind 'param') fills" in refused(
        tmp_path, rows + '[paddle_only]\n"q.bias" = "x"\n'
    )


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("a.{i}.b", "a.3.b", True),
        ("a.{i}.b", "a.{j}.b", True),
        ("a.3.b", "a.4.b", False),
        ("a.{i}.b", "a.{i}.c", False),
        ("a.{i}.b.{i}", "a.1.b.2", False),
        ("a.{i}.b.{i}", "a.1.b.{j}", True),
        ("conv1.{i}", "conv{n}.0", True),
    ],
)
def test_patterns_overlap_if_one_key_matches_both(one: str, other: str, both: bool) -> None:
    """Whatever the placeholders are called, and whichever comes first."""
    assert overlap(one, other) == overlap(other, one) == both


# -- conversion


def test_conversion_to_paddle_writes_nothing_for_them(table: Path, tmp_path: Path) -> None:
    """The dry run says what they are, at its end."""
    save_file(torch_state(), tmp_path / "w.safetensors")
    asked = ["--table", str(table), "--src", str(tmp_path / "w.safetensors")]
    asked += ["--dst", str(tmp_path / "w.pdparams")]

    shown = CliRunner().invoke(cli, ["convert", *asked, "--dry-run"])
    convert(tmp_path / "w.safetensors", tmp_path / "w.pdparams", table, parity=False)

    assert (
        "Paddle alone has proj, which is not written: the Paddle model does not use it\n"
        in shown.output
    )
    assert shown.output.endswith(
        "7 tensors: 2 to transpose, 5 to copy. Nothing was written (--dry-run).\n"
    )
    made = arrays(tmp_path / "w.pdparams")
    assert made.keys() == paddle_state().keys()
    assert all(np.array_equal(made[key], value) for key, value in paddle_state().items())


@pytest.mark.parametrize("also", [True, False])
@pytest.mark.parametrize("name", ["w.pdparams", "w.safetensors"])
def test_a_paddle_checkpoint_is_whole_with_or_without_them(
    name: str, also: bool, table: Path, tmp_path: Path
) -> None:
    """On the way back they are dropped, each with its reason."""
    state = paddle_state() | (alone() if also else {})
    if name.endswith("pdparams"):
        write_paddle(tmp_path / name, state)
    else:
        save_file(state, tmp_path / name, {"format": "pd"})

    done = convert(tmp_path / name, tmp_path / "back.pth", table, parity=False)

    dropped = {step.source: step.reason for step in done.plan.steps if step.target is None}
    assert dropped.keys() == (alone().keys() if also else set())
    if also:
        assert dropped["blocks.1.index"] == "computed from the window size"
        assert dropped["blocks.1.fc.bias"] == "PyTorch's layer has none"
    back = arrays(tmp_path / "back.pth")
    assert back.keys() == torch_state().keys()
    assert all(np.array_equal(back[key], value) for key, value in torch_state().items())


def test_what_the_table_does_not_name_is_refused(table: Path, tmp_path: Path) -> None:
    """The message says how to name it."""
    write_paddle(tmp_path / "w.pdparams", paddle_state() | {"mask": np.zeros((3, 3), "f4")})

    told = (
        r"mask: no row of .*net\.toml claims this \[3, 3\] tensor\. Add a row, or a \[paddle_only\]"
    )
    with pytest.raises(CheckpointError, match=told):
        plan(tmp_path / "w.pdparams", table)


def test_a_tensor_that_pytorch_has_after_all_is_refused(table: Path, tmp_path: Path) -> None:
    """It would be lost without a word."""
    state = torch_state() | {"blocks.1.fc.bias": np.ones(4, "f4")}
    save_file(state, tmp_path / "w.safetensors", {"format": "pt"})

    told = (
        r"makes blocks\.1\.fc\.bias of it, but \[paddle_only\] says that PyTorch has no such tensor"
    )
    with pytest.raises(ConversionError, match=told):
        plan(tmp_path / "w.safetensors", table)
