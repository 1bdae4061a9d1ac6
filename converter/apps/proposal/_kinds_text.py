"""Write kinds of the user's own into a proposed table, as TOML."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write_kinds(kinds: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Write kinds as [kinds.name], a line at a time.

    Args:
        kinds: Name -> what the user's file says of it.
    """
    for name, entry in kinds.items():
        heading = f"kinds.{_key(name)}"
        inner = {key: value for key, value in entry.items() if isinstance(value, Mapping)}
        yield from ("", f"[{heading}]")
        yield from (_line(key, value) for key, value in entry.items() if key not in inner)
        for key, table in inner.items():
            yield f"[{heading}.{_key(key)}]"
            yield from (_line(word, value) for word, value in table.items())


def _line(key: str, value: Any) -> str:
    return f"{_key(key)} = {_value(value)}"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _value(value: Any) -> str:
    """Spell a value; a table is written in one line."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_line(key, inner) for key, inner in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
