"""Checkpoint files of every supported format, read as names and lazy tensors, and written.

One module per format; `open_checkpoint` chooses by the first bytes, never by the file's name. No
pickle is ever executed: see `pickles`. Nothing is mapped into memory: see `storage`.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..errors import CheckpointError
from ..hub import located
from ..lines import one_line
from ..sides import Side
from . import folders, foreign, index, npz, pdparams, safe, torch_legacy, torch_zip
from ._checkpoint import Checkpoint
from ._tensor import DTYPES, FLOATING, Tensor, floats, held
from .arranging import arranged, joined, part, zeros
from .contents import Contents, choose
from .selection import Renames, Selection
from .storage import File

__all__ = [
    "DTYPES",
    "FLOATING",
    "Checkpoint",
    "Contents",
    "Renames",
    "Selection",
    "Tensor",
    "arranged",
    "floats",
    "held",
    "joined",
    "names_in",
    "open_checkpoint",
    "open_selected",
    "part",
    "read_contents",
    "zeros",
]

PADDLE = "Paddle .pdparams"
TORCH_ZIP = "PyTorch zip"
TORCH_LEGACY = "PyTorch before 1.6"
SAFETENSORS = "safetensors"
NPZ = "NumPy .npz"
NPY = "NumPy .npy"
TORCH_PICKLE = "pickled PyTorch tensors"
ARRAYS = "pickled NumPy arrays"  # without a mark of whose names they have

# Protocols 2 to 5 say so; 0 and 1 begin with the dict itself, or with its class.
_PICKLE = re.compile(rb"\x80[\x02-\x05]|\}q|\(dp[0-9]|c(?:collections|copy_reg|numpy)")

Result = TypeVar("Result")

_SIDES: dict[str, Side] = {
    PADDLE: "paddle",
    TORCH_ZIP: "torch",
    TORCH_LEGACY: "torch",
    TORCH_PICKLE: "torch",
}


def open_checkpoint(
    path: str | Path, weights: str | None = None, rename: Renames | None = None
) -> Checkpoint:
    """Open a checkpoint file without reading its tensors.

    Args:
        path: A .pth, .pt or .bin of torch.save, a .safetensors, a .pdparams, an .npz, a pickle of
            NumPy arrays, the *.index.json of a sharded checkpoint, or a folder with one of these;
            or a name on the hub, such as "hf://timm/vit_tiny_patch16_224.augreg_in21k".
        weights: Which weights to take where the file holds several: keys and beginnings of names,
            with dots, such as "model_ema" or "teacher.backbone". Default: "model" if there are
            several.
        rename: Beginnings of names -> what takes their place, such as {"fc": "head"}.

    Returns:
        The names in file order, each with shape, dtype and a `read()` that gives the array.

    Raises:
        CheckpointError: The format is unknown, the file is cut short, damaged or contradicts
            itself, it holds no tensors, it holds several sets of weights and none is called
            "model", or a rename finds nothing or gives two tensors one name.
    """
    return choose(read_contents(path), weights, rename)


def open_selected(path: str | Path, selection: Selection) -> Checkpoint:
    """Open exactly the tensors of a selection, as another process chose them.

    Raises:
        CheckpointError: As of `open_checkpoint`.
    """
    return read_contents(path).select(selection)


def read_contents(path: str | Path) -> Contents:
    """Open a checkpoint file, but do not yet choose the weights in it.

    Raises:
        CheckpointError: The format is unknown, the file is cut short, damaged or contradicts
            itself.
    """
    path, remarks = _found(located(path))
    file = File(path)
    head = file.read(0, min(file.size, 512))
    # A .safetensors begins with the length of its header, whose bytes may be " {".
    if index.looks_like(head) and not safe.looks_like(head):
        return _open_sharded(path, file, remarks)
    format_name, tree, metadata = _read_tree(file, head)
    side = _SIDES.get(format_name) or _side_of(metadata)
    facts = {"format": format_name, "side": side, "files": (path,), "metadata": metadata}
    return Contents(path, tree, **facts, remarks=remarks)


def names_in(path: Path, format_name: str) -> set[str]:
    """Give the names of all classes and functions that a PyTorch file refers to.

    Args:
        path: The file.
        format_name: TORCH_ZIP or TORCH_LEGACY.

    Raises:
        CheckpointError: It cannot be read.
    """
    read = torch_zip.names_in if format_name == TORCH_ZIP else torch_legacy.names_in
    return read(File(path))


def _found(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Find the file to read, in a folder of Hugging Face, and say which it is.

    Raises:
        CheckpointError: It is a folder of another kind, or a part of one.
    """
    if path.is_dir():
        path, told = folders.find(path)
        return path, (told,)
    if told := folders.part_of_folder(path):
        raise CheckpointError(f"{path}: {told}")
    return path, ()


def _open_sharded(path: Path, file: File, remarks: tuple[str, ...]) -> Contents:
    """Open all files that an index names as one checkpoint."""
    named = _with_path(path, lambda: index.read(file))
    shards: dict[Path, dict[str, Tensor]] = {}
    formats, sides, metadata = set[str](), set[Side | None](), dict[str, str]()
    for name in dict.fromkeys(named.values()):
        shard = File(path.parent / name)
        format_name, tree, texts = _read_tree(shard, shard.read(0, min(shard.size, 512)))
        shards[shard.path] = _with_path(shard.path, partial(index.state_of, tree))
        formats.add(format_name)
        sides.add(_SIDES.get(format_name) or _side_of(texts))
        metadata |= texts
    tensors = _with_path(path, lambda: index.collect(named, shards))
    if len(sides - {None}) > 1:
        raise CheckpointError(
            f"{path}: some of its files hold PyTorch weights, others Paddle weights; expected one "
            f"framework."
        )
    return Contents(
        path,
        tensors,
        format=f"sharded {' and '.join(sorted(formats))}",
        side=next(iter(sides - {None}), None),
        files=(path, *shards),
        metadata=metadata,
        remarks=remarks,
    )


def _read_tree(file: File, head: bytes) -> tuple[str, Any, dict[str, str]]:
    """Give the name of a file's format, its content, and the texts of its header."""
    return _with_path(file.path, lambda: _read_by_format(file, head))


def _with_path(path: Path, read: Callable[[], Result]) -> Result:
    """Prefix errors with the path of the file they are about."""
    try:
        return read()
    except CheckpointError as error:
        text = str(error)
        # A path is in it as errors spell it.
        about = "" if one_line(path) in text else f"{path}: "
        raise CheckpointError(about, error) from error


def _side_of(metadata: dict[str, str]) -> Side | None:
    """Find the framework of a .safetensors: PyTorch's writers note "pt" in it, Paddle's "pd"."""
    sides: dict[str, Side] = {"pt": "torch", "pd": "paddle", "paddle": "paddle"}
    return sides.get(metadata.get("format", ""))


def _read_by_format(file: File, head: bytes) -> tuple[str, Any, dict[str, str]]:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        if npz.looks_like(file):
            return NPZ, npz.read_tree(file), {}
        return TORCH_ZIP, torch_zip.read_tree(file), {}
    if torch_legacy.looks_like(head):
        return TORCH_LEGACY, torch_legacy.read_tree(file), {}
    if safe.looks_like(head):
        return SAFETENSORS, *safe.read_tree(file)
    if _PICKLE.match(head):
        tree, side = pdparams.read_tree(file)
        return {"paddle": PADDLE, "torch": TORCH_PICKLE, None: ARRAYS}[side], tree, {}
    if head.startswith(npz.MAGIC):
        return NPY, npz.read_array(file), {}
    raise CheckpointError(foreign.recognise(file, head))
