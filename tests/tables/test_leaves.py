"""A target of other kinds: what a model of `enable_compat` stores becomes the plain layout."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conftest import Make, arrays
from vitconvert import TableError, convert
from vitconvert.tables.reading import read_table

TABLE = """
rows = [
  ["blocks.{i}.norm", "blocks.{i}.norm", "layer_norm"],
  ["blocks.{i}.fc",   "blocks.{i}.fc",   "linear"],
  ["head",            "fc",              "linear"],
]

[targets.compat]
kinds = { linear = "compat_linear" }
"""
RENAMED = """rows = [
  ["layers.{i+1}", "blocks.{i}"],
  ["head",         "fc"],
]
"""
KINDS = """
[kinds.mute]
torch = "torch.nn.Linear"
paddle = "own.Mute"
tensors = { weight = { paddle = "weight" } }

[kinds.turned]
torch = "torch.nn.Linear"
paddle = "own.Turned"
tensors = { weight = { paddle = "weight", axes = "(2 o) i -> o (2 i)" } }
"""
SHAPES = {
    "blocks.0.norm.weight": (4,),
    "blocks.0.norm.bias": (4,),
    "blocks.0.fc.weight": (4, 4),  # square: no shape says how it lies
    "blocks.0.fc.bias": (4,),
    "head.weight": (3, 4),
    "head.bias": (3,),
}


def state() -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0)
    return {key: noise.standard_normal(shape).astype("f4") for key, shape in SHAPES.items()}


def write(folder: Path, rows: str = "") -> Path:
    (folder / "own.toml").write_text(TABLE + rows)
    save_file(state(), folder / "w.safetensors")
    return folder / "own.toml"


@pytest.mark.parametrize(
    ("rows", "layer", "head"), [("", "blocks.0", "fc"), (RENAMED, "layers.1", "head")]
)
def test_linear_weights_keep_pytorchs_layout_whatever_they_are_called(
    rows: str, layer: str, head: str, tmp_path: Path
) -> None:
    """There, and back bit for bit; without the target they are turned, as always."""
    table, source = write(tmp_path, rows), state()

    theirs = convert(
        tmp_path / "w.safetensors", tmp_path / "t.pdparams", table, parity=False, target="compat"
    ).path
    convert(theirs, tmp_path / "b.safetensors", table, parity=False, target="compat")
    convert(tmp_path / "w.safetensors", tmp_path / "p.pdparams", table, parity=False)

    found, plain = arrays(theirs), arrays(tmp_path / "p.pdparams")
    assert set(found) == {key.replace("blocks.0", layer).replace("head", head) for key in source}
    np.testing.assert_array_equal(found[f"{layer}.fc.weight"], source["blocks.0.fc.weight"])
    np.testing.assert_array_equal(found[f"{head}.weight"], source["head.weight"])
    np.testing.assert_array_equal(plain["blocks.0.fc.weight"], source["blocks.0.fc.weight"].T)
    back = load_file(tmp_path / "b.safetensors")
    assert {k: v.tobytes() for k, v in back.items()} == {k: v.tobytes() for k, v in source.items()}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("compat_linear", "compact_linear", "no kind is called 'compact_linear'. Did you mean"),
        ('linear = "', 'linnear = "', "no kind is called 'linnear'. Did you mean 'linear'"),
        ('"compat_linear"', '"conv1d"', "conv1d is not of torch.nn.Linear, as linear"),
        ('"compat_linear"', '"mute"', "mute has no bias, which linear has"),
        ('"compat_linear"', '"turned"', "out in -> in out of weight: expected one of them alone"),
        ("[targets", "[dialects", "only a target may have them"),
        (
            '"compat_linear" }',
            '"compat_linear" }\nrows = [[["a", "b"], "fc"]]',
            "row 1: fc.weight: expected axes here",
        ),
        ("kinds =", "leaves = []\nkinds =", "leaves is unknown"),
    ],
)
def test_kinds_that_cannot_be_are_told(old: str, new: str, message: str, tmp_path: Path) -> None:
    table = write(tmp_path)
    table.write_text(TABLE.replace(old, new) + KINDS)

    with pytest.raises(TableError) as caught:
        read_table(table)
    assert message in str(caught.value)


def test_a_shipped_family_reads_what_its_source_stores_under_paddle(
    plain: Make, tmp_path: Path
) -> None:
    """Shapes tell it from the plain layout; it becomes what PyTorch's own file becomes."""
    source = plain("shiftvit_cifar_tiny")
    theirs = convert(source, tmp_path / "t.pdparams", "shiftvit", target="compat", parity=False)

    back = convert(theirs.path, tmp_path / "b.safetensors", "shiftvit", parity=False).path
    folded = convert(back, tmp_path / "f.pdparams", "shiftvit", parity=False).path
    expected = convert(source, tmp_path / "p.pdparams", "shiftvit", parity=False).path

    assert arrays(theirs.path)["head.weight"].shape == arrays(source)["head.weight"].shape
    assert {k: v.tobytes() for k, v in arrays(folded).items()} == {
        k: v.tobytes() for k, v in arrays(expected).items()
    }


@pytest.mark.parametrize("classes", [4, 3])
def test_square_weights_that_two_layouts_fit_are_named(
    classes: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No shape shows whose they are: the user hears of it, and can decide."""
    table = write(tmp_path)
    shapes = {**SHAPES, "head.weight": (classes, 4), "head.bias": (classes,)}
    save_file({k: np.ones(s, "f4") for k, s in shapes.items()}, tmp_path / "w.safetensors")
    made = convert(tmp_path / "w.safetensors", tmp_path / "p.pdparams", table, parity=False).path
    told = "may be laid out as the table's own or as those of compat"

    with caplog.at_level("INFO", "vitconvert"):
        convert(made, tmp_path / "b.safetensors", table, parity=False)
    assert (told in caplog.text) == (classes == 4)
    assert ("--target compat decides" in caplog.text) == (classes == 4)

    caplog.clear()
    if classes == 4:
        convert(made, tmp_path / "c.safetensors", table, parity=False, target="compat")
    assert told not in caplog.text
