"""Names of classes in the order of a model's head."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError


def read_classes(path: Path) -> tuple[str, ...]:
    """Read names of classes: of a text, one to a line, or of a .json, its list "classes".

    The run.json of a training has such a list, and so has the vitconvert.json of an export. Two
    classes may have one name, as two of ImageNet's are called crane.

    Raises:
        DataError: The file is neither, or a name is missing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").rstrip()
        is_json = path.suffix.lower() == ".json"
        names = _of_json(path, json.loads(text)) if is_json else text.splitlines()
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no text, no JSON
        raise DataError(f"{path}: cannot be read as names of classes: {error}.") from error
    if not names:
        raise DataError(f"{path}: names no classes.")
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(f"{path}: name {number} is empty; expected the name of a class.")
    return tuple(name.strip() for name in names)


def check_names(classes: Sequence[str], num_classes: int, weights: str | Path) -> None:
    """Compare names of classes, if there are any, with the head that they are for.

    Raises:
        DataError: There are more or fewer.
    """
    if classes and len(classes) != num_classes:
        raise DataError(
            f"{len(classes)} names of classes were given; {weights} has a head for {num_classes}."
        )


def _of_json(path: Path, data: Any) -> list[str]:
    names = data.get("classes") if isinstance(data, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f'{path}: has no list "classes" of names; expected a text, one name to a line, or the '
            f"run.json of vitconvert train."
        )
    return names
