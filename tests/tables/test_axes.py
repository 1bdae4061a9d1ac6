"""Layouts as text: what they mean, forth and back, and what is refused."""

import math
import re
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import COMMON
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from vitconvert import CheckpointError, ConversionError, TableError, open_checkpoint
from vitconvert.checkpoints import held
from vitconvert.sides import Side
from vitconvert.tables.axes import Axes
from vitconvert.tables.plan import make_plan
from vitconvert.tables.reading import read_table

Case = tuple[str, dict[str, int], list[list[str]], list[list[str]]]


@st.composite
def layouts(draw: Callable[..., Any]) -> Case:
    """Draw a layout: its text, the length of every name, and the groups of both sides."""
    names = [f"n{i}" for i in range(draw(st.integers(1, 6)))]
    lengths = {name: draw(st.sampled_from([0, 1, 2, 2, 3, 5])) for name in names}
    sides = []
    for _ in range(2):
        order = draw(st.permutations(names))
        cuts = sorted({0, len(order), *draw(st.lists(st.integers(0, len(order)), max_size=4))})
        groups = [order[a:b] for a, b in pairwise(cuts)]
        for _ in range(draw(st.integers(0, 2))):
            groups.insert(draw(st.integers(0, len(groups))), [])
        sides.append(groups)
    words = [" ".join(map(spelled, groups)) for groups in sides]
    return f"{words[0]} -> {words[1]}", lengths, sides[0], sides[1]


def spelled(group: list[str]) -> str:
    return f"({' '.join(group)})" if len(group) > 1 else "".join(group) or "1"


def shape_of(groups: list[list[str]], lengths: dict[str, int]) -> tuple[int, ...]:
    return tuple(math.prod(lengths[name] for name in group) for group in groups)


def moved(array: np.ndarray, case: Case) -> np.ndarray:
    """Move every element by itself, by its index of every name."""
    _, lengths, left, right = case
    out = np.empty(shape_of(right, lengths), array.dtype)
    for index in np.ndindex(*lengths.values()):
        at = dict(zip(lengths, index, strict=True))
        places = [
            tuple(
                int(np.ravel_multi_index([at[n] for n in group], [lengths[n] for n in group]))
                if group
                else 0
                for group in groups
            )
            for groups in (left, right)
        ]
        out[places[1]] = array[places[0]]
    return out


@settings(max_examples=300, derandomize=True, **COMMON)
@given(case=layouts(), dtype=st.sampled_from(["float32", "uint8"]), swapped=st.booleans())
def test_every_layout_moves_every_element_and_moves_it_back(
    case: Case, dtype: str, swapped: bool
) -> None:
    """As a lazy tensor and as an array; also of bytes in the other order."""
    text, lengths, left, _right = case
    shape = shape_of(left, lengths)
    array = np.arange(math.prod(shape)).astype(dtype).reshape(shape)
    tensor = held(array.byteswap() if swapped else array)
    tensor = type(tensor)(**{**vars(tensor), "big_endian": swapped})
    # A length that the shape gives need not be known; 0 cannot be.
    sizes = {name: length for name, length in lengths.items() if length}
    axes, expected = Axes.parse(text), moved(array, case)
    if 0 in shape and any(len(group) > 1 for side in (left, _right) for group in side):
        return  # what an axis of 0 is made of, nothing says

    there, made = axes.apply(tensor, sizes), axes.apply_array(array, sizes)

    assert str(axes) == text
    assert Axes.parse(str(axes.back())) == axes.back()
    assert there.shape == made.shape == axes.shape(shape, sizes) == expected.shape
    assert there.read().tobytes() == made.tobytes() == expected.tobytes()
    back = axes.back().apply(there, sizes)
    assert back.shape == shape
    assert back.read().tobytes() == array.tobytes()
    assert axes.back().apply_array(made, sizes).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("text", "shape", "sizes", "expected"),
    [
        ("out in -> in out", (3, 5), {}, (5, 3)),
        ("(3 h d) in -> in (h 3 d)", (24, 5), {"h": 2}, (5, 24)),
        ("(3 h d) in -> in (h 3 d)", (24, 5), {"d": 4, "in": 9}, (5, 24)),
        ("o i 1 1 -> i o", (3, 4, 1, 1), {}, (4, 3)),
        ("c -> 1 c", (7,), {}, (1, 7)),
        ("1 c h w -> 1 (h w) c", (1, 3, 4, 5), {}, (1, 20, 3)),
        ("out in -> in out", ("num_classes", 5), {}, (5, "num_classes")),
        ("(two c) in -> in two c", (8, 5), {"two": 2}, (5, 2, 4)),
        ("c -> 1 c", (7,), {"c": 5}, (1, 7)),
    ],
)
def test_shapes(text: str, shape: Any, sizes: dict[str, int], expected: Any) -> None:
    """What the shape itself says counts, not a size of the same name."""
    assert Axes.parse(text).shape(shape, sizes) == expected


@pytest.mark.parametrize(
    ("text", "shape", "sizes", "message"),
    [
        ("(3 h d) in -> in (h 3 d)", (100, 5), {"h": 2}, "(3 h d) does not make up 100, where h"),
        ("(3 d) in -> in (3 d)", (100, 5), {}, "(3 d) does not make up 100"),
        ("(h d) -> (d h)", (12,), {"h": 2, "d": 5}, "12, where h is 2 and d is 5"),
        ("(h d) -> (d h)", (12,), {"h": 0}, "(h d) does not make up 12, where h is 0"),
        ("(3 h d) -> (h 3 d)", (24,), {}, "h and d are unknown in (3 h d), which is 24; add one"),
        ("(a b c) -> (c b a)", (24,), {}, "add 2 of them to [sizes]"),
        ("o i 1 1 -> i o", (3, 4, 2, 1), {}, "an axis of 2, expected 1"),
        ("o i 1 1 -> i o", (3, 4), {}, "2 axes, expected 4: o i 1 1"),
        ("a b -> b a", (3,), {}, "1 axis, expected 2: a b"),
        ("(2 c) -> c 2", ("num_classes",), {}, "(2 c) cannot be num_classes"),
        ("a b -> (a b)", ("num_classes", 3), {}, "(a b) cannot have num_classes"),
        ("c 2 -> (2 c)", (4, 3), {}, "2 does not make up 3"),
        ("1 c -> c", ("num_classes", 3), {}, "1 cannot be num_classes"),
    ],
)
def test_shapes_that_do_not_fit_name_the_group_and_the_number(
    text: str, shape: Any, sizes: dict[str, int], message: str
) -> None:
    """And what to add where the shape does not say it."""
    axes = Axes.parse(text)
    calls: list[Callable[[], Any]] = [lambda: axes.shape(shape, sizes)]
    if "num_classes" not in shape:
        array = np.zeros(shape, "f4")
        calls += [lambda: axes.apply(held(array), sizes), lambda: axes.apply_array(array, sizes)]
    for call in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("out in", "0 arrows"),
        ("a -> a -> a", "2 arrows"),
        ("a b -> b", "no a on its right side"),
        ("a -> a b", "no b on its left side"),
        ("3 a -> a", "no 3 on its right"),
        ("a a -> a", "a twice"),
        ("(2 2 a) -> a 2", "2 twice"),
        ("3 a -> a 3", "3 as a whole axis"),
        ("(a -> a", "a ( without )"),
        ("a) -> a", "a ) without names"),
        ("() a -> a", "a ) without names"),
        ("((a b) c) -> a b c", "a group within a group"),
        ("(1 a) -> a", "a 1 in a group"),
        ("a* -> a", "'*'"),
        ("01 -> 01", "'01'"),
        ("3h -> 3h", "'3h'"),
        ("ä -> ä", "'ä'"),
        ("1 -> 1", "no name"),
        (" -> ", "no name"),
        ("", "0 arrows"),
        ("a" * 201, "201 characters; the limit is 200"),
        (" ".join(["1"] * 17) + " a -> a", "18 axes"),
        (7, "is not a text"),
        (True, "is not a text"),
        (None, "is not a text"),
    ],
)
def test_what_is_no_layout_is_refused(text: object, message: str) -> None:
    """With what is wrong with it."""
    with pytest.raises(ValueError, match=re.escape(message)):
        Axes.parse(text)


@settings(max_examples=300, derandomize=True, **COMMON)
@given(text=st.text(alphabet="ab1 3()->_0é\n", max_size=40))
def test_any_text_is_a_layout_or_refused(text: str) -> None:
    """One that is read is spelled the same for a reader."""
    try:
        axes = Axes.parse(text)
    except ValueError:
        return
    assert Axes.parse(str(axes)) == axes


@pytest.mark.parametrize("word", ["a ", "(", "((a", "1 ", "-> ", "(a b) "])
def test_a_text_of_a_megabyte_is_refused_at_once(word: str) -> None:
    """Before anything in it is looked at."""
    start = time.perf_counter()
    with pytest.raises(ValueError, match="characters; the limit is 200"):
        Axes.parse(word * (1 << 20))
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out in -> in out", 1),
        ("c -> 1 c", 1),
        ("1 c h w -> 1 (h w) c", 2),
        ("(3 h d) in -> in (h 3 d)", None),
        ("(h d) in -> in (h d)", 1),
        ("a b -> (a b)", 0),
        ("a b -> (b a)", None),
    ],
)
def test_what_is_joined_on_the_left_is_joined_along_one_axis_on_the_right(
    text: str, expected: int | None
) -> None:
    """Or along none, where its parts would be woven."""
    axes = Axes.parse(text)
    assert axes.first_moved() == expected
    if expected is not None:
        shape = axes.shape(tuple(range(2, 2 + len(axes.left))), {}) if "(" not in text else ()
        left = {1: (3,), 2: (3, 4), 4: (1, 3, 4, 5)}[len(axes.left)] if shape == () else shape
        if "(h d)" in text:
            left = (6, 4)
        elif shape:
            left = (1, 3, 4, 5) if len(axes.left) == 4 else (3, 4)[: len(axes.left)]
        axis = next(i for i, group in enumerate(axes.left) if group)
        one, other = np.zeros(left, "f4"), np.ones(left, "f4")
        sizes = {"h": 3} if "(h d)" in text else {}
        whole = axes.apply_array(np.concatenate([one, other], axis), {"h": 6} if sizes else {})
        parts = [axes.apply_array(part, sizes) for part in (one, other)]
        assert np.array_equal(whole, np.concatenate(parts, expected))


# -- in a table

KIND = """
[kinds.own]
torch = "torch.nn.Linear"
paddle = "paddle.nn.Linear"
[kinds.own.tensors]
weight = { paddle = "weight", axes = "(3 h d) in -> in (h 3 d)" }
"""


def write_table(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(f'rows = [["fc", "fc", "own"]]\n{text}')
    return path


@pytest.mark.parametrize("config", [False, True])
def test_a_kind_weaves_a_tensor_and_unweaves_it(config: bool, tmp_path: Path) -> None:
    """By [sizes] of the table, or the number of that name in the config of a variant."""
    text = f"[sizes]\nh = {9 if config else 2}\n{KIND}"
    if config:
        text += "[variants.own_a]\ninput_size = [8, 8]\nconfig = { h = 2 }\n"
        (tmp_path / "shapes").mkdir()
        (tmp_path / "shapes" / "own.toml").write_text('[own_a]\n"fc.weight" = [24, 5]\n')
    table = read_table(write_table(tmp_path, text))
    weight = np.random.default_rng(0).standard_normal((24, 5)).astype("f4")
    save_file({"fc.weight": weight}, tmp_path / "x.safetensors")

    plan = make_plan(open_checkpoint(tmp_path / "x.safetensors"), table)
    made = plan.apply(open_checkpoint(tmp_path / "x.safetensors").tensors)
    expected = weight.reshape(3, 2, 4, 5).transpose(3, 1, 0, 2).reshape(5, 24)
    assert made["fc.weight"].read().tobytes() == expected.tobytes()
    (step,) = plan.steps
    assert (step.operation, step.target_shape) == ("rearrange", (5, 24))
    assert step.reason == "row 1, kind own: (3 h d) in -> in (h 3 d)"

    save_file({"fc.weight": np.ascontiguousarray(expected)}, tmp_path / "y.safetensors")
    checkpoint = open_checkpoint(tmp_path / "y.safetensors")
    back = make_plan(checkpoint, table, side="paddle")
    assert back.apply(checkpoint.tensors)["fc.weight"].read().tobytes() == weight.tobytes()
    assert back.steps[0].reason == "row 1, kind own: in (h 3 d) -> (3 h d) in"


@pytest.mark.parametrize("side", ["torch", "paddle"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((24, 5, 1), "3 axes, expected 2: "),
        ((100, 100), r"\((3 h d|h 3 d)\) does not make up 100, where h is 2"),
    ],
)
def test_a_tensor_that_its_kind_cannot_have_is_refused_by_name(
    shape: tuple[int, ...], message: str, side: Side, tmp_path: Path
) -> None:
    """In either direction, with the row."""
    table = read_table(write_table(tmp_path, f"[sizes]\nh = 2\n{KIND}"))
    save_file({"fc.weight": np.zeros(shape, "f4")}, tmp_path / "x.safetensors")

    with pytest.raises((ConversionError, CheckpointError), match=message) as raised:
        make_plan(open_checkpoint(tmp_path / "x.safetensors"), table, side=side)
    assert "fc.weight: shape " in str(raised.value)
    assert "row 1 of " in str(raised.value)


def test_a_length_that_is_not_known_is_asked_for(tmp_path: Path) -> None:
    """With where to write it."""
    table = read_table(write_table(tmp_path, KIND))
    save_file({"fc.weight": np.zeros((24, 5), "f4")}, tmp_path / "x.safetensors")
    with pytest.raises(ConversionError, match=r"add one of them to \[sizes\]"):
        make_plan(open_checkpoint(tmp_path / "x.safetensors"), table)


def test_shapes_of_a_variant_that_its_kind_cannot_have_are_a_fault_of_the_table(
    tmp_path: Path,
) -> None:
    """Named with the tensor and the variant."""
    variants = "[variants.own_a]\ninput_size = [8, 8]\nconfig = { h = 5 }\n"
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "own.toml").write_text('[own_a]\n"fc.weight" = [24, 5]\n')
    table = read_table(write_table(tmp_path, KIND + variants))
    save_file({"fc.weight": np.zeros((5, 24), "f4")}, tmp_path / "x.safetensors")
    with pytest.raises(TableError, match=r"fc.weight: shape \[24, 5\] of own_a does not fit axes"):
        make_plan(open_checkpoint(tmp_path / "x.safetensors"), table, side="paddle")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ('paddle = "w", transpose = true', 'transpose is unknown. Write axes = "out in -> in out"'),
        ('paddle = "w", axes = "a -> b"', "axes 'a -> b' has no a on its right side"),
        ('paddle = "w", axes = true', "axes True is not a text"),
        ('drop = "why", axes = "a b -> b a"', "axes of a tensor that is dropped"),
    ],
)
def test_what_a_kind_cannot_say_is_refused_with_what_it_can(
    words: str, message: str, tmp_path: Path
) -> None:
    """Old words, too."""
    kind = '[kinds.own]\ntorch = "a.B"\npaddle = "a.B"\n[kinds.own.tensors]\n'
    with pytest.raises(TableError, match=re.escape(message)):
        read_table(write_table(tmp_path, f"{kind}weight = {{ {words} }}"))


@pytest.mark.parametrize("sizes", ["h = 0", "h = -1", "h = true", 'h = "2"', "h = 2.0"])
def test_sizes_are_whole_numbers_from_one_on(sizes: str, tmp_path: Path) -> None:
    """Nothing else is a length."""
    with pytest.raises(TableError, match=r"sizes is .*, expected names, each with a whole number"):
        read_table(write_table(tmp_path, f"[sizes]\n{sizes}\n{KIND}"))


def test_layout_of_a_kind_is_written_at_the_tensor(tmp_path: Path) -> None:
    """As axes."""
    text = KIND.replace("[kinds.own.t", 'layout = "x"\n[kinds.own.t')
    with pytest.raises(TableError, match=r"layout is unknown. Write it at the tensor, as axes = "):
        read_table(write_table(tmp_path, text))
