"""Whether the images of a set can be read, and why not: asked before the first epoch."""

from __future__ import annotations

import logging
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from ...errors import DataError, listing
from ...images import Images, Preprocessing

_LOG = logging.getLogger("vitconvert")
_TRIED = 128  # images of a set; at least one of each class
_SECONDS = 10.0  # that trying takes at most, once an image can be read
_GIVEN_UP = 1000  # images tried, none of which can be read
_REASONS = 3  # that are listed
_NAMED = 3  # images of a reason


def check_readable(
    what: str, images: Images, chosen: np.ndarray, how: Preprocessing
) -> dict[int, str]:
    """Read some images of every class; the run is to fail now, not after an epoch.

    Args:
        what: Such as "training images".
        images: Of the set.
        chosen: int64 [N], indices of those that the run uses.
        how: What images are prepared with.

    Returns:
        Index and reason of those that cannot be read.

    Raises:
        DataError: None of them can be read, for these reasons.
    """
    found, tried, start = dict[int, str](), 0, time.monotonic()
    wanted = max(_TRIED, len(np.unique(images.labels[chosen])))
    for index in in_turns(images.labels, chosen):
        read = tried - len(found)
        late = time.monotonic() - start > _SECONDS
        if (tried >= wanted and (read or tried >= _GIVEN_UP)) or (read and late):
            break
        tried += 1
        try:
            how.crop(images.open(index))
        except DataError as error:
            found[index] = str(error)
    where = f"{images.source} ({images.described})"
    if found and len(found) == tried:
        each = f"none of {tried:,} {what}" if tried < len(chosen) else f"none of the {what}"
        raise DataError(listing(f"{where}: {each} can be read:", reasons(images, found)))
    if found:
        heading = f"{where}: {len(found)} of {tried:,} {what} that were tried cannot be read:"
        _LOG.warning(listing(heading, reasons(images, found)))
    return found


def in_turns(labels: np.ndarray, chosen: np.ndarray) -> Iterator[int]:
    """Give indices in turns: one of each class, then the next of each.

    Args:
        labels: int64, of all images.
        chosen: int64 [N], the indices to give.
    """
    own = labels[chosen]
    by_class = np.argsort(own, kind="stable")
    _, starts, counts = np.unique(own[by_class], return_index=True, return_counts=True)
    turn = np.arange(len(chosen)) - np.repeat(starts, counts)  # of an image within its class
    for place in by_class[np.argsort(turn, kind="stable")]:
        yield int(chosen[place])


def reasons(images: Images, found: Mapping[int, str]) -> list[str]:
    """Count why images cannot be read, the most frequent reason first, with a few names each.

    Args:
        images: Of the set.
        found: Index of an image -> why it cannot be read.
    """
    names = defaultdict[str, list[str]](list)
    first: dict[str, str] = {}  # reasons that differ in a number, such as bytes, are one
    for index, why in sorted(found.items()):
        name = images.names[index]
        why = why.removeprefix(f"{name}: ").rstrip(".")
        names[first.setdefault(re.sub(r"\d+", "0", why), why)].append(name)
    ordered = sorted(names.items(), key=lambda item: -len(item[1]))
    lines = []
    for why, those in ordered[:_REASONS]:
        more = ", …" if len(those) > _NAMED else ""
        of = f"{len(those):,} image{'s' * (len(those) > 1)}"
        lines.append(f"{of}: {why} ({', '.join(those[:_NAMED])}{more})")
    if left := ordered[_REASONS:]:
        count = sum(len(those) for _, those in left)
        lines.append(f"{count:,} more for {len(left)} other reason{'s' * (len(left) > 1)}")
    return lines
