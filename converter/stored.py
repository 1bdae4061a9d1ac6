"""Our own files that come back: read in bounded time and memory, whatever they hold now.

A run, a trace, an export or a table may have been changed, cut short, or be another thing under
its name. What these functions cannot read raises OSError or ValueError, and nothing else; which
fields there are, and of which types, `checked` finds out.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .plain import descriptor

_MOST = 256 << 20  # bytes of a file; the largest trace that is known has some MB
_MOST_TOML = 4 << 20  # the largest table that is known has 0.1 MB
_DEEPEST = 60  # lists and tables within each other; vitconvert writes fewer than ten
_KEY_PART = re.compile(r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')([ \t]*+\.)?+""", re.ASCII)


def read_bytes(path: Path, most: int = _MOST) -> bytes:
    """Read a plain file whole; one that is a pipe is not waited for.

    Raises:
        OSError: It cannot be read, or is a pipe or a device.
        ValueError: It is larger than that many bytes.
    """
    with os.fdopen(descriptor(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"it has {size:,} bytes, expected at most {most:,}")
        return file.read(most)


def read_json(path: Path, most: int = _MOST) -> Any:
    """Read a file of JSON.

    Raises:
        OSError: As `read_bytes`.
        ValueError: It is not JSON, or too large or too deep.
    """
    return parse_json(read_bytes(path, most))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of TOML.

    Raises:
        OSError: As `read_bytes`.
        ValueError: It is not TOML, or too large or too deep.
    """
    text = read_bytes(path, _MOST_TOML).decode("utf-8-sig")  # editors on Windows begin with a mark
    if any(line.count(".") > _DEEPEST and _has_long_key(line) for line in text.split("\n")):
        raise ValueError(f"a name in it has more than {_DEEPEST} parts with dots between")
    found: dict[str, Any] = _bounded(lambda: tomllib.loads(text.replace("\r\n", "\n")))
    return found


def _has_long_key(line: str) -> bool:
    """Find names that tomllib takes long for: a time with the square of the number of parts."""
    parts = 0
    for part in _KEY_PART.finditer(line):
        parts = parts + 1 if part[1] else 0
        if parts > _DEEPEST:
            return True
    return False


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: It is not JSON, or too deep.
    """
    return _bounded(lambda: json.loads(text))


def _bounded(parse: Callable[[], Any]) -> Any:
    """Refuse what is nested deeper than whatever reads it later may recurse."""
    deep = f"it is nested deeper than {_DEEPEST} levels"
    try:
        found = parse()
    except RecursionError:
        raise ValueError(deep) from None
    level = [found]
    for _ in range(_DEEPEST):
        level = [inner for one in level for inner in _within(one)]
        if not level:
            return found
    raise ValueError(deep)


def _within(value: Any) -> list[Any]:
    """Give the values of a list or a table."""
    return list(value.values()) if isinstance(value, dict) else value if type(value) is list else []
