"""CIFAR-10 and CIFAR-100 in their original format: pickles of Python 2 with NumPy arrays.

Source of the format: Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html. No pickle is
executed: the reader of checkpoints reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import Tensor
from ..checkpoints.pdparams import read_tree
from ..checkpoints.storage import File, Held
from ..errors import CheckpointError, DataError
from ._images import Images
from ._trees import Tree

_SIDE = 32  # pixels


@dataclass(frozen=True)
class _Form:
    """The layout of one of the two."""

    title: str
    folder: str
    meta: str
    names: str  # key of the classes' names in `meta`
    labels: str  # key of the labels in a batch
    batches: dict[str, tuple[str, ...]]


FORMS = (
    _Form(
        "CIFAR-10",
        "cifar-10-batches-py",
        "batches.meta",
        "label_names",
        "labels",
        {"val": ("test_batch",), "train": tuple(f"data_batch_{i}" for i in range(1, 6))},
    ),
    _Form(
        "CIFAR-100",
        "cifar-100-python",
        "meta",
        "fine_label_names",
        "fine_labels",
        {"val": ("test",), "train": ("train",)},
    ),
)


def find_cifar(tree: Tree) -> tuple[_Form, Tree] | None:
    """Find one of the two in a tree: its form and the tree of its batches."""
    for form in FORMS:
        inner = tree.below(form.folder) if form.folder in tree.folders else tree
        if form.meta in inner.files and any(
            name in inner.files for names in form.batches.values() for name in names
        ):
            return form, inner
    return None


def open_cifar(form: _Form, tree: Tree, split: str, source: str) -> Images:
    """Read the batches of a split; they stay in memory, 3 kB per image.

    Raises:
        DataError: A batch is missing, damaged or not one of CIFAR's.
    """
    classes = _load(tree, form.meta).get(form.names)
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(
            f"{tree.where}/{form.meta}: has no list {form.names} of class names. Unpack the whole "
            f"archive again."
        )
    pixels, labels, names = [], [], list[str]()
    for batch in form.batches[split]:
        images, numbers = _batch(tree, batch, form.labels, len(classes))
        pixels.append(images)
        labels.append(numbers)
        names += [f"{batch}/{i:05d}" for i in range(len(images))]
    images = np.concatenate(pixels)
    described = f"{tree.of}{form.title} in its original format, {', '.join(form.batches[split])}"
    return Images(
        source,
        described,
        tuple(classes),
        np.concatenate(labels),
        tuple(names),
        lambda i: images[i].transpose(1, 2, 0),
    )


def _batch(tree: Tree, name: str, key: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Give uint8 [N, 3, 32, 32] and int64 [N] of one batch."""
    where, expected = f"{tree.where}/{name}", f"uint8 [N, {3 * _SIDE**2}]"
    found = _load(tree, name)
    data, labels = found.get("data"), found.get(key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        raise DataError(f"{where}: data is not an array of bytes; expected {expected}.")
    if data.shape[1:] != (3 * _SIDE**2,):
        raise DataError(f"{where}: data is uint8 {list(data.shape)}; expected {expected}.")
    images = data.reshape(-1, 3, _SIDE, _SIDE)
    labels = labels if isinstance(labels, list) else []
    fits = all(type(label) is int and 0 <= label < count for label in labels)
    if not fits or len(labels) != len(images):
        raise DataError(f"{where}: {key} is not a list of {len(images)} labels below {count}.")
    return images, np.array(labels, np.int64)


def _load(tree: Tree, name: str) -> dict[Any, Any]:
    """Read a pickled dict with the reader of .pdparams, whose arrays are pickled alike."""
    where = f"{tree.where}/{name}"
    if name not in tree.files:
        raise DataError(f"{where}: is missing. Unpack the whole archive again.")
    try:
        content = tree.read(name)
        if isinstance(content, Path) and not content.is_file():  # a pipe would wait for ever
            raise DataError(f"{where}: is not a file.")
        found, _side = read_tree(Held(content) if isinstance(content, bytes) else File(content))
        if not isinstance(found, dict):
            raise DataError(f"{where}: holds no dict; expected a batch of CIFAR.")
        return {k: v.read() if isinstance(v, Tensor) else v for k, v in found.items()}
    except CheckpointError as error:
        raise DataError(f"{where}: {str(error).removeprefix(f'{where}: ')}") from error
