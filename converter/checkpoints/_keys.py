"""Keys of a pickled dict that a file chose, made safe to hash."""

from collections.abc import Callable
from typing import Any

_PLAIN = 0xFFFF  # numbers up to this are too few to do harm


def safe(key: Any, unknown: Callable[[str], Any]) -> Any:
    """Give a key that neither takes long to hash nor hashes as many others do.

    A deeply nested tuple would overflow the stack. Numbers of a file's choice may all hash alike,
    so that each is compared with all before it; the hash of a text differs in every process.

    Args:
        key: As the file has it.
        unknown: Makes what stands for a key that is neither a text nor a number of usual size.
    """
    if isinstance(key, str) or key is None or isinstance(key, bool):
        return key
    if isinstance(key, int):
        if 0 <= key <= _PLAIN:
            return key
        return _Int(key) if key.bit_length() <= 64 else unknown("a large number")
    return _Float(key) if isinstance(key, float) else unknown("(key)")


class _Int(int):
    """A whole number that hashes as its text does."""

    def __hash__(self) -> int:
        return hash(int.__repr__(self))


class _Float(float):
    """A number that hashes as its text does."""

    def __hash__(self) -> int:
        return hash(float.__repr__(self))
