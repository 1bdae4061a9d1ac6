"""What lies at a path -> labelled pictures: class folders or archives of them, ImageNet, CIFAR."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from .._errors import DataError, some
from ._pictures import Pictures
from ._trees import ARCHIVES, Tree, is_archive, read_archive, read_folder

Split = Literal["val", "train"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
# How folders and archives of a split are called, the likeliest first.
SPLITS: dict[str, tuple[str, ...]] = {"val": ("val", "validation", "test"), "train": ("train",)}
_ALL_SPLITS = tuple(name for names in SPLITS.values() for name in names)


def open_pictures(data: str | Path, split: Split = "val") -> Pictures:
    """Find the labelled pictures of a split; none is read yet.

    Understood are: class folders (`DIR/<class>/*.jpg`, nested ones too; labels are the positions in
    the sorted list of classes, as torchvision's ImageFolder has it); DIR with `val`, `validation`,
    `test` or `train` of such folders, or zips of those names; a zip or tar of class folders, read
    where it is.

    Args:
        data: Folder or archive.
        split: Which half. A folder that is not halved is taken as it is.

    Raises:
        DataError: There is no such path, nothing that is understood, or no picture.
    """
    path = Path(data)
    if not path.exists():
        raise DataError(f"{data}: there is no such folder or file.")
    if path.is_dir():
        return _open_folder(path, split, str(data))
    if is_archive(path):
        return _from_tree(read_archive(path), split, str(data))
    raise DataError(
        f"{data}: is neither a folder nor an archive ({', '.join(ARCHIVES)}). Expected class "
        f"folders, or an archive of them."
    )


def _open_folder(path: Path, split: Split, source: str) -> Pictures:
    """Find a split in a folder before all of the folder is listed, which may take long."""
    for name in SPLITS[split]:
        inner = path / name
        if inner.is_dir() and any(entry.is_dir() for entry in inner.iterdir()):
            return _class_folders(read_folder(inner), source, name)
        for suffix in ARCHIVES:
            if (path / (name + suffix)).is_file():
                return _from_tree(read_archive(path / (name + suffix)), split, source, name)
    return _from_tree(read_folder(path), split, source)


def _from_tree(tree: Tree, split: Split, source: str, found: str = "") -> Pictures:
    """Find class folders in a tree: in it, in its folder of the split, in its only folder."""
    while True:
        halves = [name for name in _ALL_SPLITS if _holds_folders(tree, name)]
        wanted = [name for name in SPLITS[split] if name in halves]
        if wanted:
            tree, found = tree.below(wanted[0]), wanted[0]
        elif halves and not found:
            raise DataError(
                f"{tree.where}: has {' and '.join(halves)}, but nothing for {split}; expected a "
                f"folder {' or '.join(SPLITS[split])}. Give the folder of pictures itself."
            )
        elif tree.archive and len(tree.folders) == 1 and _holds_folders(tree, *tree.folders):
            tree = tree.below(*tree.folders)
        else:
            return _class_folders(tree, source, found)


def _holds_folders(tree: Tree, name: str) -> bool:
    return name in tree.folders and any(
        n.startswith(f"{name}/") and n.count("/") > 1 for n in tree.files
    )


def _class_folders(tree: Tree, source: str, split: str) -> Pictures:
    classes = tuple(sorted(tree.folders))
    label = {name: i for i, name in enumerate(classes)}
    inside = [name for name in tree.files if "/" in name]
    names = tuple(name for name in inside if name.lower().endswith(SUFFIXES))
    if not names:
        raise _nothing(tree, source)
    labels = np.array([label[name.split("/", 1)[0]] for name in names], np.int64)
    described = f"{len(classes)} class folders"
    if tree.archive:
        described = f"{tree.kind} of {described}"
    if split:
        described += f", split {split}"
    empty = [name for i, name in enumerate(classes) if i not in set(labels.tolist())]
    if empty:
        described += f", {len(empty)} of them without pictures ({some(empty, 3)})"
    if len(tree.files) > len(names):
        described += f", {len(tree.files) - len(names)} other files left out"
    return Pictures(source, described, classes, labels, names, lambda i: tree.read(names[i]))


def _nothing(tree: Tree, source: str) -> DataError:
    found = "nothing"
    if tree.files or tree.folders:
        found = f"{len(tree.folders)} folders and {len(tree.files)} files"
        found += f" ({some([*sorted(tree.folders), *tree.files], 4)})"
    where = source if source == tree.where else f"{source}: {tree.where}"
    return DataError(
        f"{where}: has {found}, but no pictures in class folders. Expected <class>/<picture> with "
        f"{', '.join(SUFFIXES)}."
    )
