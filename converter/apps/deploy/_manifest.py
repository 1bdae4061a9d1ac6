"""`vitconvert.json` in the folder of an export: what it says, and whether the files match."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ... import stored
from ...checked import checked, expected
from ...errors import ModelError, listing
from ...plain import sha256
from ...running.device import import_framework

NAME = "vitconvert.json"
FORMAT = "vitconvert export 1"
LEAST = 32  # pixels, of any side; smaller maps have nothing left in the last stage
_PROGRAMS = ("model.json", "model.pdmodel")  # of Paddle 3 and of 2.6
# What a killed export may hold; the last is for training on, and is removed.
_OWN = {NAME, *_PROGRAMS, "model.pdiparams", "model.pdiparams.info"}
_MOST = 64 << 20  # bytes of the file, which holds the names of all classes
_SIZE = expected('[height, width] in pixels, or "free"', lambda size: not size or min(size) > 0)
_SOURCE = expected("a table with a sha256", lambda known: isinstance(known.get("sha256"), str))
_FILES = expected(
    f"names of files, {' or '.join(_PROGRAMS)} among them", lambda names: bool(_own_program(names))
)


def _own_program(files: Mapping[str, str]) -> str | None:
    """Find the program among the files of an export."""
    return next((name for name in _PROGRAMS if name in files), None)


@dataclass(frozen=True)
class Facts:
    """What vitconvert.json says.

    Attributes:
        format: FORMAT in this release.
        variant: Name of the variant.
        num_classes: Size of the head; 0 if the model gives features.
        classes: Their names in the order of the logits; () if they were not given.
        image_size: Height and width in pixels; None if any from LEAST on.
        preprocessing: How images become the input.
        source: Name, sha256 and bytes of the weights it was made of.
        versions: Versions of vitconvert and Paddle, which made it.
        check: How far the export was from the original model.
        files: Name of each other file -> its sha256.
    """

    format: str
    variant: str
    num_classes: int
    classes: tuple[str, ...]
    image_size: tuple[int, int] | None = field(metadata=_SIZE)
    preprocessing: Mapping[str, Any]
    source: Mapping[str, Any] = field(metadata=_SOURCE)
    versions: Mapping[str, str]
    check: Mapping[str, float]
    files: Mapping[str, str] = field(metadata=_FILES)

    @property
    def program(self) -> str:
        """Return the name of the file with the program."""
        return _own_program(self.files) or _PROGRAMS[0]

    def to_json(self) -> str:
        """Return the text of the file; "free" stands for a free image size."""
        facts = asdict(self) | {"image_size": self.image_size or "free"}
        return json.dumps(facts, indent=1) + "\n"


def is_export(folder: Path) -> bool:
    """Tell whether a folder is a vitconvert export, of any release and in any state."""
    return bool(_read(folder))


def strangers(folder: Path) -> list[str]:
    """Name what a folder holds that does not belong to an export.

    Raises:
        OSError: It cannot be listed.
    """
    files = _read(folder).get("files")
    own = _OWN | set(files if isinstance(files, dict) else ())
    return sorted(path.name for path in folder.iterdir() if path.name not in own or path.is_dir())


def _read(folder: Path) -> dict[str, Any]:
    """Read vitconvert.json; nothing if it cannot be read, or is not of an export."""
    try:
        facts = stored.read_json(folder / NAME, _MOST)
    except (OSError, ValueError):
        return {}
    mark = facts.get("format") if isinstance(facts, dict) else None
    return facts if str(mark).startswith("vitconvert export") else {}


def read_facts(folder: Path) -> Facts:
    """Read vitconvert.json, and check the files against it.

    Raises:
        ModelError: The folder is not an export, or of another release, or its files have changed.
    """
    data = _read(folder)
    if not data:
        raise ModelError(
            f"{folder}: is not a vitconvert export, as it holds no {NAME}. Make one: vitconvert "
            f"export VARIANT --weights D.pdparams --out {folder}"
        )
    if data["format"] != FORMAT:
        raise ModelError(
            f"{folder / NAME}: format is {data['format']!r}, expected {FORMAT!r}: another release "
            f"of vitconvert made it. Export the weights again."
        )
    if data.get("image_size") == "free":
        data = data | {"image_size": None}
    problems: list[str] = []
    facts = checked(Facts, data, "", problems)
    if facts is None:
        advice = "Export the weights again."
        raise ModelError(listing(f"{folder / NAME}: is damaged:", [*problems, advice]))
    for name, digest in facts.files.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise ModelError(f"{path}: is missing. Export the weights again.")
        if sha256(path) != digest:
            raise ModelError(f"{path}: has changed since the export. Export the weights again.")
    _check_release(folder, facts.program, facts)
    return facts


def _check_release(folder: Path, program: str, facts: Facts) -> None:
    """Refuse a program that this Paddle cannot read."""
    paddle = import_framework("paddle")
    if program.endswith(".json") and int(paddle.__version__.partition(".")[0]) < 3:
        raise ModelError(
            f"{folder}: was made with Paddle {facts.versions.get('paddle')}; Paddle "
            f"{paddle.__version__}, which is installed, cannot read it. Export the weights again "
            f"here, or install Paddle 3."
        )
