"""The interpreter builds plain data as pickle does, and calls nothing."""

import collections
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import pytest

from vitconvert import CheckpointError
from vitconvert.checkpoints import pickles
from vitconvert.checkpoints.storage import Held, Part

BUILDERS: dict[str, Any] = {"collections.OrderedDict": lambda *pairs: dict(*pairs)}


def load(data: bytes) -> Any:
    return pickles.load(Held(data), BUILDERS)[0]


def plain(value: Any) -> Any:
    """Read the parts of the file, so that values compare."""
    if isinstance(value, Part):
        return value.read(0, value.size)
    if isinstance(value, pickles.Text):
        return plain(value.part).decode()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value


DATA = {
    "numbers": [0, 1, 255, 256, 65535, 65536, -1, 2**31, -(2**31), 2**63, 10**40, 1.5, -0.0, 1e300],
    "texts": ["", "a", "ü" * 300, "x" * 70000, "\ud800"],
    "constants": (None, True, False),
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    3: {"nested": [{}, [], [[1]], {"a": {"b": None}}]},
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_out_as_pickle_gives_it(protocol: int) -> None:
    """Every protocol, every kind of plain value, shared objects shared."""
    shared = ["s"]
    data = {**DATA, "shared": [shared, shared], "ordered": collections.OrderedDict(a=1, b=2)}
    if protocol == 0:
        data["texts"] = ["", "a", "ü"]  # protocol 0 spells long texts in one line

    found = load(pickle.dumps(data, protocol))

    assert plain(found) == data
    assert found["shared"][0] is found["shared"][1]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_bytes_are_parts_of_the_file(protocol: int) -> None:
    """Nothing is read, so a tensor inside a pickle costs nothing until it is read."""
    data = pickle.dumps({"a": b"abc", "b": b"x" * 300, "c": bytes(70000)}, protocol)
    found = load(data)

    assert plain(found) == {"a": b"abc", "b": b"x" * 300, "c": bytes(70000)}
    assert all(isinstance(value, Part) for value in found.values())


class Hostile:
    """Pickles as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "posix.system"), (eval, "builtins.eval"), (exec, "builtins.exec")],
)
def test_no_call_is_made(protocol: int, function: Any, name: str, tmp_path: Path) -> None:
    """A call of anything without a builder becomes an inert stand-in with its name."""
    target = tmp_path / "executed"
    code = (
        f"touch {target}" if function is os.system else f"__import__('os').mkdir({str(target)!r})"
    )
    data = pickle.dumps({"weights": 1, "bad": Hostile(function, code)}, protocol)

    found = load(data)

    assert found["weights"] == 1
    assert isinstance(found["bad"], pickles.Opaque)
    assert found["bad"].name.rpartition(".")[2] == name.rpartition(".")[2]
    assert not target.exists()
    pickle.loads(data)  # the same bytes do run when Python's own unpickler reads them
    assert target.exists()


def test_nested_and_stateful_calls_stay_inert() -> None:
    """Calls on the result of a call, its state and its items are parsed, never executed."""
    data = (
        b"\x80\x04cbuiltins\neval\n(X\x01\x00\x00\x00xtR)R"  # eval("x")()
        b"}b(K\x01K\x02u(K\x03e."  # set its state, its items, its elements
    )
    assert [op.name for op, _, _ in pickletools.genops(data)][-1] == "STOP"  # well-formed

    assert isinstance(load(data), pickles.Opaque)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x80\x04",
        b".",
        b"}s.",
        b"K.",
        b"\x80\x04X\xff\xff\xff\x7fabc.",  # text longer than the file
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc.",  # bytes of 2^64
        b"h\x05.",  # a memo entry that is not there
        b"t.",  # no mark
        b"\xff.",  # no such instruction
        b"(K\x01d.",  # a key without a value
        b"K\x01K\x02a.",  # append to a number
        b"K\x01}b.",  # state of a number
        b"Px\n.",  # a persistent id
        b"I12x\n.",
        b"K\x01\x93.",
        b"c" + b"a" * 100000 + b"\n",
        b"X\x01\x00\x00\x00\xff.",  # not UTF-8
    ],
)
def test_malformed_pickles_are_refused(data: bytes) -> None:
    """Whatever is wrong, one error gives the position."""
    with pytest.raises(CheckpointError, match="malformed or cut-off pickle"):
        load(data)


def test_cut_anywhere_is_refused() -> None:
    """Every proper prefix of a pickle is an error."""
    data = pickle.dumps(DATA, 4)[:3000]

    for end in range(0, len(data), 7):
        with pytest.raises(CheckpointError):
            load(data[:end])


def test_deep_nesting_does_not_recurse() -> None:
    """A hundred thousand tuples in each other are read, and are not hashed as a key."""
    deep = b"\x80\x04}" + b")" + b"\x85" * 100_000

    assert len(load(deep + b"K\x01s.")) == 1


def test_huge_memo_index_allocates_nothing() -> None:
    """Python's own unpickler would grow its memo to this size."""
    assert load(b"\x80\x04K\x07r\xff\xff\xff\x7fj\xff\xff\xff\x7f.") == 7
