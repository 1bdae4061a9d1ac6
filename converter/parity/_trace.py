"""Traces: what one model did with one input, on disk. Reading and writing one needs NumPy alone.

A trace is a folder: `trace.json`, and for every run (float64, float32) one file with the arrays
that went into the paired layers and came out of them, in the order of execution. Further files hold
the weights, and what else was asked for.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ParityError
from ..plain import descriptor
from ._facts import DTYPES as DTYPES
from ._facts import TRACE_JSON as TRACE_JSON
from ._facts import Buffer as Buffer
from ._facts import Call as Call
from ._facts import Facts as Facts
from ._facts import Layer as Layer
from ._facts import Likeness as Likeness
from ._facts import Place, read_facts
from ._facts import Tree as Tree
from ._facts import Weight as Weight
from ._facts import call_key as call_key
from ._facts import write_facts as write_facts

INPUT = "input.npy"
TRAINING = "training: "  # before the key of a gradient, if norms were in training mode


class Arrays:
    """A file of arrays, one behind the other."""

    def __init__(self, path: Path, places: list[Place]) -> None:
        self.path = path
        self.places = places  # of each array: offset, shape, dtype

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of one array.

        Raises:
            ParityError: The trace has no such array; nor has any other function here.
        """
        return tuple(self._place(index)[1])

    def dtype(self, index: int) -> str:
        """Return the dtype of one array."""
        return self._place(index)[2]

    def __getitem__(self, index: int) -> np.ndarray:
        offset, shape, name = self._place(index)
        count = math.prod(shape)
        try:
            dtype = np.dtype(name)
            if dtype.kind not in "biufc":
                raise TypeError(f"{name} is not a number")
            with os.fdopen(descriptor(self.path), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if offset + count * dtype.itemsize > size:  # it would be made in memory first
                    raise ParityError(f"{self.path}: is cut short. Make the trace again.")
                return np.fromfile(file, dtype, count, offset=offset).reshape(shape)
        except OSError as error:
            reason = error.strerror or error
            raise ParityError(f"{self.path}: {reason}. Make the trace again.") from error
        except (TypeError, ValueError) as error:  # of a dtype or a shape that NumPy does not have
            raise ParityError(f"{self.path}: {error}. Make the trace again.") from error

    def _place(self, index: int) -> Place:
        if not 0 <= index < len(self.places):
            raise ParityError(f"{self.path}: has no array {index}. Make the trace again.")
        return self.places[index]


class Writer:
    """Appends arrays to a file; they are on their way to the disk, not in memory."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.arrays = Arrays(path, [])

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, array: np.ndarray) -> int:
        """Write an array and give its index."""
        self.arrays.places.append((self.file.tell(), list(array.shape), array.dtype.name))
        self.file.write(np.ascontiguousarray(array).data)
        return len(self.arrays.places) - 1


@dataclass(frozen=True)
class Run:
    """What one forward pass did, by key of the call, in the order in which calls ended."""

    calls: Mapping[str, Call]
    arrays: Arrays


class Trace:
    """A trace folder: facts at once, arrays on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = read_facts(folder)
        # Names this side for people.
        self.label = {"paddle": "Paddle"}.get(self.facts.framework, self.facts.framework)
        self.runs = {
            dtype: Run({call.key: call for call in calls}, self.arrays(dtype))
            for dtype, calls in self.facts.runs.items()
        }

    def arrays(self, name: str) -> Arrays:
        """Return one of the files with arrays."""
        return Arrays(self.folder / f"{name}.bin", self.facts.places[name])

    def with_further(self, number: int) -> "Trace":
        """Return what the whole model made of a further input, as a trace of that output alone."""
        facts, seen = self.facts, copy(self)
        output = replace(facts.layers[facts.output], settings={})
        seen.facts = replace(
            facts,
            input=facts.further_inputs[number],
            layers={facts.output: output},
            weights={},
            alone=None,
        )
        seen.runs = {
            dtype: Run({facts.output: calls[number]}, self.arrays(f"further {dtype}"))
            for dtype, calls in facts.further.items()
        }
        return seen


def describe_input(facts: dict[str, Any]) -> str:
    """Say in a few words what a model was given."""
    shape = "x".join(map(str, facts.get("shape", ())))
    origin = facts.get("file", "seeded noise" if "noise" in facts else "")
    return f"{shape} {origin}, sha256 {str(facts['sha256'])[:12]}"


def spell_tree(tree: Tree, spell: Callable[[Tree], str]) -> str:
    """Spell how a tree is nested, and its leaves as `spell` does."""
    if isinstance(tree, list):
        return "(" + ", ".join(spell_tree(part, spell) for part in tree) + ")"
    if isinstance(tree, dict) and "dict" in tree:
        parts = (f"{name}={spell_tree(part, spell)}" for name, part in tree["dict"].items())
        return "{" + ", ".join(parts) + "}"
    return spell(tree)


def leaves(tree: Tree) -> Iterator[Tree]:
    """Yield the arrays and plain values of a tree, in order."""
    return (leaf for _, leaf in named_leaves(tree))


def named_leaves(tree: Tree, name: str = "") -> Iterator[tuple[str, Tree]]:
    """Yield where each array and plain value lies, ".logits" for one, and what it is, in order."""
    if isinstance(tree, list):
        for part in tree:
            yield from named_leaves(part, name)
    elif isinstance(tree, dict) and "dict" in tree:
        for key, part in tree["dict"].items():
            yield from named_leaves(part, f"{name}.{key}")
    else:
        yield name, tree


def array_of(leaf: Tree) -> int | None:
    """Return the index of a leaf that is an array, or None."""
    return leaf.get("array") if isinstance(leaf, dict) else None


def named_fields(value: Any) -> tuple[str, ...] | None:
    """Return the names in a named tuple; None for anything else."""
    return getattr(value, "_fields", None) if isinstance(value, tuple) else None


def to_tree(value: Any, put: Callable[[Any], int | None]) -> Tree:
    """Write down what a layer is called with, or gives.

    Args:
        value: Tensors and plain values, in tuples, lists and dicts.
        put: Stores a tensor and gives its index; None for what is not a tensor.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if (fields_of := named_fields(value)) is not None:
        value = dict(zip(fields_of, value, strict=True))
    if isinstance(value, list | tuple):
        return [to_tree(part, put) for part in value]
    if isinstance(value, dict):
        return {"dict": {str(name): to_tree(part, put) for name, part in value.items()}}
    if is_dataclass(value) and not isinstance(value, type):
        return {"dict": {one.name: to_tree(getattr(value, one.name), put) for one in fields(value)}}
    index = put(value)
    return {"other": type(value).__qualname__} if index is None else {"array": index}
