"""Causes that explain what was computed instead."""

import pytest

from vitconvert.parity._lookalikes import explain_size

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
