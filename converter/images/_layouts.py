"""What a folder without usable images looks like, and what it lacks.

Each row is a layout that data sets are known to have; docs/eval.md lists those that are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ._trees import Tree

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
# A folder of all images, not a class.
_POOLS = {"images", "image", "img", "imgs", "jpg", "jpegimages", "photos"}
_SPLITS = {"train", "val", "validation", "valid", "test"}
# What others call splits.
_NAMES = _SPLITS | {"training", "testing", "dev", "eval", "trainset", "valset", "testset"}
_VOC = {"Annotations", "JPEGImages"}
_PACKED = re.compile(r".*\.(tfrecords?|rec|lmdb|mdb|parquet|arrow|h5|hdf5|npy|npz|mat)", re.I)
_OTHERS = re.compile(r".*\.(heic|heif|avif|jxl|jp2|svg|jfif|cr2|nef|dng|dcm|nii)", re.I)
_LISTS = re.compile(r".*(list|label|annotation|class|train|val|test).*\.(txt|csv|json|tsv)", re.I)
_ZIPS = re.compile(r".*\.(zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)", re.I)


class Layout(NamedTuple):
    """A layout, by what it is known by.

    Attributes:
        title: What it is called.
        sign: Gives what a tree has of it, in words; "" if that is nothing.
        missing: What there is to do.
        is_sure: Whether class folders cannot have the sign.
    """

    title: str
    sign: Callable[[Tree], str]
    missing: str
    is_sure: bool = False


def is_image(name: str) -> bool:
    """Tell by its name whether a file is an image of a format that is read."""
    return name.lower().endswith(SUFFIXES)


def explain(tree: Tree, *, is_only_sure: bool = False) -> str:
    """Name the known layout that a tree is nearest to, and what is missing of it; or nothing."""
    for layout in LAYOUTS:
        if (not is_only_sure or layout.is_sure) and (found := layout.sign(tree)):
            return f" It looks like {layout.title} ({found}): {layout.missing}"
    return ""


def _folders(*names: str) -> Callable[[Tree], str]:
    """Make the sign of the first of some folders, at any depth."""
    return lambda tree: next((f"{name}/" for name in names if name in tree.nested), "")


def _file(pattern: re.Pattern[str]) -> Callable[[Tree], str]:
    """Make the sign of a file, at any depth."""

    def sign(tree: Tree) -> str:
        return next((name for name in tree.files if pattern.fullmatch(name.rsplit("/")[-1])), "")

    return sign


def _unlabelled(tree: Tree) -> str:
    """Find the only folder with images, which has no name of a class."""
    if len(tree.folders) != 1 or any(map(is_image, tree.top)):
        return ""
    (name,) = tree.folders
    is_flat = not tree.below(name).folders
    return f"all images in {name}/" if name.lower() in _POOLS and is_flat else ""


def _only_splits(tree: Tree) -> str:
    """Find splits in place of classes."""
    is_split = tree.folders and tree.folders <= _SPLITS
    return f"images side by side in {'/ and '.join(sorted(tree.folders))}/" if is_split else ""


def _other_names(tree: Tree) -> str:
    """Find splits of class folders under names that are not read, such as Train and Val."""
    names = sorted(tree.folders)
    is_split = len(names) > 1 and all(name.lower() in _NAMES for name in names)
    are_sorted = is_split and all(tree.below(name).folders for name in names)
    return f"{'/ and '.join(names)}/" if are_sorted else ""


def _higher(tree: Tree) -> str:
    """Find the only folder, which has the splits."""
    if len(tree.folders) != 1:
        return ""
    (name,) = tree.folders
    inner = tree.below(name)
    splits = sorted(inner.folders & _SPLITS)
    return f"{name}/{splits[0]}/" if splits and inner.below(splits[0]).folders else ""


def _boxes(tree: Tree) -> str:
    """Find a set in the layout of Pascal VOC."""
    return "Annotations/ and JPEGImages/" if tree.folders >= _VOC else ""


def _flat(tree: Tree) -> str:
    count = sum(map(is_image, tree.top))
    return f"{count} image{'s' * (count > 1)} side by side" if count else ""


_A_LIST = (
    "expected a val_list.txt (train_list.txt) with a path and a label per line, or class folders."
)
_KAGGLES = (
    "expected ILSVRC/Data/CLS-LOC with val/ or train/, and LOC_val_solution.csv beside ILSVRC."
)
LAYOUTS = (
    Layout(
        "Kaggle's ImageNet",
        _folders("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC"),
        _KAGGLES,
        is_sure=True,
    ),
    Layout("Kaggle's ImageNet", _file(re.compile(r"LOC_.*\.csv")), _KAGGLES),
    Layout(
        "Tiny ImageNet",
        _file(re.compile(r"wnids\.txt|val_annotations\.txt")),
        "expected val/images with val/val_annotations.txt, and train/<synset>/images.",
    ),
    Layout(
        "CIFAR",
        _file(re.compile(r"data_batch_\d|test_batch|batches\.meta")),
        "expected batches.meta, test_batch and data_batch_1 to 5 of the python version.",
    ),
    Layout(
        "a set for detection or segmentation",
        _folders("Annotations", "annotations", "ImageSets", "labels/train", "SegmentationClass"),
        "expected one class per image, in class folders or in a list.",
    ),
    Layout(
        "a set for detection or segmentation",
        _boxes,
        "expected one class per image, in class folders or in a list.",
        is_sure=True,
    ),
    Layout(
        "splits under other names",
        _other_names,
        "expected train/ and val/. Rename them, or give the folder of one of them.",
        is_sure=True,
    ),
    Layout("a folder around the images", _higher, "give the folder in it.", is_sure=True),
    Layout("splits without their labels", _only_splits, _A_LIST, is_sure=True),
    Layout("images without their labels", _unlabelled, _A_LIST, is_sure=True),
    Layout("images of another format", _file(_OTHERS), "save them as JPEG or PNG."),
    Layout("images with a list", _file(_LISTS), _A_LIST),
    Layout("images side by side", _flat, _A_LIST),
    Layout("packed data", _file(_PACKED), "unpack it to images in class folders."),
    Layout(
        "archives in a folder",
        _file(_ZIPS),
        "give the archive itself to --data; unpack one that lies in another.",
    ),
)
