"""Layouts as text: what they mean, forth and back, and what is refused."""

import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import COMMON
from vitconvert.checkpoints import held
from vitconvert.tables.axes import Axes

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
    calls = [lambda: axes.shape(shape, sizes)]
    if "num_classes" not in shape:
        array = np.zeros(shape, "f4")
        calls += [lambda: axes.apply(held(array), sizes), lambda: axes.apply_array(array, sizes)]
    for call in calls:
        with pytest.raises(ValueError) as raised:
            call()
        assert message in str(raised.value)


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
    with pytest.raises(ValueError) as raised:
        Axes.parse(text)
    assert message in str(raised.value)


@settings(max_examples=300, derandomize=True, **COMMON)
@given(text=st.text(alphabet="ab1 3()->_0é\n", max_size=40))
def test_any_text_is_a_layout_or_refused(text: str) -> None:
    """One that is read is spelled the same for a reader."""
    try:
        axes = Axes.parse(text)
    except ValueError as error:
        assert len(str(error)) < 300
    else:
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
