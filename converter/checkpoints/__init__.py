"""Checkpoint files: names and lazy tensors out of any of them, and a .pdparams into one.

One module per format; `open_checkpoint` looks at the first bytes, never at the file's name, to
choose. No pickle is ever executed: see `_pickle`.
"""

import mmap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._errors import CheckpointError, some
from . import _pickle, pdparams, safe, torch_zip
from ._tensor import DTYPES, FLOATING, Tensor, floats

__all__ = ["DTYPES", "FLOATING", "Checkpoint", "Tensor", "floats", "open_checkpoint"]

PADDLE = "Paddle .pdparams"
TORCH_ZIP = "PyTorch zip"
SAFETENSORS = "safetensors"

_DEEPEST = 4  # wrappers around the weights

# What every name may begin with, and what those begin with that are the model's among others: a
# detector's checkpoint holds neck and heads beside its backbone.
_WHOLE_PREFIX = "module."
_PART_PREFIX = "backbone."

_LEGACY_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a checkpoint file, none of them read yet.

    Attributes:
        path: The file.
        format: "PyTorch zip", "safetensors" or "Paddle .pdparams".
        tensors: Name -> tensor, in file order, without wrapper and prefix.
        wrapper: Keys that lead to the weights, ("model",) in a typical training checkpoint.
        prefix: What every name began with, "module.", "backbone.", both or nothing.
        beside: What lies beside the weights, entries of the wrapper or other parts of a detector
            -> what they are.
        options: Other keys under which the file holds weights, such as "model_ema".
        skipped: Names among the weights that are no tensor that can be read -> what they are.
    """

    path: Path
    format: str
    tensors: dict[str, Tensor]
    wrapper: tuple[str, ...] = ()
    prefix: str = ""
    beside: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def notes(self) -> Iterator[str]:
        """Say what was peeled off the weights, a sentence each."""
        if self.wrapper:
            yield f"weights found under {'.'.join(map(repr, self.wrapper))}"
        if self.options:
            yield (
                f"the file also holds other weights under {', '.join(map(repr, self.options))}: "
                f"choose them with --weights {self.options[0]}"
            )
        for name, what in self.skipped.items():
            yield f"{name} among the weights is no tensor that can be read: {what}"
        if self.prefix:
            yield f"prefix {self.prefix!r} taken off the names"
        if self.beside:
            beside = "; ".join(f"{key}: {what}" for key, what in self.beside.items())
            yield f"left alone: {beside}"


def open_checkpoint(path: str | Path, weights: str | None = None) -> Checkpoint:
    """Open a checkpoint file without reading its tensors.

    Args:
        path: A .pth, .pt or .bin of torch.save (zip form), a .safetensors or a .pdparams.
        weights: Key of the weights to take where the file holds several, such as "model_ema".
            Default: "model" if there are several.

    Returns:
        The names in file order, each with shape, dtype and a `read()` that gives the array.

    Raises:
        CheckpointError: The format is unknown, the file is cut short, it holds no tensors, or
            several sets of weights of which none is called "model".
    """
    path = Path(path)
    buffer = _map(path)
    format_name, tree = _read_tree(path, buffer)
    return _peel(path, format_name, tree, weights)


def _map(path: Path) -> memoryview:
    """Map a file into memory, read-only."""
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path}: not a file.")
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except ValueError:
        raise CheckpointError(f"{path}: the file is empty.") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}.") from error


def _read_tree(path: Path, buffer: memoryview) -> tuple[str, Any]:
    head = bytes(buffer[:16])
    if head.startswith(b"PK\x03\x04"):
        return TORCH_ZIP, torch_zip.read_tree(path, buffer)
    if safe.looks_like(buffer):
        return SAFETENSORS, safe.read_tree(path, buffer)
    if head.startswith(_LEGACY_TORCH):
        raise CheckpointError(
            f"{path}: written in the form that torch.save used before release 1.6, which is not "
            f"read. Save it again in the present form, naming the classes that it holds:\n"
            f"  import argparse, torch\n"
            f"  torch.serialization.add_safe_globals([argparse.Namespace])\n"
            f"  torch.save(torch.load({str(path)!r}, map_location='cpu'), 'new.pth')"
        )
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return PADDLE, pdparams.read_tree(path, buffer)
    raise CheckpointError(
        f"{path}: not a checkpoint: expected a .pth of torch.save, a .safetensors or a .pdparams, "
        f"found a file of {len(buffer)} bytes that begins with {head[:8]!r}."
    )


def _peel(path: Path, format_name: str, tree: Any, weights: str | None) -> Checkpoint:
    """Take the wrapper and the prefix off the weights."""
    wrapper: list[str] = []
    beside: dict[str, str] = {}
    options: tuple[str, ...] = ()
    holders = _holders(tree)
    while holders and len(wrapper) < _DEEPEST:
        key = weights if weights in holders else _choose(path, holders)
        weights = None if key == weights else weights
        options += tuple(name for name in holders if name != key)
        beside |= {str(k): _describe(v) for k, v in tree.items() if k not in holders}
        wrapper.append(key)
        tree = tree[key]
        holders = _holders(tree)
    if weights is not None:
        known = ", ".join(map(repr, [*wrapper, *options])) or "no key: they lie at the top"
        raise CheckpointError(f"{path}: no weights under {weights!r}; it has them under {known}.")
    if not _is_state(tree):
        raise CheckpointError(
            f"{path}: holds no named tensors. Expected a state dict, or a dict with one under a "
            f"key such as 'model'; found {_describe(tree)}."
        )
    named = {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, Tensor)}
    skipped = {str(k): _describe(v) for k, v in tree.items() if k not in named}
    prefix = _prefix(named)
    if _PART_PREFIX in prefix:
        beside |= _parts(name for name in [*named, *skipped] if not name.startswith(prefix))
        skipped = {k: v for k, v in skipped.items() if k.startswith(prefix)}
    tensors = {k.removeprefix(prefix): v for k, v in named.items() if k.startswith(prefix)}
    skipped = {k.removeprefix(prefix): v for k, v in skipped.items()}
    return Checkpoint(path, format_name, tensors, tuple(wrapper), prefix, beside, options, skipped)


def _prefix(names: Iterable[str]) -> str:
    """Find what the names of the model begin with.

    One in ten is enough for a backbone, whose detector may be larger than itself; a stray name in
    another model is not.
    """
    names, prefix = list(names), ""
    while names:
        if all(name.startswith(_WHOLE_PREFIX) for name in names):
            found = _WHOLE_PREFIX
        elif 10 * sum(name.startswith(_PART_PREFIX) for name in names) >= len(names):
            found = _PART_PREFIX
        else:
            break
        names = [name.removeprefix(found) for name in names if name.startswith(found)]
        prefix += found
    return prefix


def _parts(names: Iterable[str]) -> dict[str, str]:
    """Count names by the part of the model they belong to, the word before the first dot.

    Averages of MMDetection have no dots: ema_backbone_layers_0_...
    """
    bare = (name.removeprefix(_WHOLE_PREFIX) for name in names)
    parts = Counter("ema_*" if n.startswith("ema_") else n.partition(".")[0] for n in bare)
    return {part: f"{n} {'entries' if n > 1 else 'entry'}" for part, n in parts.items()}


def _choose(path: Path, holders: dict[str, Any]) -> str:
    if len(holders) > 1 and "model" not in holders:
        raise CheckpointError(
            f"{path}: holds weights under several keys: {some(list(map(repr, holders)))}. "
            f"Choose one with --weights KEY."
        )
    return "model" if "model" in holders else next(iter(holders))


def _is_state(tree: Any) -> bool:
    """Tell whether tensors lie at once beneath the names of a dict."""
    return isinstance(tree, dict) and any(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in tree.items()
    )


def _holders(tree: Any) -> dict[str, Any]:
    """Give the entries of a dict that are, or hold, a state dict."""
    known: dict[int, bool] = {}  # by identity: a dict may hold itself, or one dict many times

    def holds(value: Any, depth: int) -> bool:
        if not isinstance(value, dict) or depth > _DEEPEST:
            return False
        if id(value) not in known:
            known[id(value)] = _is_state(value)
            inner = (v for k, v in value.items() if isinstance(k, str))
            known[id(value)] = known[id(value)] or any(holds(v, depth + 1) for v in inner)
        return known[id(value)]

    if not isinstance(tree, dict):
        return {}
    return {k: v for k, v in tree.items() if isinstance(k, str) and v is not tree and holds(v, 1)}


def _describe(value: Any) -> str:
    """Say in a word what an entry beside the weights is."""
    if isinstance(value, _pickle.Opaque):
        return value.name
    if isinstance(value, int) and value.bit_length() > 64:
        return "a large number"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    if isinstance(value, (dict, list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    return "nothing" if value is None else type(value).__name__.lower().lstrip("_")
