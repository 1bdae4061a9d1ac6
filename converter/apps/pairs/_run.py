"""Compare pair after pair, and rewrite the table after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from ...errors import VitconvertError
from ...files import write_all
from ...parity import LIMIT, Report, Row, RunOptions, check_parity, page, row_of
from ...running.process import keep_workers
from ...sides import Side
from ...terminal import Progress
from ._entries import Entry
from ._state import Kept, changes, make_request, read_state, results_beside, spell_state

_PENDING = "not compared yet."


def check_pairs(
    entries: Sequence[Entry],
    table: Path,
    *,
    limit: float = LIMIT,
    command: str = "",
    made_from: Side = "torch",
    force: bool = False,
    tell: Callable[[str], None],
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> list[Row]:
    """Compare pairs one by one; each result is kept as soon as it is there.

    A pair that was proved before, with the same files, options and versions, is not compared again.
    One that cannot be compared does not stop the others.

    Args:
        entries: The pairs.
        table: Markdown file to write; the results are kept in a .json beside it.
        limit: What the float32 difference must be below.
        command: That made the table, to be shown in it.
        made_from: Which file of every pair is the original.
        force: Whether to compare all pairs anew.
        tell: Called with a line about every pair.
        progress: Called with a text, the amount done and the total.
        options: As of `check_parity`; an `input_size` is for pairs without one of their own.

    Returns:
        A row for each pair.

    Raises:
        CheckpointError: The table or the results cannot be written.
    """
    kept_in = results_beside(table)
    state = read_state(kept_in, force)
    rows = {entry.name: Row(entry.name, claim=_PENDING) for entry in entries}

    def save() -> None:
        text = page(list(rows.values()), limit, command)
        write_all({kept_in: spell_state(state).encode(), table: text.encode()})

    requests = {}
    for entry in entries:
        try:
            requests[entry.name] = make_request(entry, {**options, "made_from": made_from})
        except VitconvertError as error:
            rows[entry.name] = Row(entry.name, claim=str(error), failed=True)
            tell(f"{entry.name}: ERROR, {error}")
            continue
        if (before := state.get(entry.name)) is None:
            continue
        if why := list(changes(before, requests[entry.name])):
            tell(f"{entry.name}: compared again: {'; '.join(why)}")
        else:
            rows[entry.name] = before.row
            tell(f"{entry.name}: {before.row.result(limit)}, kept: proved before, nothing changed")
    save()
    left = [e for e in entries if rows[e.name].claim == _PENDING and e.name in requests]
    # Workers with the user's own models are started anew: their modules may have one name each.
    with keep_workers():
        for number, entry in enumerate(left, 1):
            seen = _within(progress, f"{entry.name} ({number} of {len(left)})")
            start = time.monotonic()
            row, code = _compare(entry, {**options, "made_from": made_from}, seen)
            rows[entry.name] = row
            state[entry.name] = Kept(requests[entry.name], code, row)
            save()
            verdict = f"{row.verdict}: " if row.verdict else ""
            seconds = time.monotonic() - start
            tell(f"{entry.name}: {row.result(limit)}, {verdict}{row.claim} ({seconds:.1f} s)")
    return list(rows.values())


def _compare(
    entry: Entry, options: Mapping[str, Any], progress: Progress | None
) -> tuple[Row, dict[str, str]]:
    """Compare one pair; also give the files of its own code."""
    try:
        report = check_parity(
            entry.model,
            torch_checkpoint=entry.torch,
            paddle_checkpoint=entry.paddle,
            progress=progress,
            **{**options, "input_size": entry.input_size or options.get("input_size")},
        )
    except VitconvertError as error:
        return Row(entry.name, claim=str(error), failed=True), {}
    return row_of(report, entry.name), _code(report)


def _code(report: Report) -> dict[str, str]:
    return {file: digest for side in report.sides for file, digest in side.get("code", {}).items()}


def _within(progress: Progress | None, name: str) -> Progress | None:
    """Put the name of the pair before what is shown of its progress."""
    if progress is None:
        return None
    return lambda text, done, total: progress(f"{name}: {text}", done, total)
