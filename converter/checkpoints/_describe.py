"""What lies beside the weights of a checkpoint, in a few words each."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from . import pickles, unusual
from .selection import WRAPPERS
from .storage import Storage

_LONGEST = 60  # of the name of a part


def name_of(key: Any) -> str:
    """Format the key of an entry, which need not be a printable string."""
    if not isinstance(key, str):
        return describe(key)
    return key if key.isprintable() and len(key) <= 200 else f"{key!r:.100}"


def describe(value: Any) -> str:
    """Describe an entry beside the weights in a few words."""
    if isinstance(value, pickles.Opaque):
        return unusual.what(value)
    if isinstance(value, int) and value.bit_length() > 64:
        return "a large number"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, pickles.Text):
        return f"a text of {value.part.size} bytes"
    if isinstance(value, Storage):
        return f"{value.size} bytes"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    if isinstance(value, (dict, list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    return "nothing" if value is None else type(value).__name__.lower().lstrip("_")


def parts(names: Iterable[str]) -> dict[str, str]:
    """Count names by the part of the model they belong to, the word before the first dot.

    Averages of MMDetection have no dots: ema_backbone_layers_0_...
    """
    found: Counter[str] = Counter()
    for name in names:
        part, _, rest = name.partition(".")
        while part in WRAPPERS and rest:
            part, _, rest = rest.partition(".")
        found["ema_*" if part.startswith("ema_") and not rest else part] += 1
    return {
        name_of(part[:_LONGEST]): f"{n} {'entries' if n > 1 else 'entry'}"
        for part, n in found.items()
    }
