"""Propose a mapping table for two models of your own, and prove it by running both."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...checkpoints import Selection, open_selected, pdparams
from ...checkpoints.writing import write
from ...errors import ParityError, RunError, VitconvertError
from ...parity import FLOAT64_LIMIT, Pair, Report, check_parity
from ...running.interpreters import check_pythons
from ...running.process import keep_workers
from ...running.scratch import temporary_folder
from ...running.setup import check_factory
from ...sides import Side
from ...tables.kinds import Kind
from ...tables.plan import make_plan
from ...tables.reading import read_kinds, read_table, read_toml
from ...terminal import Progress
from ._compress import compress, compress_keys
from ._match import match_outlines
from ._next import next_steps
from ._outline import Outline, outline_both
from ._own_kinds import unused_kinds
from ._rows import DOUBTS, Match, Proposed
from ._search import alternatives, touching
from ._table_text import write_table
from ._tree import join
from ._words import fold_left_out, fold_problems, fold_rows, list_left_out

_MOST_RUNS = 12  # of both models

STATE = "state.npz"  # the PyTorch model's weights


@dataclass(frozen=True)
class Proposal:
    """A table for two models.

    Attributes:
        text: The table as TOML, with comments.
        rows: Its rows.
        undecided: A line for each reason why rows are a guess or tensors have no row.
        report: Of the run with this table; None if it could not be run.
        failure: Why it could not; empty otherwise.
        left_out: A line for each reason why layers have no row: the other model has none such, for
            example. The text has all their names.
        missing: How many tensors have no row.
        runs: How often both models were run to be compared.
        next_steps: What to do if it is not proved.
    """

    text: str
    rows: tuple[Proposed, ...]
    undecided: tuple[str, ...]
    report: Report | None
    failure: str = ""
    left_out: tuple[str, ...] = ()
    missing: int = 0
    runs: int = 0
    next_steps: tuple[str, ...] = ()

    @property
    def proved(self) -> bool:
        """Whether both models compute the same function if this table converts the weights.

        Layers that neither model runs are not part of that function; `undecided` lists them.
        """
        return self.report is not None and self.report.proved


def propose_table(
    torch_model: str,
    paddle_model: str,
    *,
    input_size: tuple[int, int] = (224, 224),
    progress: Progress | None = None,
    torch_python: str | None = None,
    paddle_python: str | None = None,
    kinds: str | Path | None = None,
) -> Proposal:
    """Pair the layers of two models that no table describes, and prove it.

    Each model is run once to see what it consists of. The PyTorch model's weights, seeded noise,
    are then converted by the table and both are run and compared in float64, as `check_parity`
    does. If they differ, other pairings of what shapes and order leave open are tried.

    Args:
        torch_model: Function that builds the PyTorch model, as "package.module:function".
        paddle_model: The same for Paddle.
        input_size: Height and width in pixels of the images [2, 3, H, W].
        progress: Called with a text, the amount done and the total.
        torch_python: Interpreter that has PyTorch; this one if None.
        paddle_python: Interpreter that has Paddle; this one if None.
        kinds: File with kinds of your own, written as `mappings/_kinds.toml` is; the table holds
            those that it uses.

    Returns:
        The table, also if it is not proved: see `proved` and `undecided`.

    Raises:
        ModelError: A framework is not installed, or a name is not "package.module:function".
        ParityError: There is no such function, or its model does not take such images.
        TableError: The file of kinds cannot be used.
    """
    file = None if kinds is None else Path(kinds)
    own = None if file is None else file.absolute()
    known, written = read_kinds(own), {} if own is None else read_toml(own)
    pythons: dict[Side, str | None] = {"torch": torch_python, "paddle": paddle_python}
    check_pythons(pythons)
    factories: dict[Side, str] = {"torch": torch_model, "paddle": paddle_model}
    for side, factory in factories.items():
        check_factory(factory, side)
    with temporary_folder() as folder, keep_workers(own_models=True):
        try:
            torch, paddle = outline_both(
                factories, input_size, pythons, folder / STATE, progress, own
            )
        except RunError as error:
            raise ParityError(error) from error
        prover = _Prover(torch, paddle, folder, input_size, pythons, progress, known, written, file)
        return prover.propose()


@dataclass
class _Attempt:
    """One table and what came of it; `left` are rows that do not hold, and why."""

    match: Match
    left: Mapping[str, str]
    rows: list[Proposed]
    ignore: dict[str, str]
    paddle_only: dict[str, str]
    report: Report | None = None
    failure: str = ""

    @property
    def proved(self) -> bool:
        return self.report is not None and self.report.proved

    @property
    def same(self) -> int:
        """Count the layers that are the same on both sides."""
        return sum(layer.verdict == "same" for layer in self.report.layers) if self.report else -1

    def structural(self, kinds: Mapping[str, Kind]) -> dict[str, str]:
        """Name the rows without tensors that do not hold although both outputs are the same.

        They carry no weights: without them the table converts the same, and proves as much.

        Returns:
            PyTorch name -> why the row does not hold.
        """
        layers = self.report.layers if self.report else ()
        output = next((layer for layer in layers if layer.kind == "output"), None)
        if output is None or output.float64 is None:
            return {}
        if output.verdict != "same" and output.float64 > FLOAT64_LIMIT:
            return {}
        found = {}
        for layer in layers:
            kind = kinds.get(layer.kind)
            if layer.verdict == "same" or kind is None or kind.tensors:
                continue
            if layer.verdict != "settings" or not kind.torch:
                found[layer.layer.partition("#")[0]] = f"{layer.verdict}: {layer.note}"
        return found


@dataclass
class _Prover:
    """Tries tables until one is proved."""

    torch: Outline
    paddle: Outline
    folder: Path
    size: tuple[int, int]
    pythons: Mapping[Side, str | None]
    progress: Progress | None
    kinds: Mapping[str, Kind]
    written: Mapping[str, Mapping[str, Any]]  # those of the user's own
    file: Path | None  # that they are in
    runs: int = 0

    def __post_init__(self) -> None:
        # Of all layers and tensors: no placeholder may claim one that is not its own.
        self.names = _names(self.torch), _names(self.paddle)
        self.classes: dict[tuple[Side, str], str] = {
            (model.framework, unit.name): unit.cls
            for model in (self.torch, self.paddle)
            for unit in model.units
        }

    @property
    def has_weights(self) -> bool:
        """Whether there is anything to convert."""
        return any(unit.tensors for unit in self.torch.units)

    def propose(self) -> Proposal:
        """Try the best guess, then without rows that do not hold, then other guesses."""
        choices, best = dict[Hashable, int](), self._without_wrong_blocks({})
        untried = self._alternatives(best)
        while best.report and not best.proved and self.runs < _MOST_RUNS:
            changed = next(untried, None)
            if changed is None:
                break
            tried = self._without_wrong_blocks({**choices, **changed})
            if tried.proved or tried.same > best.same:
                best, choices = tried, {**choices, **changed}
                untried = self._alternatives(best)
        return self._finish(best)

    def _alternatives(self, attempt: _Attempt) -> Iterator[dict[Hashable, int]]:
        return alternatives(attempt.report, attempt.match.groups, self.torch)

    def _without_wrong_blocks(self, choices: Mapping[Hashable, int]) -> _Attempt:
        """Run a guess; if outputs agree, run it again without the rows that do not hold."""
        left = dict[str, str]()
        attempt = self._attempt(choices, left)
        while (wrong := attempt.structural(self.kinds)) and self.runs < _MOST_RUNS:
            left = {**left, **wrong}
            attempt = self._attempt(choices, left)
        return attempt

    def _attempt(self, choices: Mapping[Hashable, int], left: Mapping[str, str]) -> _Attempt:
        """Make a table and run both models with it."""
        match = match_outlines(self.torch, self.paddle, choices, self.kinds)
        rows = [row for row in match.rows if row.torch not in left or row.kind == "param"]
        ignore = compress_keys(match.ignore, self.names[0])
        alone = compress_keys(match.paddle_only, self.names[1])
        attempt = _Attempt(match, left, compress(rows, *self.names), ignore, alone)
        if match.problems or not attempt.rows or not self.has_weights:
            return attempt
        self.runs += 1
        path = self.folder / "proposed.toml"
        used = self._used(attempt.rows)
        text = write_table((), attempt.rows, attempt.ignore, (), (), kinds=used, paddle_only=alone)
        path.write_text(text, encoding="utf-8")
        paddle = self.folder / "converted.pdparams"
        source = open_selected(self.folder / STATE, Selection())
        made = make_plan(source, read_table(path)).apply(source.tensors)
        layout = pdparams.layout(made)
        with paddle.open("w+b") as file:
            sum(write(file.fileno(), layout))
        try:
            attempt.report = check_parity(
                Pair(self.torch.model, self.paddle.model, path),
                torch_checkpoint=self.folder / STATE,
                paddle_checkpoint=paddle,
                progress=self.progress,
                device="cpu",
                input_size=self.size,
                torch_python=self.pythons["torch"],
                paddle_python=self.pythons["paddle"],
            )
        except VitconvertError as error:
            attempt.failure = str(error)
        return attempt

    def _used(self, rows: Sequence[Proposed]) -> dict[str, Mapping[str, Any]]:
        """Give the kinds of the user's own that rows name, as the file has them."""
        named = {row.kind for row in rows}
        return {name: entry for name, entry in self.written.items() if name in named}

    def _finish(self, attempt: _Attempt) -> Proposal:
        """Write the table for people, with comments."""
        rows = [_settled(row) if attempt.proved else row for row in attempt.rows]
        match, names = attempt.match, {*self.names[0], *self.names[1]}
        partners = {row.torch: row.paddle for row in match.rows}
        wrong = [Proposed(one, partners[one], "", why) for one, why in attempt.left.items()]
        doubts = fold_rows([row for row in rows if row.undecided], names)
        settings = [row for row in wrong if row.note.startswith("settings: ")]
        doubts += [f"{line} (left out)" for line in fold_rows(settings, names)]
        open_groups = touching(attempt.report, match.groups, self.torch)
        if not attempt.proved:
            doubts += [group.note for group in open_groups if not group.in_rows]
        lone = attempt.paddle_only
        doubts += [
            f"Paddle's {key}, which PyTorch lacks: {DOUBTS[why]}"
            for key, why in lone.items()
            if why in DOUBTS
        ]
        doubts += fold_problems(match.problems)
        failure = attempt.failure
        if match.problems:
            failure = "some tensors have no row."
        elif not self.has_weights:
            failure = "the PyTorch model has no tensors: there is nothing to convert."
        elif not rows:
            failure = "the models have nothing in common."
        models = self.torch, self.paddle
        head = _heading(self.torch, self.paddle, attempt, failure)
        every = [f"{row.torch} | {row.paddle}: {row.note}" for row in wrong]
        every += list_left_out(match.left_out, self.classes)
        problems = fold_problems(match.problems, len(names))
        used = self._used(rows)
        return Proposal(
            write_table(head, rows, attempt.ignore, every, problems, self.size, used, lone),
            tuple(rows),
            tuple(doubts),
            attempt.report,
            failure,
            (
                *unused_kinds((n for n in self.written if n not in used), self.kinds, models),
                *fold_rows(wrong, names),
                *fold_left_out(match.left_out, self.classes),
            ),
            len(match.problems),
            self.runs,
            tuple(
                next_steps(match.problems, attempt.report, self.paddle.model, self.kinds, self.file)
            ),
        )


def _names(model: Outline) -> list[str]:
    """Name all layers and tensors of a model."""
    tensors = [join(unit.name, leaf.name) for unit in model.units for leaf in unit.tensors]
    return [unit.name for unit in model.units if unit.name] + tensors


def _settled(row: Proposed) -> Proposed:
    """Settle a doubt if the run would have shown a wrong row."""
    if row.undecided and row.runs:
        return replace(row, note=f"{row.note}. The run proves this one", undecided=False)
    return row


def _heading(torch: Outline, paddle: Outline, attempt: _Attempt, failure: str) -> list[str]:
    """Say how the table was made, and whether it is proved."""
    from ...version import __version__

    report = attempt.report
    lines = [
        f"Proposed by `vitconvert table`, release {__version__}, from the tensors of both models "
        f"and the order in which their layers run:",
        f"  PyTorch  {torch.model} (torch {torch.version})",
        f"  Paddle   {paddle.model} (paddle {paddle.version})",
    ]
    if report is None:
        return [*lines, "NOT PROVED, the models were not run: " + failure.replace("\n", "; ")]
    if not attempt.proved:
        return [*lines, f"NOT PROVED: {report.claim}"]
    largest = max(layer.float64 or 0.0 for layer in report.layers)
    lines.append(
        f"PROVED with weights of seeded noise: {len(report.layers)} outputs compared "
        f"on images {report.inputs['shape']}, largest float64 difference {largest:.1e}."
    )
    lines += report.lone
    if report.never_run:
        lines.append(f"Not compared, as neither model runs them: {', '.join(report.never_run)}.")
    return lines
