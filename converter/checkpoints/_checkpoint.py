"""The weights of a checkpoint file, without the wrappers around them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, some
from ..sides import Side
from . import pickles
from ._tensor import Tensor
from ._torch import WHOLE_MODEL
from .storage import Storage

DEEPEST = 4  # wrappers around the weights

# Prefixes that all names may have, from DistributedDataParallel and torch.compile; and the prefix
# of a model within a larger one: a detector holds neck and heads beside its backbone.
_WHOLE_PREFIXES = ("module.", "_orig_mod.")
_PART_PREFIX = "backbone."
_MOST_PREFIXES = 8  # stacked on one another

# Tensors that are not weights: an optimizer's state, and the counter of torch's AveragedModel.
_OPTIMIZER = ("optim", "opt_")
_COUNTERS = ("n_averaged",)


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a checkpoint file, none of them read yet.

    Attributes:
        path: The file; the index where there are several.
        format: "PyTorch zip", "PyTorch before 1.6", "safetensors", "Paddle .pdparams", "NumPy
            .npz", or "sharded ..." with one of these.
        tensors: Name -> tensor, in file order, without wrapper and prefix.
        wrapper: Keys that lead to the weights, ("model",) in a typical training checkpoint.
        prefix: The prefix removed from the names: "module.", "_orig_mod.", "backbone.", several of
            them, or none.
        beside: Entries beside the weights, such as an epoch or the other parts of a detector
            -> a description of each.
        options: Other keys under which the file holds weights, such as "model_ema".
        skipped: Entries among the weights that cannot be read as tensors -> a description of each.
        side: The framework whose names and layouts these are; None if the file does not record it:
            a .safetensors does so in its header at best, an .npz never.
        files: All files of the checkpoint.
        metadata: Texts in the header of a .safetensors, such as where the weights came from.
    """

    path: Path
    format: str
    tensors: dict[str, Tensor]
    wrapper: tuple[str, ...] = ()
    prefix: str = ""
    beside: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    side: Side | None = None
    files: tuple[Path, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def check(self) -> None:
        """Compare the tensors with their checksums in the file, if it has any.

        Reads the whole file. `convert` does so; `Tensor.read` does not.

        Raises:
            CheckpointError: A record of a PyTorch zip or an .npz is damaged.
        """
        found: dict[int, Storage] = {}
        for tensor in self.tensors.values():
            found |= {id(part): part for part in tensor.storage.checked()}
        for part in found.values():
            part.check()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def notes(self) -> Iterator[str]:
        """Describe everything removed around the weights, one sentence each."""
        if self.wrapper:
            yield f"weights found under {'.'.join(map(repr, self.wrapper))}"
        if self.options:
            yield (
                f"the file also holds other weights under {', '.join(map(repr, self.options))}: "
                f"choose them with --weights {self.options[0]}"
            )
        for name, what in self.skipped.items():
            yield f"{name} among the weights cannot be read as a tensor: {what}"
        if self.prefix:
            yield f"prefix {self.prefix!r} removed from the names"
        if self.beside:
            beside = "; ".join(f"{key}: {what}" for key, what in self.beside.items())
            yield f"ignored: {beside}"


def peel(path: Path, tree: Any, weights: str | None, **facts: Any) -> Checkpoint:
    """Remove the wrapper and the prefix around the weights.

    Args:
        path: For messages.
        tree: Content of the file.
        weights: Key of the weights to take where there are several.
        facts: Further attributes of the checkpoint.

    Raises:
        CheckpointError: There are no weights, none under that key, or several sets of them.
    """
    wrapper: list[str] = []
    beside: dict[str, str] = {}
    options: tuple[str, ...] = ()
    holders = _holders(tree)
    while holders and len(wrapper) < DEEPEST:
        if weights not in holders and _is_state(tree, of_layers=True):
            break  # a model, and other weights beside it
        key = weights if weights in holders else _choose(path, holders, weights)
        weights = None if key == weights else weights
        options += tuple(name for name in holders if name != key)
        beside |= {_name(k): _describe(v) for k, v in tree.items() if k not in holders}
        wrapper.append(key)
        tree = tree[key]
        holders = _holders(tree)
    if weights is not None:
        known = ", ".join(map(repr, [*wrapper, *options]))
        where = f"under {known}" if known else "at the top level: leave out --weights"
        raise CheckpointError(f"{path}: no weights under {weights!r}; the file has them {where}.")
    if not _is_state(tree):
        raise CheckpointError(
            f"{path}: holds no named tensors. Expected a state dict, or a dict with one under a "
            f"key such as 'model'; found {_describe(tree)}.{_advice(tree)}"
        )
    named = {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, Tensor)}
    taken = {**named, **holders}
    skipped = {_name(k): _describe(v) for k, v in tree.items() if k not in taken}
    options += tuple(holders)
    counters = [name for name in _COUNTERS if name in named and len(named) > len(_COUNTERS)]
    beside |= {name: _describe(named.pop(name)) for name in counters}
    prefix = _prefix(named)
    if _PART_PREFIX in prefix:
        beside |= _parts(name for name in [*named, *skipped] if not name.startswith(prefix))
        skipped = {k: v for k, v in skipped.items() if k.startswith(prefix)}
    tensors = {k.removeprefix(prefix): v for k, v in named.items() if k.startswith(prefix)}
    skipped = {k.removeprefix(prefix): v for k, v in skipped.items()}
    return Checkpoint(
        path=path,
        tensors=tensors,
        wrapper=tuple(wrapper),
        prefix=prefix,
        beside=beside,
        options=options,
        skipped=skipped,
        **facts,
    )


def _prefix(names: Iterable[str]) -> str:
    """Find the prefix of the model's names.

    A backbone's prefix counts if one name in ten has it, because the rest of the detector may be
    larger than the backbone; a stray name in another model does not count.
    """
    names, prefix = list(names), ""
    while names and prefix.count(".") < _MOST_PREFIXES:
        whole = [p for p in _WHOLE_PREFIXES if all(name.startswith(p) for name in names)]
        if whole:
            found = whole[0]
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
    parts: Counter[str] = Counter()
    for name in names:
        for prefix in _WHOLE_PREFIXES:
            name = name.removeprefix(prefix)
        parts["ema_*" if name.startswith("ema_") else name.partition(".")[0]] += 1
    return {part: f"{n} {'entries' if n > 1 else 'entry'}" for part, n in parts.items()}


def _choose(path: Path, holders: dict[str, Any], weights: str | None) -> str:
    if len(holders) > 1 and "model" not in holders:
        names = some(list(map(repr, holders)))
        if weights is not None:
            raise CheckpointError(
                f"{path}: no weights under {weights!r}; the file has them under {names}."
            )
        raise CheckpointError(
            f"{path}: holds weights under several keys: {names}. Choose one with --weights KEY."
        )
    return "model" if "model" in holders else next(iter(holders))


def _is_state(tree: Any, of_layers: bool = False) -> bool:
    """Tell whether a dict directly holds named tensors; or those of layers, not just a counter."""
    return isinstance(tree, dict) and any(
        isinstance(key, str) and isinstance(value, Tensor) and (not of_layers or "." in key)
        for key, value in tree.items()
    )


def _holders(tree: Any) -> dict[str, Any]:
    """Give the entries of a dict that are, or hold, a state dict."""
    known: dict[int, bool] = {}  # by identity: a dict may hold itself, or one dict many times

    def holds(value: Any, depth: int) -> bool:
        if not isinstance(value, dict) or depth > DEEPEST:
            return False
        if id(value) not in known:
            known[id(value)] = _is_state(value)
            inner = (v for k, v in value.items() if isinstance(k, str))
            known[id(value)] = known[id(value)] or any(holds(v, depth + 1) for v in inner)
        return known[id(value)]

    if not isinstance(tree, dict):
        return {}
    return {
        k: v
        for k, v in tree.items()
        if isinstance(k, str) and v is not tree and holds(v, 1)
        if k != "opt" and not k.startswith(_OPTIMIZER)
    }


def _advice(tree: Any) -> str:
    """Say what to do about a file that holds a whole model, as torch.save(model) writes it."""
    return f" If it is a whole model, {WHOLE_MODEL}." if isinstance(tree, pickles.Opaque) else ""


def _name(key: Any) -> str:
    """Format the key of an entry, which need not be a printable string."""
    if not isinstance(key, str):
        return _describe(key)
    return key if key.isprintable() and len(key) <= 200 else f"{key!r:.100}"


def _describe(value: Any) -> str:
    """Describe an entry beside the weights in a few words."""
    if isinstance(value, pickles.Opaque):
        return value.name if value.name.isprintable() else f"{value.name!r:.100}"
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
