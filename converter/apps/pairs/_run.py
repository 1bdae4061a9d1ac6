"""Compare pair after pair, and rewrite the table after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

from ...errors import CheckpointError, VitconvertError
from ...files import write_all
from ...parity import LIMIT, Report, Row, RunOptions, check_parity, page, row_of
from ...running.interpreters import framework_versions
from ...running.process import keep_workers
from ...sides import SIDES, Side
from ...terminal import Progress
from ._entries import Entry
from ._state import Kept, changes, make_request, read_state, results_beside, spell_state


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
    how = {**options, "made_from": made_from}
    state = read_state(results_beside(table), force)
    series = _Series(entries, table, limit, command, how, state, tell)
    series.find_kept()
    series.save()
    left = series.left()
    # Workers with the user's own models are started anew: two modules may have one name.
    with keep_workers():
        for number, entry in enumerate(left, 1):
            series.compare(entry, _within(progress, f"{entry.name} ({number} of {len(left)})"))
            series.save()
    return list(series.rows.values())


class _Series:
    """Pairs with their results so far."""

    def __init__(
        self,
        entries: Sequence[Entry],
        table: Path,
        limit: float,
        command: str,
        how: dict[str, Any],
        state: dict[str, Kept],
        tell: Callable[[str], None],
    ) -> None:
        self.entries, self.table, self.limit, self.command = entries, table, limit, command
        self.how, self.state, self.tell = how, state, tell
        self.saved: tuple[int, int] | None = None  # what `save` left
        self.requests: dict[str, dict[str, Any]] = {}
        self.rows = {entry.name: Row(entry.name, claim="not compared yet.") for entry in entries}

    def find_kept(self) -> None:
        """Take over the results that still hold, and find the pairs that cannot be compared."""
        sides: dict[Side, str | None] = {side: self.how.get(f"{side}_python") for side in SIDES}
        versions = framework_versions(sides)
        for entry in self.entries:
            try:
                request = make_request(entry, self.how, versions)
            except VitconvertError as error:
                self._failed(entry, error)
                continue
            self.requests[entry.name] = request
            if (before := self.state.get(entry.name)) is None:
                continue
            if why := list(changes(before, request)):
                self.tell(f"{entry.name}: compared again: {'; '.join(why)}.")
            else:
                self.rows[entry.name] = before.row
                self.tell(
                    f"{entry.name}: {before.row.result(self.limit)}, kept: proved before, and "
                    f"nothing has changed."
                )

    def left(self) -> list[Entry]:
        """List the pairs that are still to be compared."""
        return [one for one in self.entries if self.rows[one.name].result(self.limit) == "-"]

    def compare(self, entry: Entry, progress: Progress | None) -> None:
        """Compare one pair."""
        start = time.monotonic()
        try:
            report = check_parity(
                entry.model,
                torch_checkpoint=entry.torch,
                paddle_checkpoint=entry.paddle,
                progress=progress,
                **{**self.how, "input_size": entry.input_size or self.how.get("input_size")},
            )
        except VitconvertError as error:
            self._failed(entry, error)
            return
        row = self.rows[entry.name] = row_of(report, entry.name)
        self.state[entry.name] = Kept(self.requests[entry.name], _code(report), row)
        result, seconds = row.result(self.limit), time.monotonic() - start
        self.tell(f"{entry.name}: {result}, {row.verdict}: {row.claim} ({seconds:.1f} s)")

    def _failed(self, entry: Entry, error: VitconvertError) -> None:
        claim = " ".join(str(error).split())  # several lines if it is a list of problems
        self.rows[entry.name] = Row(entry.name, claim=claim, failed=True)
        self.tell(f"{entry.name}: ERROR: {error}")

    def save(self) -> None:
        """Write the results, and the table anew.

        Raises:
            CheckpointError: They cannot be written, or another run has written them meanwhile.
        """
        results = results_beside(self.table)
        if self.saved not in (None, _stamp(results)):
            raise CheckpointError(
                f"{self.table}: another run writes this table. Wait until it has ended, then give "
                f"the same command again, which continues; or choose another name."
            )
        text = page(list(self.rows.values()), self.limit, self.command)
        kept = spell_state(self.state)
        write_all({results: kept.encode(), self.table: text.encode()})
        self.saved = _stamp(results)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tell files of one name apart; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _code(report: Report) -> dict[str, str]:
    return {file: digest for side in report.sides for file, digest in side.get("code", {}).items()}


def _within(progress: Progress | None, name: str) -> Progress | None:
    """Put the name of the pair before what is shown of its progress."""
    if progress is None:
        return None
    return lambda text, done, total: progress(f"{name}: {text}", done, total)
