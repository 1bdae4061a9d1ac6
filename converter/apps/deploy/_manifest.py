"""`vitconvert.json` in the folder of an export: what it says, and whether the files match."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...plain import sha256
from ...running.device import import_framework

NAME = "vitconvert.json"
FORMAT = "vitconvert export 1"
LEAST = 32  # pixels, of any side; smaller maps have nothing left in the last stage
_PROGRAMS = ("model.json", "model.pdmodel")  # of Paddle 3 and of 2.6
# What a killed export may hold; the last is for training on, and is removed.
_OWN = {NAME, *_PROGRAMS, "model.pdiparams", "model.pdiparams.info"}


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
    image_size: tuple[int, int] | None
    preprocessing: Mapping[str, Any]
    source: Mapping[str, Any]
    versions: Mapping[str, str]
    check: Mapping[str, float]
    files: Mapping[str, str]

    @property
    def program(self) -> str:
        """Return the name of the file with the program."""
        return next(name for name in _PROGRAMS if name in self.files)

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
        facts = json.loads((folder / NAME).read_text(encoding="utf-8"))
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
    try:
        size = data["image_size"]
        own = {"image_size": None if size == "free" else (size[0], size[1])}
        facts = Facts(**data | own | {"classes": tuple(data["classes"])})
        program = facts.program
    except (TypeError, KeyError, IndexError, StopIteration) as error:
        raise ModelError(f"{folder / NAME}: is damaged. Export the weights again.") from error
    for name, expected in facts.files.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise ModelError(f"{path}: is missing. Export the weights again.")
        if sha256(path) != expected:
            raise ModelError(f"{path}: has changed since the export. Export the weights again.")
    _check_release(folder, program, facts)
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
