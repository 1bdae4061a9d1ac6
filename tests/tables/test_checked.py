"""Parsed data becomes a dataclass, or every problem is listed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from vitconvert.checked import checked, expected


@dataclass(frozen=True)
class Sizes:
    """Some of every type."""

    name: str
    share: float = field(default=0.5, metadata=expected("a number up to 1", lambda x: 0 < x <= 1))
    size: tuple[int, int] | None = None
    depths: tuple[int, ...] = ()
    mode: Literal["center", "squash"] = "center"
    is_small: bool = False
    others: Mapping[str, str] = field(default_factory=dict)


def problems(**data: Any) -> list[str]:
    found: list[str] = []
    assert (checked(Sizes, data, "here: ", found, name="x") is None) == bool(found)
    return found


def test_what_fits_is_taken_and_lists_become_tuples() -> None:
    """A whole number is a number, too; what is left out keeps its default."""
    found = checked(
        Sizes, {"share": 1, "size": [2, 3], "depths": [1], "others": {"a": "b"}}, "", [], name="x"
    )

    assert found == Sizes("x", 1, (2, 3), (1,), others={"a": "b"})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"share": True}, "share is True, expected a number up to 1."),
        ({"share": 1.5}, "share is 1.5, expected a number up to 1."),
        ({"size": [1, 2, 3]}, "size is [1, 2, 3], expected a list."),
        ({"size": [1, "2"]}, "size is [1, '2'], expected a list."),
        ({"depths": 3}, "depths is 3, expected a list."),
        ({"mode": "crop"}, "mode is 'crop', expected one of 'center', 'squash'."),
        ({"is_small": 1}, "is_small is 1, expected true or false."),
        ({"others": {"a": 1}}, "others is {'a': 1}, expected a table."),
        ({"depth": [1]}, "depth is unknown. Did you mean 'depths'?"),
        ({"name": "y"}, "name is unknown."),
    ],
)
def test_what_does_not_fit_is_told_with_what_was_expected(data: dict[str, Any], told: str) -> None:
    """And where it stands."""
    assert problems(**data) == [f"here: {told}"]


def test_all_problems_are_listed() -> None:
    """A field that must be given, too."""
    found: list[str] = []

    assert checked(Sizes, {"share": "a", "sise": 1}, "", found) is None
    assert found == [
        "sise is unknown. Did you mean 'size'?",
        "name is missing, expected a text.",
        "share is 'a', expected a number up to 1.",
    ]
