"""The command that proposes a table for two models of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ParityError
from ..markdown import command_line
from ..terminal import say
from .options import (
    FILE,
    OUTPUT,
    PYTHON,
    ImageSize,
    check_reports,
    finish,
    progress_bar,
    report_options,
)

if TYPE_CHECKING:
    from ..apps.proposal import Proposal

_MOST_LINES = 10  # of what is left out, and of what is undecided


@click.command()
@click.option(
    "--torch-model",
    metavar="PKG.MOD:FUNC",
    required=True,
    help="Function that builds the PyTorch model, in the current folder or installed.",
)
@click.option("--paddle-model", metavar="PKG.MOD:FUNC", required=True, help="The same for Paddle.")
@click.option("--out", type=OUTPUT, required=True, help="Table to write.")
@click.option(
    "--input-size",
    type=ImageSize(),
    metavar="HxW",
    default="224",
    show_default=True,
    help="Pixels of the images that both are run on.",
)
@click.option(
    "--kinds",
    type=FILE,
    metavar="FILE",
    help="Kinds of layers of your own, written as mappings/_kinds.toml is; those that are used "
    "become part of the table.",
)
@click.option("--torch-python", metavar="PATH", help=PYTHON.format("PyTorch"))
@click.option("--paddle-python", metavar="PATH", help=PYTHON.format("Paddle"))
@click.option("--force", is_flag=True, help="Replace the table if it exists.")
@report_options
def table(
    torch_model: str,
    paddle_model: str,
    out: Path,
    force: bool,
    reports: dict[str, Path | None],
    **options: Any,
) -> None:
    """Propose a table for two models of your own, and prove it.

    Layers are paired by class, order of execution, shapes of their tensors and names. The PyTorch
    model, filled with seeded noise, is then converted by the table and both are compared. What
    remains open is marked `undecided` in the file. Exit status 0 only if it is proved.

    \b
    Example:
      vitconvert table --torch-model net:a --paddle-model net:b --out net.toml
    """
    from ..apps.proposal import propose_table
    from ..files import check_distinct, check_target, write_whole

    check_distinct(kinds=options["kinds"], out=out)
    check_target(out, force)
    check_reports(reports, kinds=options["kinds"], out=out)
    with progress_bar() as progress:
        proposal = propose_table(torch_model, paddle_model, progress=progress, **options)
    write_whole(out, proposal.text.encode(), force)
    _show_open(proposal, out)
    if proposal.report is None:
        for step in proposal.next_steps:
            say(f"next: {step}")
        raise ParityError(f"not proved: {proposal.failure}")
    say(f"Both models ran {_times(proposal.runs)} with seeded noise as weights:")
    try:
        finish(proposal.report, reports)
    finally:
        for step in proposal.next_steps:
            say(f"next: {step}")
    say("next: convert a checkpoint by this table, and prove it:")
    models = ["--torch-model", torch_model, "--paddle-model", paddle_model]
    files = ["--src", "NET.pth", "--dst", "NET.pdparams"]
    say(command_line(["convert", "--table", str(out), *files, *models]), whole=True)


def _show_open(proposal: Proposal, out: Path) -> None:
    """Print what the table leaves out and leaves open: not more than a screen of it."""
    for name, lines in (("left out", proposal.left_out), ("undecided", proposal.undecided)):
        for line in lines[:_MOST_LINES]:
            say(f"{name}: {line}")
        if len(lines) > _MOST_LINES:
            say(f"{name}: {len(lines) - _MOST_LINES} more, see {out}")
    rows, doubtful = len(proposal.rows), sum(row.undecided for row in proposal.rows)
    held = f"{out} holds {rows} row{'s' * (rows != 1)}, {doubtful} of them undecided"
    if proposal.missing:
        are = "tensor has" if proposal.missing == 1 else "tensors have"
        held += f"; {proposal.missing} {are} no row"
    say(f"{held}.")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
