"""The order of classes: the label of a name, and the classes that names imply.

Models number ImageNet's classes by the sorted list of their 1000 synsets. The development kit
numbers them 1 to 1000 in another order (1 is n02119789, a kit fox; sorted it is 278): used as
labels, its numbers give an accuracy near zero, without any error. `ilsvrc2012.txt` lists the synset
of each.

Source of that list: `meta.mat` of ILSVRC2012_devkit_t12, by way of two copies that agree:
fh295/semanticCNN imagenet_labels/ILSVRC2012_mapping.txt, commit 8de6228, and map_clsloc.txt of the
localisation kit, wisetrue95/Classification2020 data/map_clsloc.txt, commit b9af3cd.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files

# "n01440764", or what others make of it: "n01440764-tench", "n01440764 tench".
_SYNSET = re.compile(r"(n\d{8})(?![0-9A-Za-z])")
_NUMBER = re.compile(r"[0-9]+")  # not other scripts' digits, which isdecimal() takes


@cache
def synsets_by_id() -> tuple[str, ...]:
    """Give the 1000 synsets in the order of the development kit, whose numbers start at 1."""
    return tuple(files(__package__).joinpath("ilsvrc2012.txt").read_text("ascii").split())


@cache
def synsets() -> tuple[str, ...]:
    """Give the 1000 synsets of ImageNet in the order of labels, which is sorted."""
    return tuple(sorted(synsets_by_id()))


@cache
def label_by_synset() -> Mapping[str, int]:
    """Give the label of each of ImageNet's 1000 synsets."""
    return {synset: i for i, synset in enumerate(synsets())}


def order_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Put the names of classes in the order of their labels.

    Whole numbers are in the order of numbers: 2 comes before 10. Other names are sorted as texts,
    as torchvision's ImageFolder sorts them; ImageNet's synsets are then in the order of its labels.
    """
    found = sorted(names)
    return tuple(sorted(found, key=_value) if are_numbers(found) else found)


def how_ordered(classes: Sequence[str]) -> str:
    """Say in which order classes are if sorting them as texts gives another; else nothing."""
    is_other = are_numbers(classes) and list(classes) != sorted(classes)
    return ", sorted by number" if is_other else ""


def composed(names: Sequence[str]) -> tuple[str, ...]:
    """Give accented letters one form: macOS stores e with an accent as two characters.

    The order stays that of the names as they are stored.
    """
    found = tuple(unicodedata.normalize("NFC", name) for name in names)
    return found if len(set(found)) == len(names) else tuple(names)


def are_numbers(names: Sequence[str]) -> bool:
    """Tell whether all names are whole numbers, from 0, such as 7 or 007."""
    return bool(names) and all(_NUMBER.fullmatch(name) for name in names)


def _value(number: str) -> tuple[int, str]:
    """Give what whole numbers of any length are compared by."""
    digits = number.lstrip("0")
    return len(digits), digits


def imply_classes(names: Sequence[str], num_classes: int) -> tuple[str, ...]:
    """Give the names of all classes of a head, as far as the names of some of them tell.

    Synsets of ImageNet imply the 1000 if the head has so many. Whole numbers imply 0 to the last
    of the head, if 0 is one of them: without it, they may be counted from 1.

    Args:
        names: Classes of images, such as the ten synsets of Imagenette.
        num_classes: Number of classes of the head.

    Returns:
        One name per class, those in `names` as they stand there; () if they imply nothing.
    """
    labels = []
    if num_classes == len(synsets()):
        matches = [_SYNSET.match(name) for name in names]
        labels = [label_by_synset().get(match[1], -1) if match else -1 for match in matches]
        implied = list(synsets())
    if not labels or min(labels) < 0:
        if not are_numbers(names) or any(_value(name)[0] > 6 for name in names):
            return ()
        labels = [int(name) for name in names]
        implied = [str(label) for label in range(num_classes)]
        if 0 not in labels or max(labels) >= num_classes:
            return ()
    if len(set(labels)) < len(labels):
        return ()
    for label, name in zip(labels, names, strict=True):
        implied[label] = name
    return tuple(implied)
