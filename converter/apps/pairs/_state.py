"""Results of pairs, kept beside the table so that a later run continues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ... import stored
from ...checked import checked, shown
from ...checkpoints import read_contents
from ...errors import CheckpointError
from ...files import check_target
from ...parity import Row
from ...plain import sha256
from ...sides import Side
from ...version import __version__
from ._entries import Entry

_FORMAT = "vitconvert pairs 1"  # first thing in the file: whose it is, and how it is laid out


@dataclass(frozen=True)
class Kept:
    """The result of one pair.

    Attributes:
        request: What decided it: options, versions, hashes of files.
        code: Files of the user's own models -> their hashes.
        row: The result itself.
    """

    request: dict[str, Any]
    code: dict[str, str]
    row: Row


@dataclass(frozen=True)
class _File:
    """The whole file, with the results by the name of the pair."""

    format: str
    pairs: Mapping[str, Kept]


def results_beside(table: Path) -> Path:
    """Name the file that keeps the results of a table."""
    return table.with_name(f"{table.name}.json")


def read_state(path: Path, force: bool) -> dict[str, Kept]:
    """Read results by the name of the pair; none if the file is not there, or to be replaced.

    Raises:
        CheckpointError: The file is something else, or cannot be written.
    """
    check_target(path, force=True)
    if not path.exists():
        return {}
    try:
        data = stored.read_json(path)
        mark = data.get("format") if isinstance(data, dict) else data
        if mark != _FORMAT:
            raise ValueError(f"its format is {shown(mark)}")
        problems: list[str] = []
        found = checked(_File, data, "", problems)
        if found is None:
            raise ValueError(problems[0].rstrip("."))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: exists and does not hold results of pairs ({error}). Choose another name for "
            f"the table, or remove the file."
        ) from error
    return {} if force else dict(found.pairs)


def spell_state(state: Mapping[str, Kept]) -> str:
    """Spell results as JSON."""
    pairs = {name: asdict(one) for name, one in state.items()}
    return json.dumps({"format": _FORMAT, "pairs": pairs}, indent=1) + "\n"


def make_request(
    entry: Entry, options: Mapping[str, Any], versions: Mapping[str, str]
) -> dict[str, Any]:
    """Collect what decides the result of a pair, as JSON.

    Raises:
        VitconvertError: A file is missing or is not a checkpoint.
    """
    files: dict[Side, str] = {"torch": entry.torch, "paddle": entry.paddle}
    request: dict[str, Any] = {
        "vitconvert": __version__,
        **versions,
        **options,
        "input_size": entry.input_size or options.get("input_size"),
        "model": entry.variant or f"{entry.torch_model} and {entry.paddle_model}",
    }
    for side, file in files.items():
        request[f"{side} checkpoint"] = [
            sha256(path) for path in read_contents(file).facts["files"]
        ]
    for name, path in (("table", entry.table), ("input", options.get("input"))):
        if path and Path(path).is_file():
            request[name] = sha256(Path(path))
    found: dict[str, Any] = json.loads(json.dumps(request))
    return found


def changes(kept: Kept, request: Mapping[str, Any]) -> Iterator[str]:
    """Say why a pair must be compared again; nothing if its result still holds."""
    if kept.row.verdict != "PROVED":
        yield "was not proved"
    for name in dict.fromkeys([*kept.request, *request]):
        was, now = kept.request.get(name), request.get(name)
        if was != now:
            is_hash = "checkpoint" in name or name in ("table", "input")
            yield f"the {name} has changed" if is_hash else f"{name} was {was}, is now {now}"
    for file, digest in kept.code.items():
        try:
            is_same = sha256(Path(file)) == digest
        except OSError:
            is_same = False
        if not is_same:
            yield f"{file} has changed"
