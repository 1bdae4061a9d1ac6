"""Causes that explain what was computed instead."""

from itertools import permutations

import numpy as np
import pytest

from vitconvert.parity._lookalikes import _ACTIVATIONS, explain_size, explain_values

POOLED = [  # pixels before the pool, kernel, in the reference, in the candidate, in words
    (
        54,
        3,
        27,
        26,
        "a pool without ceil_mode gives that (kernel 3, stride 2: 54 pixels become 26)",
    ),
    (54, 3, 26, 27, "a pool with ceil_mode gives that (kernel 3, stride 2: 54 pixels become 27)"),
    (7, 2, 4, 3, "a pool without ceil_mode gives that (kernel 2, stride 2: 7 pixels become 3)"),
]


@pytest.mark.parametrize(("given", "kernel", "reference", "candidate", "words"), POOLED)
def test_a_pool_that_rounds_otherwise_explains_the_size_of_a_map(
    given: int, kernel: int, reference: int, candidate: int, words: str
) -> None:
    def shape(size: int) -> tuple[int, int, int, int]:
        return 2, 8, size, size

    before = [(2, 8), shape(reference), shape(given), shape(2 * given)]
    told = explain_size(shape(reference), shape(candidate), before)

    assert told is not None
    assert told.startswith(words)
    assert f"kernel {kernel}," in told


@pytest.mark.parametrize("candidate", [(2, 8, 27, 27), (2, 9, 26, 26), (2, 8, 25, 25), (2, 8)])
def test_other_sizes_are_not_explained_by_a_pool(candidate: tuple[int, ...]) -> None:
    assert explain_size((2, 8, 27, 27), candidate, [(2, 8, 54, 54)]) is None
    assert explain_size((2, 8, 27, 27), candidate, []) is None


@pytest.mark.parametrize("size", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("one", "other"), [*permutations(_ACTIVATIONS, 2)])
def test_one_activation_in_place_of_another_is_named(one: str, other: str, size: float) -> None:
    """Whatever their argument, as long as some of it is large enough to rise."""
    given = np.random.default_rng(0).standard_normal((2, 50, 64)) * size
    truth, found = (_ACTIVATIONS[name][0](given) for name in (one, other))

    assert explain_values(truth, found) == f"comes of {other}, the reference's of {one}"
