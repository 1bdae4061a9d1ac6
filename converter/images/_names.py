"""Class names in the order of a model's head."""

import re
from collections.abc import Sequence
from pathlib import Path

from .. import stored
from ..errors import DataError
from ._encoding import decode_text

_INDEXED = re.compile(r"(\d{1,9})[\s,:;]\s*(\S.*)")  # "0 pink primrose"
_HEADER = re.compile(r"[a-z_ ]+[,;\t][a-z_ ]+", re.IGNORECASE)  # "id,name"
_MOST_BYTES = 64 << 20  # of all names together


def parse_names(text: str) -> list[str]:
    """Read one name per line; with their numbers in front, 0 or 1 first, in the order of these."""
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text.rstrip())] if text else []
    body = lines[1:] if len(lines) > 1 and _HEADER.fullmatch(lines[0]) else lines
    matches = [_INDEXED.fullmatch(line) for line in body]
    numbered = {int(match[1]): match[2].strip("\"' ") for match in matches if match}
    first = min(numbered, default=0)
    are_names = 2 * len(set(numbered.values())) > len(numbered)  # not "1 cent", "2 cent"
    if first < 2 and sorted(numbered) == list(range(first, first + len(body))) and are_names:
        return [numbered[number] for number in sorted(numbered)]
    return lines


def read_classes(path: Path) -> tuple[str, ...]:
    """Read class names: one per line of a text file, or the list "classes" of a .json.

    Numbers in front of all names, from 0 or 1, are their places: "0 tench" or a CSV file.

    The run.json of a training has such a list, and so has the vitconvert.json of an export. Two
    classes may share a name: ImageNet has two called crane.

    Raises:
        DataError: The file is neither of these, or a name is missing.
    """
    try:
        text = decode_text(stored.read_bytes(path, _MOST_BYTES))[0].rstrip()
        if "\0" in text:
            raise ValueError("it has zero bytes; save it as UTF-8")
        is_json = path.suffix.lower() == ".json"
        data = stored.parse_json(text) if is_json else {"classes": parse_names(text)}
    except (OSError, ValueError) as error:  # ValueError: not text, not JSON
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise DataError(f"{path}: cannot be read as class names: {reason}.") from error
    names = data.get("classes") if isinstance(data, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f'{path}: has no list "classes" of names; expected a text file with one name per line, '
            f"or the run.json of vitconvert train."
        )
    if not names:
        raise DataError(f"{path}: is empty; expected class names, one per line.")
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(f"{path}: name {number} is empty; expected a class name.")
    return tuple(name.strip() for name in names)


def check_names(classes: Sequence[str], num_classes: int, weights: str | Path) -> None:
    """Compare class names, if there are any, with the head that they are for.

    Raises:
        DataError: There are more or fewer.
    """
    if classes and len(classes) != num_classes:
        raise DataError(
            f"got {len(classes)} class names; {weights} has a head for {num_classes} classes. Give "
            f"one name for each, in the order of the head."
        )
