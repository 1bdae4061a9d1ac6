"""The classes of images beside those of a model: labels are mapped by name where names are known.

Two lists of the same names in another order give a wrong accuracy without any error, so that equal
numbers of classes prove nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import DataError, nearest, some
from ._classes import _SYNSET, are_numbers, order_classes, synsets
from ._images import Images, check_classes
from ._known import Known

_SHOWN = 4  # names of a list
_MOST_DIGITS = 9  # of a label
_ADVICE = (
    "Take images of the model's classes; or, if they are the same under other names, give "
    "--classes FILE with the names that the images have, one a line in the order of the model's "
    "head."
)


@dataclass(frozen=True)
class Matched:
    """Images whose labels are a model's.

    Attributes:
        images: With the model's classes and labels.
        how: What the labels follow, in words.
        by_name: Whether the names of both were compared.
    """

    images: Images
    how: str
    by_name: bool = False


def match_classes(
    images: Images, num_classes: int, known: Known | None = None, advice: str = _ADVICE
) -> Matched:
    """Give images the classes of a model, and the labels that those have there.

    Names that are known on both sides are compared: the same in another order are mapped, and so
    are some of the model's; others are refused. Whole numbers as names are labels themselves. If
    nothing is known of the model, the names of the images may tell (synsets of ImageNet); else
    labels are positions, which needs as many classes as the head has.

    Args:
        images: Their classes may be fewer than the model's.
        num_classes: Size of the head.
        known: Its classes.
        advice: What the user can do about names that the model does not have.

    Raises:
        DataError: The classes do not fit.
    """
    if known is not None and len(known.names) != num_classes:
        raise DataError(
            f"{known.source} names {len(known.names)} classes; the model has a head for "
            f"{num_classes}. Give the right names: --classes FILE."
        )
    if not images.classes:
        check_classes(images, num_classes)
        named = replace(images, classes=known.names if known else ())
        return Matched(named, "by position: labels are the numbers in the list")
    if known is None:
        return _unknown(images, num_classes)
    return _compared(images, known, advice)


def _compared(images: Images, known: Known, advice: str) -> Matched:
    """Match images with a model by the names of both."""
    used, count = _used(images), len(known.names)
    of = f"{len(used):,} of {count:,} classes of {known.source}"
    if places := _find(used, known.names):
        same = images.classes == known.names
        how = f"compared by name: {of}, in the same order" if same else f"mapped by name: {of}"
        return Matched(_mapped(images, used, places, known.names), how, by_name=True)
    # Also if the last class has no images here.
    from_1 = _as_labels(images.classes, count + 1) == list(range(1, count + 1))
    places = _as_labels(used, count) if _has_0(images) else []
    if not are_numbers(known.names) and places:
        how = f"mapped by number: {of}, {used[-1]} is {known.names[places[-1]]}"
        return Matched(_mapped(images, used, places, known.names), how)
    numbered = are_numbers(used)
    if not numbered and (places := _find(used, images.implied_classes(count))):
        how = f"mapped by synset: {of}"
        return Matched(_mapped(images, used, places, known.names), how)
    # Words and numbers cannot be compared.
    if len(images.classes) == count and are_numbers(known.names) != numbered and from_1 == numbered:
        how = f"by position: {_positions(images)}; {known.source} has {some(known.names, 3)}"
        return Matched(replace(images, classes=known.names), how)
    raise _others(images, used, known, advice)


def _used(images: Images) -> list[str]:
    """Name the classes that images have; a folder may be empty."""
    return [images.classes[label] for label in np.unique(images.labels)]


def _has_0(images: Images) -> bool:
    """Tell whether a class is the number 0; other numbers may then not be counted from 1."""
    return "0" in map(_as_number, images.classes)


def _as_labels(names: Sequence[str], num_classes: int) -> list[int]:
    """Read names as labels of a head; nothing if they are not different ones."""
    if not are_numbers(names) or max(len(name) for name in names) > _MOST_DIGITS:
        return []
    labels = [int(name) for name in names]
    fits = max(labels) < num_classes and len({*labels}) == len(labels)
    return labels if fits else []


def _unknown(images: Images, num_classes: int) -> Matched:
    """Match images with a model whose own names are not known."""
    names, used = images.implied_classes(num_classes), _used(images)
    if places := _find(used, names):
        kind = "synset of ImageNet" if names[0].startswith(synsets()[0]) else "number"
        how = f"mapped by {kind}: {len(used):,} of {num_classes:,} classes"
        how += ", as they stand in the list" * images.are_listed_numbers
        return Matched(_mapped(images, used, places, names), how)
    try:
        check_classes(images, num_classes)
    except DataError as error:
        raise DataError(f"{error} Or give the names of the model's: --classes FILE.") from error
    return Matched(images, f"by position: {_positions(images)}; the model's names are not known")


def _positions(images: Images) -> str:
    """Say which order the labels of images follow."""
    names = images.classes
    order = "in the order given there"
    if names == order_classes(names):
        order = "sorted as text" if list(names) == sorted(names) else "sorted by number"
    shown = [f"{label} is {name}" for label, name in enumerate(names[:2])]
    return f"{', '.join(shown)}{', …' * (len(names) > 2)} ({order})"


def _find(wanted: Sequence[str], names: Sequence[str]) -> list[int]:
    """Find each of some names among a model's; nothing if one is missing, or there twice.

    One name may be written in two ways: an accent as a character of its own, as archives of macOS
    have it, a synset with words behind it, a number with zeros before it.
    """
    for spelled in _SPELLINGS:
        places: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            places.setdefault(spelled(name), []).append(place)
        found = [places.get(spelled(name), []) for name in wanted]
        if all(len(one) == 1 for one in found) and len({one[0] for one in found}) == len(found):
            return [one[0] for one in found]
    return []


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _as_synset(name: str) -> str:
    match = _SYNSET.match(name)
    return match[1] if match else _composed(name)


def _as_number(name: str) -> str:
    return (name.lstrip("0") or "0") if are_numbers([name]) else _composed(name)


_SPELLINGS: tuple[Callable[[str], str], ...] = (_composed, _as_synset, _as_number)


def _mapped(
    images: Images, used: Sequence[str], places: Sequence[int], names: tuple[str, ...]
) -> Images:
    """Give images the labels that their classes have in a model."""
    place = dict(zip(used, places, strict=True))
    labels = np.array([place.get(name, -1) for name in images.classes], np.int64)
    return replace(images, classes=names, labels=labels[images.labels])


def _others(images: Images, used: Sequence[str], known: Known, advice: str) -> DataError:
    """Name the classes that a model does not have."""
    odd = [name for name in used if not _find([name], known.names)] or list(used)
    twice = [name for name in odd if known.names.count(name) > 1]
    odd = [name for name in odd if name not in twice] or twice
    lacks = f"has {some(odd, _SHOWN)} twice." if odd == twice else f"lacks {some(odd, _SHOWN)}."
    if odd != twice:
        lacks += nearest(odd[0], known.names)
    if are_numbers(used) and not _has_0(images):
        advice = f"Without 0, these numbers may be counted from 0 or from 1. {advice}"
    return DataError(
        f"{images.source} ({images.described}): has other classes than {known.source}: that "
        f"{lacks} Found {len(used)}: {some(used, _SHOWN)}. Expected some of {len(known.names)}: "
        f"{some(known.names, _SHOWN)}. {advice}"
    )
