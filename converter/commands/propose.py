"""The command that proposes a table for two models of the user's own."""

from pathlib import Path
from typing import Any

import click

from ..errors import ParityError
from ..markdown import command_line
from ..terminal import printable
from .options import OUTPUT, PYTHON, ImageSize, check_reports, finish, progress_bar, report_options


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
    from ..files import check_target, write_whole

    check_target(out, force)
    check_reports(reports, out=out)
    with progress_bar() as progress:
        proposal = propose_table(torch_model, paddle_model, progress=progress, **options)
    write_whole(out, proposal.text.encode())
    for left in proposal.left_out:
        click.echo(printable(f"left out: {left}"))
    for doubt in proposal.undecided:
        click.echo(printable(f"undecided: {doubt}"))
    click.echo(
        f"{out} holds {len(proposal.rows)} rows, {len(proposal.undecided)} of them in doubt."
    )
    if proposal.report is None:
        raise ParityError(f"not proved: {proposal.failure}")
    click.echo("Both models ran with seeded noise as weights: what follows is about the table.")
    finish(proposal.report, reports)
    click.echo("Convert a checkpoint by this table, with proof:")
    models = ["--torch-model", torch_model, "--paddle-model", paddle_model]
    files = ["--src", "WEIGHTS.pth", "--dst", "WEIGHTS.pdparams"]
    click.echo(command_line(["convert", "--table", str(out), *files, *models]))
