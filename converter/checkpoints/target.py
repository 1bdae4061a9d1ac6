"""Checkpoint files as targets: the format that a name implies, and how files are written."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Literal

from ..errors import CheckpointError
from ..files import (
    cannot_be_written,
    check_room,
    check_target,
    companion,
    locked_folder,
    publish,
    reserve,
    synced,
    unverified,
    written_beside,
)
from ..sides import Side
from . import Selection, Tensor, open_selected, pdparams, safe, torch_zip
from .writing import Layout, verify, write

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

MAX_SHARD_SIZE = 5_000_000_000  # bytes, the default of Hugging Face
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
        """The format that the name implies."""
        return format_of(self.path)

    def layout(self, tensors: Mapping[str, Tensor]) -> Layout:
        """Lay out one file."""
        if self.format == "pdparams":
            return pdparams.layout(tensors)
        if self.format == "pth":
            return torch_zip.layout(tensors)
        return safe.layout(tensors, self.metadata)

    @cached_property
    def shards(self) -> list[dict[str, Tensor]]:
        """The tensors, in order, divided among files of at most `max_shard_size`."""
        shards: list[dict[str, Tensor]] = [{}]
        size = 0
        for name, tensor in self.tensors.items():
            if size and size + tensor.nbytes > self.max_shard_size:
                shards.append({})
                size = 0
            shards[-1][name] = tensor
            size += tensor.nbytes
        return shards

    def shard_paths(self, index: Path) -> list[Path]:
        """Name the shards of an index; they keep any text after the index's suffix."""
        stem, _, end = index.name.rpartition(".safetensors.index.json")
        count = len(self.shards)
        names = [f"{stem}-{i:05}-of-{count:05}.safetensors{end}" for i in range(1, count + 1)]
        return [index.with_name(name) for name in names]

    def paths(self) -> list[Path]:
        """Name every file that may be written."""
        found = [self.path, unverified(self.path)]
        if self.format == "sharded":
            found += [path for index in found for path in self.shard_paths(index)]
        return found

    def index(self, paths: Sequence[Path]) -> bytes:
        """Encode the index of a sharded checkpoint with these files."""
        pairs = zip(paths, self.shards, strict=True)
        names = {name: path.name for path, shard in pairs for name in shard}
        size = sum(tensor.nbytes for tensor in self.tensors.values())
        index = {"metadata": {**self.metadata, "total_size": size}, "weight_map": names}
        return json.dumps(index, indent=1, ensure_ascii=False).encode() + b"\n"


def format_of(path: Path) -> Format:
    """Find the format to write from the end of a name.

    Raises:
        CheckpointError: The name has none of the known ends.
    """
    for end, found in _FORMATS.items():
        if path.name.endswith(end) and path.name != end:
            return found
    raise CheckpointError(
        f"{path}: cannot tell the format from this name. Expected one that ends in .pdparams, "
        f".safetensors or .safetensors.index.json (sharded); for PyTorch also in .pth, .pt or .bin."
    )


def check_output(path: Path, force: bool) -> None:
    """Check that a target can be written, before any work is done.

    Raises:
        CheckpointError: As `check_target` and `format_of`; or it is an existing sharded checkpoint.
    """
    if path.name.endswith(".safetensors.index.json") and path.is_file():
        raise CheckpointError(
            f"{path}: exists already, and the files of a sharded checkpoint cannot be replaced in "
            f"one step, not even with --force. Remove it and its files first."
        )
    check_target(path, force)
    format_of(path)


def check_side(path: Path, source: Path, side: Side) -> None:
    """Refuse to write a checkpoint for the framework that the source already belongs to.

    Raises:
        CheckpointError: The target's format is that framework's own.
    """
    if _SIDES.get(format_of(path)) == side:
        if side == "paddle":
            what = "a Paddle checkpoint; to convert it back, expected a target .pth or .safetensors"
        elif source.suffix == ".pdparams":
            raise CheckpointError(
                f"{source}: its layouts are PyTorch's, although its name is Paddle's; to convert "
                f"it to Paddle, expected a target .pdparams or .safetensors, got {path}."
            )
        else:
            what = "a PyTorch checkpoint; expected a target .pdparams or .safetensors"
        raise CheckpointError(f"{source}: is already {what}, got {path}.")


def parse_size(text: str) -> int:
    """Read a size such as "2GB", "500MiB" or "1000000".

    Raises:
        ValueError: The text is not a size, or the size is 0.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([KMG]I?)?B?", text.strip().upper())
    size = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if size < 1:
        raise ValueError(f"{text!r} is not a size; expected one such as 2GB or 500MB.")
    return size


@dataclass(frozen=True)
class Draft:
    """A checkpoint that is written and durable, but does not have its final name yet.

    Attributes:
        output: What it holds.
        part: The file to open.
    """

    output: Output
    part: Path

    def publish(self, target: Path, force: bool) -> None:
        """Rename it to its final name, or to that of `unverified`.

        Raises:
            CheckpointError: Meanwhile another program created a file of that name.
        """
        if self.output.format != "sharded":
            publish(self.part, target, force)
            return
        paths = self.output.shard_paths(target)
        with locked_folder(target.parent), cannot_be_written(target):
            if target == self.output.path and target.exists():
                raise CheckpointError(f"{target}: appeared while working and was left alone.")
            for number, path in enumerate(paths, 1):
                publish(companion(self.part, number), path, force)
            index = companion(self.part, 0)
            with index.open("xb") as file:
                file.write(self.output.index(paths))
                file.flush()
                os.fsync(file.fileno())
            publish(index, target, force)


@contextmanager
def written(output: Output, force: bool, check: bool, advance: Advance) -> Iterator[Draft]:
    """Write a checkpoint beside its target, durable and read back; the caller publishes it.

    Args:
        output: What to write.
        force: Whether existing files may be replaced.
        check: Whether to read back what was written.
        advance: Called with a text and the amounts of bytes as they are done.

    Raises:
        CheckpointError: A file cannot be written or read; nothing is left behind.
    """
    if output.format != "sharded":
        layout = output.layout(output.tensors)
        check_room(output.path, layout.size)
        with written_beside(output.path) as (file, part):
            _fill(output.path, file, part, layout, check, advance)
            yield Draft(output, part)
        return
    for path in output.shard_paths(output.path):
        check_target(path, force)
    layouts = [output.layout(tensors) for tensors in output.shards]
    check_room(output.path, sum(layout.size for layout in layouts))
    with written_beside(output.path) as (index, part):
        numbers = range(1, len(layouts) + 1)
        for number, layout in zip(numbers, layouts, strict=True):
            path = companion(part, number)
            with cannot_be_written(output.path), path.open("x+b") as file:
                _fill(output.path, file, path, layout, check, advance)
        with cannot_be_written(output.path):
            index.write(output.index([companion(part, number) for number in numbers]))
            index.flush()
        if check and sorted(open_selected(part, Selection()).tensors) != sorted(output.tensors):
            raise CheckpointError(f"{output.path}: the index did not come back as it was written.")
        yield Draft(output, part)


def _fill(
    target: Path,
    file: BinaryIO,
    part: Path,
    layout: Layout,
    check: bool,
    advance: Advance,
) -> None:
    """Write one file, durable and read back, and open it once more as a reader would."""
    with cannot_be_written(target):
        reserve(file, layout.size)
        with synced(file), closing(write(file.fileno(), layout, check)) as amounts:
            advance("writing", amounts)
        if check:
            verify(open_selected(part, Selection()).tensors, layout)
