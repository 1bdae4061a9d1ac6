"""Class names in the order of a model's head."""

from collections.abc import Sequence
from pathlib import Path

from .. import stored
from ..errors import DataError

_MOST_BYTES = 64 << 20  # of all names together


def read_classes(path: Path) -> tuple[str, ...]:
    """Read class names: one per line of a text file, or the list "classes" of a .json.

    The run.json of a training has such a list, and so has the vitconvert.json of an export. Two
    classes may share a name: ImageNet has two called crane.

    Raises:
        DataError: The file is neither of these, or a name is missing.
    """
    try:
        text = stored.read_bytes(path, _MOST_BYTES).decode("utf-8-sig").rstrip()
        is_json = path.suffix.lower() == ".json"
        data = stored.parse_json(text) if is_json else {"classes": text.splitlines()}
    except (OSError, ValueError) as error:  # ValueError: not text, not JSON
        raise DataError(f"{path}: cannot be read as class names: {error}.") from error
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
            f"got {len(classes)} class names; {weights} has a head for {num_classes} classes."
        )
