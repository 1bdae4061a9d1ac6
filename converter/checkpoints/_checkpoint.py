"""The weights of a checkpoint file, without the wrappers around them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import some
from ..folding import folded
from ..markdown import quoted
from ..sides import Side
from ._tensor import Tensor
from .selection import Selection
from .storage import Storage

_MOST_LINES = 6  # for entries that cannot be read for one reason
DEEPEST = 4  # dicts around the weights


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a checkpoint file, none of them read yet.

    Attributes:
        path: The file; the index where there are several.
        format: "PyTorch zip", "PyTorch before 1.6", "safetensors", "Paddle .pdparams", "NumPy
            .npz", "NumPy .npy", "pickled NumPy arrays", "pickled PyTorch tensors", or "sharded ..."
            with one of these.
        tensors: Name -> tensor, in file order, without wrapper and prefix.
        wrapper: Keys that lead to the weights, ("model",) in a typical training checkpoint.
        prefix: The prefix removed from the names: "module.", "backbone.", "model.", several of
            them, or none.
        beside: Entries beside the weights, such as an epoch or the other parts of a detector
            -> a description of each.
        options: Other keys and prefixes under which the file holds weights, such as "model_ema".
        skipped: Entries among the weights that cannot be read as tensors -> a description of each.
        side: The framework whose names and layouts these are; None if the file does not record it:
            a .safetensors does so in its header at best, an .npz or a pickle of arrays never.
        files: All files of the checkpoint.
        metadata: Texts in the header of a .safetensors, such as where the weights came from.
        selection: What was chosen of the file; the same opens the same tensors again.
        sources: Name -> the keys that lead to the tensor in the file.
        spelled: Name -> what the file calls the tensor, or its parts, where that is another name.
        left_out: Names in the file of tensors that have no counterpart -> why.
        altered: Name -> what was done to the values on purpose: "resize", or "new".
        outside: Full name -> tensor of the file that is not among `tensors`.
        remarks: What else there is to say about where the file was found.
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
    selection: Selection = field(default_factory=Selection)
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spelled: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    altered: Mapping[str, str] = field(default_factory=dict)
    outside: Mapping[str, Tensor] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def leaning(self) -> Side:
        """Whose weights these are if nothing in the file says so: by the file's name."""
        return self.side or ("paddle" if self.path.suffix == ".pdparams" else "torch")

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

    def _left_out_for(self) -> dict[str, list[str]]:
        """Give the tensors that have no counterpart, by reason."""
        found: dict[str, list[str]] = {}
        for key, why in self.left_out.items():
            found.setdefault(why, []).append(key)
        return found

    def notes(self) -> Iterator[str]:
        """Describe everything removed around the weights, one sentence each."""
        yield from self.remarks
        if self.wrapper:
            yield f"weights found under {'.'.join(map(repr, self.wrapper))}"
        if self.options:
            yield (
                f"the file also holds other weights under {', '.join(map(repr, self.options))}: "
                f"choose them with --weights {quoted(self.options[0])}"
            )
        alike: dict[str, list[str]] = {}
        for name, what in self.skipped.items():
            alike.setdefault(what, []).append(name)
        for what, names in alike.items():
            for line in folded(names, _MOST_LINES):
                yield f"{line} among the weights cannot be read as a tensor: {what}"
        if self.prefix:
            yield f"prefix {self.prefix!r} removed from the names"
        if self.selection.inner:
            words = ", ".join(f"'{word}.'" for word in self.selection.inner)
            yield f"{words} removed within the names"
        if self.selection.spelling:
            yield f"names of {self.selection.spelling}"
        for why, keys in self._left_out_for().items():
            yield f"left out: {some(keys)}: {why}"
        for old, new in self.selection.rename:
            yield f"renamed: {old} to {new}"
        if self.selection.new_head:
            count = self.selection.new_head
            classes = "1 class" if count == 1 else f"{count} classes"
            yield f"head made anew for {classes}, not trained"
        if self.beside:
            beside = "; ".join(f"{key}: {what}" for key, what in self.beside.items())
            yield f"ignored: {beside}"
