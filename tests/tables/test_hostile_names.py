"""Other names that contradict themselves or the shapes, and tables made to take long."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from vitconvert import ConversionError, TableError, convert, open_checkpoint
from vitconvert.tables.reading import read_table

ROWS = """
rows = [
  ["pos",                 "pos",                 "param"],
  ["blocks.{i}.norm",     "blocks.{i}.norm",     "layer_norm"],
  ["blocks.{i}.qkv",      "blocks.{i}.qkv",      "linear"],
]
"""
WOVEN = """
rows = [["qkv", "qkv", "woven"], ["map", "map", "map"]]
sizes = { heads = 2 }
[kinds.woven]
torch = "own.Woven"
paddle = "own.Woven"
[kinds.woven.tensors]
weight = { paddle = "weight", axes = "(3 heads d) in -> in (heads 3 d)" }
[kinds.map]
torch = "own.Map"
paddle = "own.Map"
[kinds.map.tensors]
table = { paddle = "table", axes = "1 c heads w -> 1 (heads w) c" }
"""
SHAPES = """
[own_s]
"pos" = [1, 5, 12]
"blocks.{0..1}.norm.weight" = [12]
"blocks.{0..1}.norm.bias" = [12]
"blocks.{0..1}.qkv.weight" = [36, 12]
"blocks.{0..1}.qkv.bias" = [36]
"""


def read(folder: Path, text: str, shapes: str = "") -> None:
    (folder / "own.toml").write_text(text)
    if shapes:
        (folder / "shapes").mkdir()
        (folder / "shapes" / "own.toml").write_text(shapes)
    read_table(folder / "own.toml")


def turned(folder: Path, table: str, state: dict[str, Any], **options: Any) -> dict[str, Any]:
    (folder / "own.toml").write_text(table)
    save_file(state, folder / "a.safetensors", {"format": "pt"})
    convert(
        folder / "a.safetensors",
        folder / "a.pdparams",
        folder / "own.toml",
        parity=False,
        **options,
    )
    return {k: t.read() for k, t in open_checkpoint(folder / "a.pdparams").tensors.items()}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[dialects.x]\nrows = [["a", "pos"]]\ninstead = { a = [] }', "'a' is [], expected what"),
        ('[dialects.x]\nrows = [["a", "pos"]]\ninstead = { a = [""] }', "row 1 has no name left"),
        ('[dialects.""]\nrows = [["a", "pos"]]', "dialects: '': expected a name"),
        ('[targets."--force"]\nrows = [["a", "pos"]]', "targets: '--force': expected a name"),
        ('[dialects."a\\nb"]\nrows = [["a", "pos"]]', r"dialects: 'a\nb': expected a name"),
        ('[dialects.x]\nrows = [["a", "pos"]]\napart = ["pos"]', "apart: only a target"),
        ('[dialects.x]\nrows = [[[0, 0], "pos"]]', "row 1: theirs is zero: expected 0"),
        ('[dialects.x]\nrows = []\nlike = "y"', "expected one above it: there is none"),
        (
            '[dialects.x]\nrows = []\nfolds = { class_position = ["cls", "pos"] }',
            "folds: class_position: the table has no tensor cls",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_the_table_is_read(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(TableError) as caught:
        read(tmp_path, f"{ROWS}{text}\n")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('rows = [[["a", ["b", 4]], "pos"]]', "own_s: row 1: pos: 1 does not divide into 5"),
        ('rows = [["a", "pos", "x y -> y x"]]', "own_s: row 1: a [1, 5, 12]: 3 axes"),
        (
            'rows = []\n[targets.x.computed]\nindex = { function = "window_position_index", '
            'of = "table" }',
            "computed: index: no tensor of theirs is called table",
        ),
        (
            'rows = []\n[targets.x.computed]\nindex = { function = "window_position_index", '
            'of = "pos" }',
            "computed: index of pos: [1, 5, 12] is not a table of relative positions",
        ),
    ],
)
def test_what_no_variant_can_have_is_refused_with_its_row(
    tmp_path: Path, text: str, told: str
) -> None:
    table = f"{ROWS}[variants.own_s]\ninput_size = [8, 8]\nconfig = {{}}\n[targets.x]\n{text}\n"
    with pytest.raises(TableError) as caught:
        read(tmp_path, table, SHAPES)
    assert told in str(caught.value)


def test_an_index_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    """Of a table without variants, whose tensors may have any shape."""
    computed = '{ function = "window_position_index", of = "pos" }'
    table = f"{ROWS}[targets.x]\nrows = []\n[targets.x.computed]\nindex = {computed}\n"
    state = {"pos": np.ones((799 * 799, 1), np.float32)}
    with pytest.raises(ConversionError, match="a window of 400 tokens, expected at most 64"):
        turned(tmp_path, table, state, target="x")


def test_a_row_may_name_a_number_where_no_variants_say_which_there_are(tmp_path: Path) -> None:
    rows = '[["first", "blocks.0"], ["seventh.qkv", "blocks.7.qkv"], ["rest.{i}", "blocks.{i}"]]'
    read(tmp_path, f"{ROWS}[dialects.x]\nrows = {rows}\n")


def test_parts_that_axes_weave_cannot_be_told_apart(tmp_path: Path) -> None:
    """Paddle's axis holds q, k and v of each head in turn: no cut gives q."""
    state = {"qkv.weight": np.ones((24, 12), np.float32), "map.table": np.ones((1, 3, 2, 4))}
    table = f'{WOVEN}[targets.x]\nrows = [[["q", "k", "v"], "qkv"]]\n'
    with pytest.raises(ConversionError, match=r"qkv\.weight: has no parts of its own"):
        turned(tmp_path, table, state, target="x")


def test_a_shape_that_contradicts_a_size_is_refused(tmp_path: Path) -> None:
    """The way back goes by the size, and would give a tensor of another shape."""
    state = {"qkv.weight": np.ones((24, 12), np.float32), "map.table": np.ones((1, 3, 4, 2))}
    with pytest.raises(Exception, match=r"map\.table.*heads is 4, where .* says 2"):
        turned(tmp_path, WOVEN, state)


def test_parts_of_two_dtypes_are_named(tmp_path: Path) -> None:
    state: dict[str, Any] = {"pos": np.ones(3, np.float32)}
    state |= {"q.weight": np.ones((4, 4), np.float32), "k.weight": np.ones((4, 4), np.float16)}
    rows = '[[["q", "k"], "blocks.0.qkv"]]'
    with pytest.raises(ConversionError, match=r"q\.weight float32, k\.weight float16: cast"):
        turned(tmp_path, f"{ROWS}[dialects.x]\nrows = {rows}\n", state, dialect="x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a." * 100_000 + "a = 1", "has more than 60 parts"),
        ("# " + "x" * (5 << 20), "expected at most 4,194,304"),
        (
            '[dialects.x]\nrows = [["zzzz", "pos"]]\ninstead = { '
            + ", ".join(f'"{"z" * (k % 4 + 1)}" = ["zzzz", "zzzz"]' for k in range(4))
            + " , "
            + ", ".join(f"a{k} = ['b', 'c']" for k in range(40))
            + " }",
            "more than 20000 names",
        ),
        (
            "".join(f'[dialects.d{k}]\nrows = [["a", "pos"]]\n' for k in range(300)),
            "dialects: 300 of them, expected at most 200",
        ),
    ],
)
def test_what_would_take_long_is_refused_at_once(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(TableError) as caught:
        read(tmp_path, f"{ROWS}{text}\n")
    assert told in str(caught.value)
