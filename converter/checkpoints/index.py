"""Read the *.index.json of a sharded checkpoint: which file holds which tensor.

Source of the format: Hugging Face transformers, modeling_utils.py.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, some
from . import foreign
from ._tensor import Tensor
from .storage import File

_MOST = 20_000_000  # bytes; 100,000 tensors need 8 million


def looks_like(head: bytes) -> bool:
    """Tell whether a file begins like JSON."""
    return head.lstrip()[:1] == b"{"


def read(file: File) -> dict[str, str]:
    """Give the name of the file for every tensor.

    Raises:
        CheckpointError: The file is not an index, or names a file outside its own folder.
    """
    if file.size > _MOST:
        raise CheckpointError(f"JSON of {file.size} bytes; the limit for an index is {_MOST}.")
    try:
        data = json.loads(file.read(0, file.size))
        if told := foreign.in_json(data):
            raise CheckpointError(told)
        pairs = dict(data["weight_map"].items())
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"begins like JSON but cannot be parsed: {error}. Is it cut short?"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            "JSON, but not the index of a sharded checkpoint: expected a weight_map that names a "
            "file for every tensor."
        ) from error
    for tensor, name in pairs.items():
        if not (isinstance(name, str) and name.isprintable() and name == Path(name).name) or (
            name in ("", "..")
        ):
            raise CheckpointError(
                f"places {tensor!r:.100} in {name!r:.100}; expected the name of a file "
                f"beside the index."
            )
    return pairs


def state_of(tree: Any) -> dict[str, Tensor]:
    """Give the tensors of a shard.

    Raises:
        CheckpointError: The file holds anything but named tensors.
    """
    if isinstance(tree, dict) and tree and all(isinstance(v, Tensor) for v in tree.values()):
        return tree
    raise CheckpointError(
        "one of the files of a sharded checkpoint; expected named tensors at its top level and "
        "nothing else."
    )


def collect(named: Mapping[str, str], shards: Mapping[Path, dict[str, Tensor]]) -> Any:
    """Collect the tensors in the order of the index.

    Raises:
        CheckpointError: A tensor is not in the file that the index names, or not in the index.
    """
    states = {path.name: state for path, state in shards.items()}
    lacking = [f"{name} in {file}" for name, file in named.items() if name not in states[file]]
    unnamed = [
        f"{name} of {file}"
        for file, state in states.items()
        for name in state
        if named.get(name) != file
    ]
    if lacking:
        raise CheckpointError(f"names tensors that its files do not hold: {some(lacking)}.")
    if unnamed:
        raise CheckpointError(f"does not name tensors that its files hold: {some(unnamed)}.")
    return {name: states[file][name] for name, file in named.items()}
