"""A path -> labelled images: class folders or archives of them, lists, ImageNet, CIFAR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import DataError, some
from ._archives import ARCHIVES, is_archive, read_archive
from ._cifar import FORMS, find_cifar, open_cifar
from ._classes import composed, how_ordered, order_classes
from ._imagenet import is_imagenet, open_imagenet
from ._images import Images
from ._layouts import SUFFIXES, explain, is_image
from ._lists import ANNOTATIONS, Folder, find_list, open_annotations, open_list
from ._trees import Tree, counted, left_out, read_folder

Split = Literal["val", "train"]

# Names of folders and archives of a split, the likeliest first.
SPLITS: dict[str, tuple[str, ...]] = {
    "val": ("val", "validation", "valid", "test"),
    "train": ("train",),
}
_ARCHIVES = {"val": (*SPLITS["val"], "ILSVRC2012_img_val"), "train": SPLITS["train"]}
_ALL_SPLITS = tuple(name for names in SPLITS.values() for name in names)
_KAGGLE = ("ILSVRC", "Data", "CLS-LOC")  # the folders of ImageNet's images in Kaggle's download


def open_images(data: str | Path, split: Split = "val", *, exif: bool = False) -> Images:
    """Find the labelled images of a split, without reading them.

    Supported layouts:

    - class folders, `DIR/<class>/*.jpg`, nested ones too. Labels are the positions in the sorted
      list of classes, as in torchvision's ImageFolder, but whole numbers are sorted by number; a
      folder without images counts.
    - DIR with `val`, `validation`, `valid`, `test` or `train` of class folders, or zips of them;
    - a zip or tar of any of these, read in place;
    - ImageNet's validation images side by side, with a file of labels among or above them, and
      Kaggle's download of ImageNet; Tiny ImageNet;
    - DIR with `val_list.txt` or `train_list.txt` of "path label" lines, as in PaddleClas, or with a
      `val.csv` and the like;
    - CIFAR-10 and CIFAR-100 in their original format, as archive or folder.

    Hidden files are left out. Links to folders are followed, but not in circles.

    Args:
        data: Folder or archive.
        split: Which split. A folder without splits is taken as it is.
        exif: Whether to turn images as their EXIF orientation says.

    Raises:
        DataError: The path does not exist, has none of these layouts, or holds no image.
    """
    images = _open(data, split)
    if not exif:
        return images
    described = f"{images.described}, turned by EXIF"
    return replace(images, described=described, exif=True)


def _open(data: str | Path, split: Split) -> Images:
    path = Path(data)
    if not path.exists():
        raise DataError(f"{data}: no such folder or file.")
    if path.is_dir():
        return _open_folder(path, split, str(data))
    if path.is_file() and is_archive(path):
        # The user named this split: train.zip is taken even where "val" is the default.
        named = next((name for name in _ALL_SPLITS if path.name.split(".")[0] == name), "")
        return _from_tree(read_archive(path), (path.absolute().parent,), split, str(data), named)
    raise DataError(
        f"{data}: is neither a folder nor an archive ({', '.join(ARCHIVES)}). Expected class "
        f"folders, or an archive of them; unpack an archive of another format first."
    )


def _open_folder(path: Path, split: Split, source: str) -> Images:
    """Find a split in a folder without listing all of it, which may take long."""
    try:
        if path.joinpath(*_KAGGLE).is_dir():
            path = path.joinpath(*_KAGGLE)
        kaggle = _kaggle_root(path)
        for name in _ARCHIVES[split]:
            if _is_split(path / name):
                return _from_tree(read_folder(path / name), (path, *kaggle), split, source, name)
            for archive in (path / (name + suffix) for suffix in ARCHIVES):
                if archive.is_file():
                    return _from_tree(read_archive(archive), (path,), split, source, name)
        if not any(path.glob("ILSVRC2012_val_*")):
            folder = Folder(path)
            if listed := _list_of(folder.where, folder.top, split):
                return open_list(folder, listed, source)
        for form in FORMS:
            if (path / form.folder).is_dir():
                path = path / form.folder
                break
        else:
            for name in ("cifar-10-python.tar.gz", "cifar-100-python.tar.gz"):
                if (path / name).is_file():
                    return _from_tree(read_archive(path / name), (path,), split, source)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be listed: {error.strerror}.") from error
    return _from_tree(read_folder(path), (path.absolute().parent, *kaggle), split, source)


def _kaggle_root(path: Path) -> tuple[Path, ...]:
    """Give the folders of Kaggle's download above one of ImageNet's images, the top one first."""
    for folder in (path.absolute(), path.absolute().parent):
        if folder.parts[-len(_KAGGLE) :] == _KAGGLE:
            return tuple(folder.parents[i] for i in reversed(range(len(_KAGGLE))))
    return ()


def _is_split(folder: Path) -> bool:
    """Tell a split, which holds class folders or ImageNet's images, from a class."""
    return folder.is_dir() and any(
        entry.is_dir() or entry.name.startswith("ILSVRC2012_val_")
        for entry in folder.iterdir()
        if not entry.name.startswith(".")
    )


def _list_of(where: str, names: frozenset[str], split: Split) -> str | None:
    """Find the list of a split.

    Raises:
        DataError: There is only one of the other split.
    """
    found = find_list(names, split)
    other: Split = "train" if split == "val" else "val"
    if found is None and (listed := find_list(names, other)):
        raise DataError(
            f"{where}: has {listed}, but nothing for {split}; expected {split}_list.txt. Or give "
            f"the folder of images itself."
        )
    return found


def _from_tree(
    tree: Tree, folders: Sequence[Path], split: Split, source: str, found: str = ""
) -> Images:
    """Find images in a tree: directly in it, in its folder of the split, in its only folder.

    Args:
        tree: Where to look.
        folders: Folders that it lies in, which may hold labels.
        split: Which split.
        source: The path as the user gave it.
        found: The name of the split, if this is one.
    """
    above: list[Tree] = []
    while True:
        cifar = find_cifar(tree)
        if cifar:
            return open_cifar(*cifar, split, source)
        if tree.has(ANNOTATIONS):
            return open_annotations(tree, [*above, *map(Folder, folders)], source)
        splits = [] if found else [name for name in _ALL_SPLITS if _holds_classes(tree, name)]
        wanted = [name for name in SPLITS[split] if name in splits]
        inner: tuple[str, ...] = ()
        if wanted:
            inner, found = (wanted[0],), wanted[0]
        elif splits:
            raise DataError(
                f"{tree.where}: has {' and '.join(splits)}, but nothing for {split}; expected a "
                f"folder {' or '.join(SPLITS[split])}. Or give the folder of images itself."
            )
        elif is_imagenet(tree):
            return open_imagenet(tree, above, folders, source)
        elif not found and (listed := _list_of(tree.where, tree.top, split)):
            return open_list(tree, listed, source)
        elif "/".join(_KAGGLE) in tree.nested:
            inner = _KAGGLE
        elif tree.read_entry and len(tree.folders) == 1 and _holds_classes(tree, *tree.folders):
            inner = tuple(tree.folders)
        else:
            return _class_folders(tree, source, found) or _listed_above(
                tree, folders, split, source
            )
        for name in inner:
            above.append(tree)
            tree = tree.below(name)


def _holds_classes(tree: Tree, name: str) -> bool:
    """Tell whether a folder of a tree is more than a class: holds folders or known files."""
    if name not in tree.folders:
        return False
    inner = tree.below(name)
    is_listed = any(find_list(inner.top, split) for split in SPLITS)
    return bool(inner.folders) or is_listed or is_imagenet(inner)


def _listed_above(tree: Tree, folders: Sequence[Path], split: Split, source: str) -> Images:
    """Find the list of images side by side in the folder above them.

    Raises:
        DataError: There is none.
    """
    above = Folder(folders[0])
    if above.has(ANNOTATIONS) and any(map(is_image, tree.top)):
        return open_annotations(above, [Folder(above.path.parent)], source)
    listed = find_list(above.top, split) or "" if any(map(is_image, tree.top)) else ""
    if tree.read_entry or "_list." not in listed:  # val.txt may be anything there
        raise _nothing(tree, source)
    return open_list(above, listed, source)


def _class_folders(tree: Tree, source: str, split: str) -> Images | None:
    """Give the images of class folders; None if there are none."""
    folders = order_classes(tree.folders)
    label = {name: i for i, name in enumerate(folders)}
    classes = composed(folders)
    inside = [name for name in tree.files if "/" in name]
    names = tuple(name for name in inside if is_image(name))
    if not names or explain(tree, is_only_sure=True):
        return None
    labels = np.array([label[name.split("/", 1)[0]] for name in names], np.int64)
    described = tree.of + counted(len(classes), "class folder") + how_ordered(classes)
    if split:
        described += f", split {split}"
    used = set(labels.tolist())
    empty = [name for i, name in enumerate(classes) if i not in used]
    if empty:
        described += f", {len(empty)} of them without images ({some(empty, 3)})"
    described += left_out(len(tree.files) - len(names)) + tree.remark
    parts = source, described, classes, labels, names
    return Images(*parts, lambda i: tree.read(names[i]), root=tree.root)


def _nothing(tree: Tree, source: str) -> DataError:
    found = "is empty"
    if tree.files or tree.folders:
        found = f"has {counted(len(tree.folders), 'folder')} and {counted(len(tree.files), 'file')}"
        found += (
            f" ({some([*sorted(tree.folders), *tree.files], 4)}), but no images in class folders"
        )
    where = source if source == tree.where else f"{source}: {tree.where}"
    return DataError(
        f"{where}: {found}. Expected <class>/<image> with {', '.join(SUFFIXES)}.{explain(tree)}"
    )
