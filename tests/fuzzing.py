"""Damage to our own files that come back: their JSON, and their bytes."""

import json
import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

COMMON: dict[str, Any] = {
    "database": None,
    "deadline": 20_000,  # milliseconds: no hang
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}
settings.register_profile("short-json", max_examples=60, derandomize=True, **COMMON)
settings.register_profile("long-json", max_examples=5_000, **COMMON)
PROFILE = settings.get_profile(f"{os.environ.get('HYPOTHESIS_PROFILE', 'short')}-json")

DEEP = "[" * 50_000 + "]" * 50_000
PIECES = [b"", b"", b"\0", b"[", b"{", b'"', b"\xff", b"9" * 30, DEEP.encode()]
VALUES: list[Any] = [
    *(None, True, 0, -1, 1, 2, 7, 2**31, 2**63, -(2**70), 10**400),
    *(0.5, float("nan"), float("inf")),
    *(
        "",
        "x",
        "\0",
        "\ud800",
        "../..",
        "{i}",
        "float64",
        "a\nPROVED",
        [],
        [0],
        [[]],
        ["x"],
        [1] * 99,
    ),
    *({}, {"": 0}, {"array": 99}, {"array": -1}, {"dict": 0}, {"a": {"b": [{}]}}),
]


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value within."""
    if at:
        yield at
    items = data.items() if isinstance(data, dict) else ()
    for name, value in enumerate(data) if isinstance(data, list) else items:
        yield from places(value, (*at, name))


@st.composite
def changed(draw: Callable[..., Any], data: Any) -> Any:
    """Draw the same data with up to three values replaced, removed or doubled."""
    data = deepcopy(data)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        # Every level as often: most values lie deep.
        known = list(places(data))
        if not known:
            return data
        depth = draw(st.sampled_from(sorted({len(at) for at in known})))
        *way, last = draw(st.sampled_from([at for at in known if len(at) == depth]))
        inner = data
        for name in way:
            inner = inner[name]
        kind = draw(st.sampled_from(["value", "value", "value", "gone", "other", "more"]))
        if kind == "value":
            inner[last] = deepcopy(draw(st.sampled_from(VALUES)))
        elif kind == "gone":
            del inner[last]
        elif kind == "other":  # a value of another place
            inner[last] = deepcopy(
                draw(st.sampled_from(list(inner.values() if isinstance(inner, dict) else inner)))
            )
        elif isinstance(inner, dict):
            inner[draw(st.sampled_from(["", "x", "format", "a\nb"]))] = deepcopy(inner[last])
        else:
            inner.append(deepcopy(inner[last]))
    return data


@st.composite
def damaged(draw: Callable[..., Any], content: bytes) -> bytes:
    """Draw the bytes of a file that was cut short, or in which some were replaced."""
    at: int = draw(st.integers(0, len(content)))
    new: bytes = draw(st.sampled_from(PIECES))
    return (
        content[:at] + new + content[at + draw(st.sampled_from([0, 1, len(new), len(content)])) :]
    )


def spelled(data: Any) -> bytes:
    """Spell data as JSON; half a surrogate pair stays an escape."""
    return json.dumps(data).encode()
