"""Lists of paths and labels: PaddleClas', PaddleX', CSV files, Tiny ImageNet's annotations."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import DataError
from ._classes import how_ordered, order_classes
from ._images import Images
from ._names import parse_names
from ._rows import Rows, read_rows
from ._trees import counted, read_text

# How lists of a split are called, the likeliest first.
_FORMS = ("{}_list.txt", "{}.txt", "{}_list.csv", "{}.csv", "{}_labels.csv", "{}_labels.txt")
_SPLITS = {"val": ("val", "validation", "valid", "eval", "test"), "train": ("train",)}
_CLASSES = re.compile(r"labels?\.txt|(.*_)?label_list\.txt|class(es|_names|_list)\.txt")
ANNOTATIONS = "val_annotations.txt"  # of Tiny ImageNet's val
WNIDS = "wnids.txt"  # its classes

# Where paths may start, besides the folder of the list.
_FOLDERS = ("images", "image", "img", "imgs", "jpg", "JPEGImages", "photos", "data")
_ENDINGS = ("", ".jpg", ".jpeg", ".JPEG", ".png")
_MOST_STRIPPED = 8  # folders in front of a path that was made on another machine
_TRIED = 16  # paths that tell where all paths start


class Place(Protocol):
    """A folder or a tree, with the images of a list."""

    @property
    def where(self) -> str:
        """Its name in errors."""

    @property
    def of(self) -> str:
        """What stands before a description: "zip of "; nothing for a folder."""

    @property
    def remark(self) -> str:
        """What to say of it, as the end of a description."""

    @property
    def top(self) -> frozenset[str]:
        """Names of the files directly in it."""

    def has(self, name: str) -> bool:
        """Tell whether it has a file of this name."""

    def read(self, name: str) -> Path | bytes:
        """Give the path of a file, or its bytes if it lies in an archive."""


@dataclass(frozen=True)
class Folder:
    """A folder whose files are looked up one by one: listing it all may take long."""

    path: Path
    of: str = ""
    remark: str = ""

    @property
    def where(self) -> str:
        """Its name in errors."""
        return str(self.path)

    @property
    def top(self) -> frozenset[str]:
        """Names of the files directly in it."""
        try:
            with os.scandir(self.path) as entries:
                return frozenset(entry.name for entry in entries if entry.is_file())
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be listed: {error.strerror}.") from error

    def has(self, name: str) -> bool:
        """Tell whether it has a file of this name."""
        try:
            return (self.path / name).is_file()
        except OSError:  # too long for a name
            return False

    def read(self, name: str) -> Path:
        """Give the path of a file."""
        return self.path / name


def find_list(names: Iterable[str], split: str) -> str | None:
    """Find the list of a split among the names of files."""
    return next(_lists_of(frozenset(names), split), None)


def _lists_of(names: frozenset[str], split: str) -> Iterator[str]:
    # Form by form: test_list.txt is likelier a list than val.csv.
    found = (form.format(word) for form in _FORMS for word in _SPLITS[split])
    return (name for name in found if name in names)


def open_list(place: Place, name: str, source: str) -> Images:
    """Find the images that a list names; labels start at 0, or at 1 in all lists of the place.

    Paths are relative to the folder of the list, or to one of images in it or to the one above;
    back slashes separate, too, and folders in front that exist on another machine only go.

    Raises:
        DataError: The list is empty, a line cannot be parsed, or there is none of its images.
    """
    top = place.top
    rows = read_rows(f"{place.where}/{name}", place.read(name))
    siblings = [other for split in _SPLITS for other in _lists_of(top, split)]
    # A test_list.txt often has no labels.
    siblings = [n for n in siblings if n != name and not n.startswith("test")]

    def others() -> list[Rows]:  # they may be long, and are rarely needed
        found = [read_rows(f"{place.where}/{other}", place.read(other)) for other in siblings]
        return [other for other in found if other.are_numbers == rows.are_numbers]

    named, remark = _read_labels(place, top)
    if rows.are_numbers:
        images = _numbered(rows, others, named)
    else:
        images = _named([rows, *others()], named)
    classes, labels, more, are_listed = images
    paths, how = _locate(place, name, list(rows.labels))
    described = f"{place.of}{counted(len(paths), 'image')} listed in {name}{more}"
    if classes == named:
        described += remark
    described += how + rows.remark + place.remark
    names = tuple(shown for shown, _ in paths)
    where = [path for _, path in paths]
    return Images(
        source, described, classes, labels, names, lambda i: place.read(where[i]), are_listed
    )


_Labelled = tuple[tuple[str, ...], np.ndarray, str, bool]  # classes, labels, a remark, are_listed


def _numbered(rows: Rows, others: Callable[[], list[Rows]], named: Sequence[str]) -> _Labelled:
    """Give labels of a list with numbers: from 1 if these are used from 1 to the last one.

    Counted from 1, each number is the name of its class: the count then has to fit the head.
    """
    labels = np.array(rows.numbers(), np.int64)
    used = set(labels.tolist())
    if 0 not in used:
        used.update(*(other.numbers() for other in others()))
    last, is_from_1 = max(used), False
    if 0 not in used and last > 1:
        is_from_1 = last == len(named) if named else len(used) == last
    if is_from_1:
        classes = tuple(named) or tuple(map(str, range(1, last + 1)))
        return classes, labels - 1, f", labels counted from 1 to {last}", not named
    if named and last >= len(named):
        more = f", {len(named)} class names beside it are too few for label {last}: not used"
        return (), labels, more, False
    return tuple(named), labels, "", False


def _named(lists: Sequence[Rows], named: Sequence[str]) -> _Labelled:
    """Give labels of a list with names of classes, which all lists of the place may have."""
    used = {label for rows in lists for label in rows.labels.values()}
    is_known = used <= set(named) and len(set(named)) == len(named)
    classes = tuple(named) if is_known else order_classes(used)
    number = {label: i for i, label in enumerate(classes)}
    labels = np.array([number[label] for label in lists[0].labels.values()], np.int64)
    return classes, labels, f" by name, {len(classes)} classes{how_ordered(classes)}", False


def open_annotations(place: Place, above: Sequence[Place], source: str) -> Images:
    """Find the images of Tiny ImageNet's val.

    Its classes are the sorted synsets, as class folders of its train are: wnids.txt has them in no
    order.

    Raises:
        DataError: The list is malformed, or there is none of its images.
    """
    rows = read_rows(f"{place.where}/{ANNOTATIONS}", place.read(ANNOTATIONS), label_column=1)
    synsets = set(rows.labels.values())
    for outer in above:
        if outer.has(WNIDS):
            synsets |= set(read_text(f"{outer.where}/{WNIDS}", outer.read(WNIDS))[0].split())
    classes = order_classes(synsets)
    number = {label: i for i, label in enumerate(classes)}
    labels = np.array([number[label] for label in rows.labels.values()], np.int64)
    paths, how = _locate(place, ANNOTATIONS, list(rows.labels))
    described = (
        f"{place.of}Tiny ImageNet, {len(classes)} classes sorted by synset, "
        f"{counted(len(paths), 'image')} listed in {ANNOTATIONS}{how}{rows.remark}{place.remark}"
    )
    names = tuple(shown for shown, _ in paths)
    where = [path for _, path in paths]
    return Images(source, described, classes, labels, names, lambda i: place.read(where[i]))


def _read_labels(place: Place, top: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """Read the names of classes beside a list; with numbers in front, or in their order."""
    found = sorted((name for name in top if _CLASSES.fullmatch(name)), key=lambda n: (len(n), n))
    if not found:
        return (), ""
    text, _ = read_text(f"{place.where}/{found[0]}", place.read(found[0]))
    lines = parse_names(text.lstrip())
    if not all(lines):
        return (), f", {found[0]} has empty lines: not used"
    return tuple(lines), f", classes of {found[0]}"


def _locate(place: Place, name: str, paths: Sequence[str]) -> tuple[list[tuple[str, str]], str]:
    """Find where the paths of a list start.

    Returns:
        What to show and what to read for every path; and a remark if they do not start beside the
        list.
    """
    tried = [paths[i * len(paths) // _TRIED] for i in range(min(_TRIED, len(paths)))]
    best, most = None, 0
    inside = ("", *_FOLDERS, *_SPLITS["val"], *_SPLITS["train"])
    # As they stand; then with slashes, in other folders, and without folders in front.
    ways = (
        product(_ENDINGS, range(_MOST_STRIPPED), starts, (False, True))
        for starts in (inside, ("..",))
    )
    for way in chain.from_iterable(ways):
        hits = sum(place.has(_change(path, *way)) for path in tried)
        if hits > most:
            best, most = way, hits
        if most == len(tried):
            break
    if best is None:
        raise DataError(
            f"{place.where}/{name}: there is none of its {len(paths)} images, such as {tried[0]}. "
            f"Expected paths relative to {place.where}, or to a folder of images in it."
        )
    ending, stripped, start, _ = best
    found = [_change(path, *best) for path in paths]
    if len(set(found)) < len(found):
        raise DataError(
            f"{place.where}/{name}: its images, such as {tried[0]}, are not there, and without the "
            f"first folders of their paths several have one name. Expected paths relative to "
            f"{place.where}."
        )
    how = ""
    if stripped:
        # The paths of another machine.
        how = f", paths without their first {'folder' if stripped == 1 else f'{stripped} folders'}"
    if start:
        how += f", paths in {start}/" if start != ".." else ", paths from the folder above"
    if ending:
        how += f", {ending} added to names"
    return [(path.removeprefix("../"), path) for path in found], how


def _change(path: str, ending: str, stripped: int, start: str, has_back_slashes: bool) -> str:
    """Change a path of a list to one relative to the folder of the list."""
    if has_back_slashes:
        path = path.replace("\\", "/")
    if stripped:
        path = "/".join([part for part in path.split("/") if part not in ("", ".")][stripped:])
        if not path:
            return ""
    else:
        path = path.removeprefix("./")
    return (f"{start}/{path}" if start else path) + ending
