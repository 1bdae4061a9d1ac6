"""ImageNet's validation images as they are distributed: one flat folder, labels in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError, some
from ._classes import label_by_synset, synsets, synsets_by_id
from ._images import Images
from ._trees import Tree, counted, left_out, read_text

_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})\.jpe?g", re.IGNORECASE)
_SYNSET = re.compile(r"n\d{8}")
# Names of files with labels.
LABEL_FILES = (
    "ILSVRC2012_validation_ground_truth.txt",
    "imagenet_2012_validation_synset_labels.txt",
    "synset_labels.txt",
    "val_list.txt",
    "val.txt",
    "LOC_val_solution.csv",
)
# Folders with them, beside the images: the development kit's, MMPretrain's, Caffe's.
_KITS = ("", "ILSVRC2012_devkit_t12/data", "meta", "caffe_ilsvrc12")

Label = Callable[[str], int]  # name of an image -> its label


def is_imagenet(tree: Tree) -> bool:
    """Tell whether a tree holds ImageNet's validation images side by side."""
    return any(_IMAGE.fullmatch(name) for name in tree.files)


def open_imagenet(
    tree: Tree, above: Sequence[Tree], folders: Sequence[Path], source: str
) -> Images:
    """Find ImageNet's validation images and their labels.

    Args:
        tree: The images, side by side.
        above: Trees that it lies in, and which may hold the labels, too.
        folders: Folders that may hold them.
        source: The path as the user gave it.

    Raises:
        DataError: There are no labels, or they contradict each other or do not fit.
    """
    names = tuple(name for name in tree.files if _IMAGE.fullmatch(name))
    texts = _label_files((tree, *above), folders)
    if not texts:
        raise DataError(
            f"{tree.where}: has {len(names)} images of ImageNet but no labels. Expected one of "
            f"these files there or in {' or '.join(map(str, folders))}: {', '.join(LABEL_FILES)} "
            f"(the last one lies in the top folder of Kaggle's download). Or sort the images into "
            f"folders by synset (n01440764, …)."
        )
    found = {}
    for where, text in texts.items():
        label = _reader(where, text)
        found[where] = np.array([label(name) for name in names], np.int64)
    where, labels = next(iter(found.items()))
    for other, given in found.items():
        differing = np.flatnonzero(labels != given)
        if len(differing):
            i = int(differing[0])
            raise DataError(
                f"{where} and {other} contradict each other: {names[i]} has label {labels[i]} by "
                f"the first, {given[i]} by the second, and {len(differing) - 1} more differ. "
                f"Remove the wrong one."
            )
    described = f"{tree.of}{counted(len(names), 'validation image')} of ImageNet, labels of {where}"
    described += left_out(len(tree.files.keys() - set(names) - set(LABEL_FILES))) + tree.remark
    parts = source, described, synsets(), labels, names
    return Images(*parts, lambda i: tree.read(names[i]), root=tree.root)


def _label_files(trees: Sequence[Tree], folders: Sequence[Path]) -> Mapping[str, str]:
    """Read all label files in these places."""
    found: dict[str, Path | bytes] = {}
    for name in LABEL_FILES:
        for tree in trees:
            if tree.has(name):
                found[f"{tree.where}/{name}"] = tree.read(name)
        for folder in folders:
            for file in (folder / kit / name for kit in _KITS):
                if file.is_file():
                    found[str(file)] = file
    return {where: read_text(where, content)[0] for where, content in found.items()}


def _reader(where: str, text: str) -> Label:
    """Choose by the first line how to read a label file."""
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if lines and lines[0].startswith("ImageId,"):
        lines = [line.replace(",", " ") for line in lines[1:]]
    words = lines[0].split() if lines else []
    if not words:
        raise DataError(f"{where}: is empty; expected the labels of ImageNet's validation images.")
    if len(words) > 1:
        return _by_name(where, lines)
    # One synset per line, in the order of the images' numbers.
    ids = synsets_by_id()
    synsets = [_synset(where, line, ids) for line in lines] if words[0].isdecimal() else lines

    def label(name: str) -> int:
        match = _IMAGE.fullmatch(name)
        number = int(match[1]) if match else 0
        if not 1 <= number <= len(synsets):
            raise DataError(f"{where}: has {len(synsets)} lines and no label for {name}.")
        return _position(where, synsets[number - 1])

    return label


def _synset(where: str, line: str, ids: tuple[str, ...]) -> str:
    if not line.isdecimal() or not 1 <= int(line) <= len(ids):
        raise DataError(
            f"{where}: holds {line!r}; expected numbers of the development kit, 1 to {len(ids)}, "
            f"one per line. Labels from 0 need the name of their image on the same line."
        )
    return ids[int(line) - 1]


def _by_name(where: str, lines: list[str]) -> Label:
    """Read "name label" lines; labels are synsets, or positions in their sorted list, from 0."""
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) < 2:
            raise DataError(f"{where}: line {number} is {line!r}; expected a name and a label.")
        name = words[0].rsplit("/", 1)[-1].split(".", 1)[0]
        if listed.setdefault(name, words[1]) != words[1]:
            raise DataError(f"{where}: has two labels for {name}: {listed[name]} and {words[1]}.")
    # Check every label: only the largest one reveals numbers that start at 1.
    positions = {given: _position(where, given) for given in set(listed.values())}

    def label(name: str) -> int:
        given = listed.get(name.split(".", 1)[0])
        if given is None:
            raise DataError(f"{where}: does not list {name}; it lists {some(list(listed), 2)}.")
        return positions[given]

    return label


def _position(where: str, given: str) -> int:
    """Give a label: the position of a synset in the sorted list, or the number itself."""
    if _SYNSET.fullmatch(given) and given in label_by_synset():
        return label_by_synset()[given]
    if given.isdecimal() and len(given) < 5 and int(given) < len(label_by_synset()):
        return int(given)
    raise DataError(
        f"{where}: has the label {given!r}; expected one of ImageNet's 1000 synsets, or its "
        f"position in their sorted list, 0 to 999. Is this a different file of the same name?"
    )
