"""Other names of a table: rows turn them into ours and back, and what cannot be is refused."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from vitconvert import CheckpointError, ConversionError, TableError, convert, open_checkpoint
from vitconvert.tables import functions, naming, resize_parsing, resize_rules
from vitconvert.tables.name_rows import NameRow, Part
from vitconvert.tables.names import Names
from vitconvert.tables.reading import read_table

State = dict[str, np.ndarray]
Refused = Callable[..., str]

ROWS = """
rows = [
  ["stem",                "stem",                "conv2d"],
  ["pos",                 "pos",                 "param"],
  ["blocks.{i}.norm",     "blocks.{i}.norm",     "layer_norm"],
  ["blocks.{i}.qkv",      "blocks.{i}.qkv",      "linear"],
  ["head",                "head",                "linear"],
]
"""
DIALECT = """
[dialects.other]
title = "Another"
rows = [
  ["embed.kernel",                                             "stem.weight", "h w i o -> o i h w"],
  ["embed.bias",                                               "stem.bias"],
  ["table",                                                    "pos",         "n c -> 1 n c"],
  ["layer_{i+1}.ln",                                           "blocks.{i}.norm"],
  [["layer_{i+1}.q", "layer_{i+1}.k", "layer_{i+1}.v"],        "blocks.{i}.qkv"],
  ["out",                                                      "head"],
  ["classifier",                                               "head"],
]
[dialects.other.ignore]
"layer_{i}.mask" = "computed from the size"
"""


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([*shape, seed]).normal(size=shape).astype(np.float32)


def ours(depth: int = 3, dim: int = 4) -> State:
    """Make the weights that the rows are about, under our names."""
    state = {"stem.weight": numbers(dim, 3, 2, 5), "stem.bias": numbers(dim)}
    state["pos"] = numbers(1, 7, dim)
    for i in range(depth):
        for leaf in ("weight", "bias"):
            state[f"blocks.{i}.norm.{leaf}"] = numbers(dim, seed=i)
        state[f"blocks.{i}.qkv.weight"] = numbers(3 * dim, dim, seed=i)
        state[f"blocks.{i}.qkv.bias"] = numbers(3 * dim, seed=i)
    return {**state, "head.weight": numbers(6, dim), "head.bias": numbers(6)}


def theirs(depth: int = 3) -> State:
    """Spell the same weights as the dialect does, without its rows."""
    own, found = ours(depth), dict[str, np.ndarray]()
    found["embed.kernel"] = own["stem.weight"].transpose(2, 3, 1, 0).copy()
    found["embed.bias"], found["table"] = own["stem.bias"], own["pos"][0]
    for i in range(depth):
        for leaf in ("weight", "bias"):
            found[f"layer_{i + 1}.ln.{leaf}"] = own[f"blocks.{i}.norm.{leaf}"]
            parts = np.split(own[f"blocks.{i}.qkv.{leaf}"], 3)
            found |= {
                f"layer_{i + 1}.{n}.{leaf}": p.copy() for n, p in zip("qkv", parts, strict=True)
            }
    return {**found, "out.weight": own["head.weight"], "out.bias": own["head.bias"]}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(ROWS + DIALECT)
    return path


@pytest.fixture
def refused(table: Path, tmp_path: Path) -> Refused:
    """Give the message with which weights are refused."""

    def refuse(state: Mapping[str, np.ndarray], **options: Any) -> str:
        save_file(dict(state), tmp_path / "x.safetensors", {"format": "pt"})
        with pytest.raises((ConversionError, CheckpointError)) as caught:
            convert(
                tmp_path / "x.safetensors", tmp_path / "x.pdparams", table, parity=False, **options
            )
        assert not (tmp_path / "x.pdparams").exists()
        return str(caught.value)

    return refuse


def turned(path: Path, table: Path, end: str, **options: Any) -> Path:
    """Convert a file to the other framework."""
    out = path.with_suffix(end)
    convert(path, out, table, parity=False, force=True, **options)
    return out


def same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Tell whether two states are the same, bit for bit."""
    assert one.keys() == other.keys()
    pairs = [(one[key], other[key]) for key in one]
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


def bad_table(tmp_path: Path, text: str) -> str:
    path = tmp_path / "bad.toml"
    path.write_text(ROWS + text)
    with pytest.raises(TableError) as caught:
        read_table(path)
    return str(caught.value)


def test_a_dialect_is_found_and_gives_the_same_paddle_file(table: Path, tmp_path: Path) -> None:
    save_file(ours(), tmp_path / "a.safetensors", {"format": "pt"})
    save_file(theirs(), tmp_path / "b.safetensors", {"format": "pt"})
    one, other = (
        open_checkpoint(turned(tmp_path / f"{name}.safetensors", table, ".pdparams")).tensors
        for name in "ab"
    )
    assert same({k: t.read() for k, t in one.items()}, {k: t.read() for k, t in other.items()})


def test_forth_and_back_is_bit_for_bit_in_either_spelling(table: Path, tmp_path: Path) -> None:
    """A second spelling of a layer is read; the first one is written."""
    state = theirs()
    again = {key.replace("out.", "classifier."): array for key, array in state.items()}
    for name, given_state in (("a", state), ("b", again)):
        save_file(given_state, tmp_path / f"{name}.safetensors", {"format": "pt"})
        there = turned(tmp_path / f"{name}.safetensors", table, ".pdparams")
        back = tmp_path / f"{name}2.safetensors"
        convert(there, back, table, parity=False, dialect="other")
        assert same(load_file(back), state)


def test_what_a_dialect_leaves_out_is_left_out(table: Path, tmp_path: Path) -> None:
    state = theirs() | {"layer_2.mask": numbers(3)}
    save_file(state, tmp_path / "a.safetensors", {"format": "pt"})
    assert turned(tmp_path / "a.safetensors", table, ".pdparams").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layer_2.k.weight": None}, r"layer_2\.k\.weight: missing"),
        ({"layer_2.k.weight": numbers(3, 4)}, r"parts of different length"),
        ({"layer_2.k.weight": numbers(4, 5)}, r"layer_2\.k\.weight \[4, 5\]: does not fit"),
        ({"layer_9.odd": numbers(4)}, r"layer_9\.odd: "),
        ({"table": numbers(1, 7, 4)}, r"table \[1, 7, 4\]: 3 axes, expected 2"),
        (
            {"classifier.weight": numbers(6, 4)},
            r"would both become head\.weight",
        ),
    ],
)
def test_one_wrong_tensor_is_named_as_the_file_names_it(
    refused: Refused, change: Mapping[str, np.ndarray | None], told: str
) -> None:
    state = {k: v for k, v in {**theirs(), **change}.items() if v is not None}
    assert re.search(told, refused(state, dialect="other"))


def test_an_unknown_dialect_or_target_is_named_with_the_nearest(refused: Refused) -> None:
    assert "no dialect 'othr'; there are: other. Did you mean 'other'?" in refused(
        theirs(), dialect="othr"
    )
    assert "has no target 'x'; it has no targets" in refused(ours(), target="x")


def test_parts_lie_along_the_output_axis_of_either_framework(tmp_path: Path) -> None:
    """A target has q by itself, k and v as one; Paddle has their outputs in the last axis."""
    table = tmp_path / "own.toml"
    rows = '[["blocks.{i}.q", ["blocks.{i}.kv", 2]], "blocks.{i}.qkv"]'
    table.write_text(f"{ROWS}[targets.split]\nrows = [{rows}]\n")
    state = ours(1)
    save_file(state, tmp_path / "a.safetensors", {"format": "pt"})
    out = turned(tmp_path / "a.safetensors", table, ".pdparams", target="split")
    made = {key: tensor.read() for key, tensor in open_checkpoint(out).tensors.items()}
    q, k, v = np.split(state["blocks.0.qkv.weight"], 3)
    assert np.array_equal(made["blocks.0.q.weight"], q.T)
    assert np.array_equal(made["blocks.0.kv.weight"], np.concatenate([k, v]).T)
    assert same(load_file(turned(out, table, ".safetensors")), state)


def test_zeros_are_filled_in_and_refused_on_the_way_back_unless_zero(tmp_path: Path) -> None:
    table = tmp_path / "own.toml"
    table.write_text(
        ROWS + "[dialects.beit]\nrows = ["
        '[["blocks.{i}.q_bias", 0, "blocks.{i}.v_bias"], "blocks.{i}.qkv.bias"]]\n'
    )
    state = ours(2)
    state |= {f"blocks.{i}.{n}_bias": numbers(4, seed=i) for i in range(2) for n in "qv"}
    bias = [state.pop(f"blocks.{i}.qkv.bias") for i in range(2)]
    save_file(state, tmp_path / "a.safetensors", {"format": "pt"})
    there = turned(tmp_path / "a.safetensors", table, ".pdparams")
    own = {key: tensor.read() for key, tensor in open_checkpoint(there).tensors.items()}
    assert not own["blocks.1.qkv.bias"][4:8].any()
    assert np.array_equal(own["blocks.1.qkv.bias"][8:], state["blocks.1.v_bias"])
    convert(there, tmp_path / "b.safetensors", table, parity=False, dialect="beit")
    assert same(load_file(tmp_path / "b.safetensors"), state)

    full = ours(2) | {f"blocks.{i}.qkv.bias": bias[i] for i in range(2)}
    save_file(full, tmp_path / "c.safetensors", {"format": "pt"})
    there = turned(tmp_path / "c.safetensors", table, ".pdparams")
    with pytest.raises(ConversionError, match=r"blocks\.0\.qkv\.bias: a part of it must be zero"):
        convert(there, tmp_path / "d.safetensors", table, parity=False, dialect="beit")
    assert not (tmp_path / "d.safetensors").exists()


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ('[["a", "head"], ["a", "stem"]]', r"row 2: row 1 speaks of a as well"),
        ('[["a", "heed"]]', r"row 1: no tensor's name begins with heed"),
        ('[["a.{i}", "head"]]', r"row 1: 'head' does not have the \{placeholders\} of 'a\.\{i\}'"),
        ('[["stem", "head"]]', r"both become stem"),
        ('[["a", "head", "x -> y"]]', r"row 1: axes are 'x -> y'"),
        ('[[["a", "a"], "head"]]', r"row 1: a, a: a part is there twice"),
        ('[["a.{i*2}", "blocks.{i}"]]', r"row 1: a cell is 'a\.\{i\*2\}'"),
        ('[["a", 0]]', r"row 1: ours is zero"),
        ('[["a"]]', r"row 1: expected \[theirs, ours\]"),
        ('[["a", ["head", ["stem", 0]]]]', r"row 1: a cell is"),
        ("3", r"rows is 3, expected a list"),
    ],
)
def test_a_wrong_row_is_named_when_the_table_is_read(tmp_path: Path, rows: str, told: str) -> None:
    text = bad_table(tmp_path, f"[dialects.x]\nrows = {rows}\n")
    assert "dialects.x: " in text
    assert re.search(told, text), text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[dialects.x]\n", "dialects.x: rows is missing"),
        ('[dialects.x]\nrows = []\nprefix = "a"\n', "prefix is unknown"),
        ("[targets]\nx = 3\n", "targets is {'x': 3}, expected a table of tables"),
        ('[dialects.x]\nrows = []\n[dialects.x.ignore]\n"a" = ""\n', "each with its reason"),
        (
            '[targets.x]\nrows = []\n[targets.x.computed]\na = { function = "f", of = "b" }\n',
            "no function is called 'f'",
        ),
        (
            '[dialects.x]\nrows = []\nfolds = { class_position = ["pos"] }\n',
            "expected our names of: token, table",
        ),
    ],
)
def test_a_wrong_entry_is_named_when_the_table_is_read(
    tmp_path: Path, text: str, told: str
) -> None:
    assert told in bad_table(tmp_path, text)


def test_the_longest_beginning_counts_and_numbers_are_shifted() -> None:
    names = Names(
        "x",
        "torch",
        (
            NameRow(1, (Part("layers.{s}"),), (Part("stages.{s}"),)),
            NameRow(2, (Part("layers.{s}.downsample"),), (Part("stages.{s+1}.downsample"),)),
        ),
    )
    assert names.ours("layers.0.blocks.1.w") == ("stages.0.blocks.1.w",)
    assert names.ours("layers.0.downsample.norm.w") == ("stages.1.downsample.norm.w",)
    assert names.move("stages.1.downsample.norm.w", back=True).targets == (
        "layers.0.downsample.norm.w",
    )
    assert names.ours("layers.01.blocks.w") == ("layers.01.blocks.w",)  # it would not come back
    assert names.ours("layersx.0") == ("layersx.0",)


words = st.text("abcdef", min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_made_up_names_come_back(data: st.DataObject) -> None:
    """Whatever rows say, a table that is read without complaint turns every name forth and back."""
    keys = sorted(ours(2))
    pieces = sorted(
        {".".join(k.split(".")[: n + 1]) for k in keys for n in range(k.count(".") + 1)}
    )
    chosen = data.draw(st.lists(st.sampled_from(pieces), unique=True, max_size=5))
    rows = []
    for number, own in enumerate(chosen, 1):
        other = ".".join(data.draw(st.lists(words, min_size=1, max_size=3)))
        rows.append(NameRow(number, (Part(f"{other}{number}"),), (Part(own),)))
    names = Names("x", "torch", tuple(rows))
    if list(names.problems(keys)):
        return
    made = [names.move(key, back=True).targets[0] for key in keys]
    assert len(set(made)) == len(keys)
    assert [names.ours(str(key)) for key in made] == [(key,) for key in keys]


def test_the_functions_that_tables_may_call_are_there() -> None:
    """What is checked without NumPy is what there is."""
    assert tuple(functions.COMPUTED) == naming.COMPUTED
    found = {
        name: tuple(one.name for one in fields(fold)) for name, fold in functions.FOLDS.items()
    }
    assert found == naming.FOLDS
    assert tuple(resize_rules.FUNCTIONS) == resize_parsing.FUNCTIONS
