"""Checkpoint files as targets: which format a name asks for, and how files come to be."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from ._errors import CheckpointError
from ._files import check_room, check_target, publish, synced, written_beside
from ._table import Side
from .checkpoints import Tensor, open_checkpoint, pdparams, safe, torch_zip
from .checkpoints.writing import Layout, verify, write

Format = Literal["pdparams", "pth", "safetensors", "sharded"]
Advance = Callable[[str, Iterator[int]], None]

# The end of a name -> format. The longer end comes first.
_FORMATS: dict[str, Format] = {
    ".safetensors.index.json": "sharded",
    ".safetensors": "safetensors",
    ".pdparams": "pdparams",
    ".pth": "pth",
    ".pt": "pth",
    ".bin": "pth",
}
_SIDES: dict[Format, Side] = {"pdparams": "paddle", "pth": "torch"}

MAX_SHARD_SIZE = 5_000_000_000  # bytes, as Hugging Face has it
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


@dataclass(frozen=True)
class Output:
    """What to write, and where.

    Attributes:
        path: The file; for a sharded checkpoint its index.
        tensors: By name, in order.
        metadata: Texts for the header of a .safetensors.
        max_shard_size: Bytes of tensors in one file of a sharded checkpoint.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    max_shard_size: int = MAX_SHARD_SIZE

    @property
    def format(self) -> Format:
        """What the name asks for."""
        return format_of(self.path)

    def layout(self, tensors: Mapping[str, Tensor]) -> Layout:
        """Lay out one file."""
        if self.format == "pdparams":
            return pdparams.layout(tensors)
        if self.format == "pth":
            return torch_zip.layout(tensors)
        return safe.layout(tensors, self.metadata)

    def shards(self) -> list[dict[str, Tensor]]:
        """Divide the tensors, in order, among files of at most `max_shard_size`."""
        shards: list[dict[str, Tensor]] = [{}]
        size = 0
        for name, tensor in self.tensors.items():
            if size and size + tensor.nbytes > self.max_shard_size:
                shards.append({})
                size = 0
            shards[-1][name] = tensor
            size += tensor.nbytes
        return shards


def format_of(path: Path) -> Format:
    """Tell by a name what format to write.

    Raises:
        CheckpointError: The name ends otherwise.
    """
    for end, found in _FORMATS.items():
        if path.name.endswith(end) and path.name != end:
            return found
    raise CheckpointError(
        f"{path}: what should be written? Expected a name that ends in .pdparams, .safetensors or "
        f".safetensors.index.json (sharded), or, on the way back to PyTorch, in .pth, .pt or .bin."
    )


def check_side(path: Path, source: Path, side: Side) -> None:
    """Refuse to write a checkpoint of the framework that the source is of already.

    Raises:
        CheckpointError: The target's format is that framework's own.
    """
    if _SIDES.get(format_of(path)) == side:
        if side == "paddle":
            what = "a Paddle checkpoint already; on the way back expected a .pth or .safetensors"
        else:
            what = "a PyTorch checkpoint already; expected a .pdparams or .safetensors"
        raise CheckpointError(f"{source}: is {what} to write, got {path}.")


def parse_size(text: str) -> int:
    """Read a size such as "2GB", "500MiB" or "1000000".

    Raises:
        ValueError: It is none, or nothing.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([KMG]I?)?B?", text.strip().upper())
    size = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if size < 1:
        raise ValueError(f"{text!r} is no size; expected one such as 2GB or 500MB.")
    return size


@contextmanager
def written(output: Output, force: bool, check: bool, advance: Advance) -> Iterator[Path]:
    """Write a checkpoint beside its target, durable and read back; the caller publishes it.

    The files of a sharded checkpoint get their names at once, its index does not: without it they
    are no checkpoint.

    Args:
        output: What to write.
        force: Whether existing files may be replaced.
        check: Whether to read back what was written.
        advance: Called with a text and the amounts of bytes as they are done.

    Yields:
        The file that is still to get its name.

    Raises:
        CheckpointError: A file cannot be written or read; nothing is left behind.
    """
    folder = output.path.parent
    if output.format != "sharded":
        layout = output.layout(output.tensors)
        check_room(folder, layout.size)
        with written_beside(output.path) as (file, part):
            _fill(file, part, layout, output.tensors, check, advance)
            yield part
        return
    if output.path.exists():
        raise CheckpointError(
            f"{output.path}: exists already, and the files of a sharded checkpoint cannot be "
            f"replaced in one step. Remove it and them first."
        )
    shards = output.shards()
    stem = output.path.name.removesuffix(".safetensors.index.json")
    paths = [
        folder / f"{stem}-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)
    ]
    for path in paths:
        check_target(path, force)
    layouts = [output.layout(tensors) for tensors in shards]
    check_room(folder, sum(layout.size for layout in layouts))
    with ExitStack() as stack:
        parts = []
        for path, layout, tensors in zip(paths, layouts, shards, strict=True):
            file, part = stack.enter_context(written_beside(path))
            _fill(file, part, layout, tensors, check, advance)
            parts.append(part)
        for part, path in zip(parts, paths, strict=True):
            publish(part, path, force)
    with written_beside(output.path) as (file, part):
        names = {name: path.name for path, s in zip(paths, shards, strict=True) for name in s}
        size = sum(tensor.nbytes for tensor in output.tensors.values())
        index = {"metadata": {**output.metadata, "total_size": size}, "weight_map": names}
        file.write(json.dumps(index, indent=1, ensure_ascii=False).encode() + b"\n")
        file.flush()
        yield part


def _fill(
    file: BinaryIO,
    part: Path,
    layout: Layout,
    tensors: Mapping[str, Tensor],
    check: bool,
    advance: Advance,
) -> None:
    """Write one file; make it durable and read it back at the same time."""
    advance("writing", write(file.fileno(), layout))
    with synced(file):
        if check:
            advance("reading back", verify(open_checkpoint(part).tensors, tensors))
