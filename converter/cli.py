"""The command line: parse, call, print."""

from __future__ import annotations

import errno
import logging
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import click

from . import __version__
from ._errors import VitconvertError
from ._eval_command import evaluate
from ._explain_command import explain
from ._export_command import export
from ._options import (
    DEVICE,
    FILE,
    OUTPUT,
    Size,
    check_reports,
    finish,
    progress_bar,
    report_options,
)
from ._parity_commands import compare, convert, dump, parity, table
from ._show import console, printable, show_checkpoint, show_plan
from ._table import CASTS, families, load_table, variants
from ._train_command import train


class Commands(click.Group):
    """The fixed commands, and one for every family that has a table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, families first."""
        return [*families(), *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Find a command; those of families are made when asked for."""
        return _family_command(name) if name in families() else super().get_command(ctx, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Turn the errors of this package into one message and exit status 1."""
        try:
            return super().invoke(ctx)
        except VitconvertError as error:
            click.echo(printable(f"Error: {error}"), err=True)
            ctx.exit(1)
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has stopped: click knows
                raise
            click.echo(printable(f"Error: {error}."), err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


@click.group(
    cls=Commands,
    epilog="Exit status: 0 done and proved, 1 not proved or refused, 2 wrong usage, 130 "
    "interrupted.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, package_name="vitconvert")
def cli() -> None:
    """Convert PyTorch weights of vision transformers to PaddlePaddle, with proof.

    The command of a model family converts a checkpoint and then runs both models, layer by layer:

    \b
      vitconvert shunted --src shunt_s.pth --dst shunt_s.pdparams
    """
    # What Paddle says of itself as it is imported and exports is no concern of the user's.
    warnings.filterwarnings("ignore", "No ccache found")
    os.environ.setdefault("GLOG_minloglevel", "2")
    logger = logging.getLogger("vitconvert")
    logger.setLevel(logging.INFO)
    logger.handlers = [_Echo()]
    logger.propagate = False


class _Echo(logging.Handler):
    """Prints what the library has to say."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        click.echo(printable(record.getMessage()))


def _family_command(family: str) -> click.Command:
    """Make the command that converts checkpoints of one family."""
    title = load_table(family).title
    names = list(load_table(family).variants)

    @click.command(
        name=family,
        short_help=f"Convert a {title} checkpoint and prove it.",
        help=f"""Convert a {title} checkpoint from PyTorch to Paddle, or back, and prove that both
        compute the same.

        The new file gets its name only when parity holds; otherwise it stays as DST.unverified and
        the exit status is 1.

        \b
        Examples:
          vitconvert {family} --src model.pth --dst model.pdparams
          vitconvert {family} --src model.pth --dst model.pdparams --dry-run
          vitconvert {family} --src model.pth --dst model.pdparams --report proof.json
          vitconvert {family} --src model.pth --dst half.safetensors --dtype float16
          vitconvert {family} --src model.pdparams --dst model.pth
        """,
    )
    @click.option(
        "--src",
        required=True,
        type=FILE,
        help="Checkpoint: .pth, .pt, .bin, .safetensors, *.index.json, .npz; or a .pdparams.",
    )
    @click.option(
        "--dst",
        required=True,
        type=OUTPUT,
        help="What to write: .pdparams, .safetensors, .safetensors.index.json; or a .pth.",
    )
    @click.option(
        "--variant",
        type=click.Choice(names),
        metavar="VARIANT",
        help="Size of the model, see `vitconvert models`.  [default: found from names and shapes]",
    )
    @click.option(
        "--weights",
        metavar="KEY",
        help="Which weights to take where a file has several: model_ema …  [default: model]",
    )
    @click.option(
        "--dtype", type=click.Choice(CASTS), help="Cast floating tensors.  [default: as they are]"
    )
    @click.option(
        "--max-shard-size",
        type=Size(),
        metavar="SIZE",
        help="Of each file, where DST is a .safetensors.index.json.  [default: 5GB]",
    )
    @click.option("--no-parity", is_flag=True, help="Convert only; prove nothing.")
    @click.option("--no-verify", is_flag=True, help="Do not read back what was written.")
    @click.option(
        "--device", type=DEVICE, default="auto", show_default=True, help="Where to check parity."
    )
    @click.option("--dry-run", is_flag=True, help="Print what would be done to every tensor; stop.")
    @click.option("--force", is_flag=True, help="Replace DST if it exists.")
    @report_options
    def command(
        src: Path,
        dst: Path,
        variant: str | None,
        weights: str | None,
        dtype: str | None,
        max_shard_size: int | None,
        no_parity: bool,
        no_verify: bool,
        device: Any,
        dry_run: bool,
        force: bool,
        report: Path | None,
        html: Path | None,
        markdown: Path | None,
    ) -> None:
        from ._convert import convert, plan
        from ._files import unverified
        from ._output import MAX_SHARD_SIZE, check_side, format_of

        reports = {"report": report, "html": html, "markdown": markdown}
        if any(reports.values()) and (no_parity or dry_run):
            raise click.UsageError("a report is of parity: not with --no-parity or --dry-run.")
        if max_shard_size is not None and format_of(dst) != "sharded":
            raise click.UsageError(
                f"--max-shard-size is of a sharded checkpoint: DST is the name of its index, such "
                f"as {dst.name.partition('.')[0]}.safetensors.index.json."
            )
        if dry_run:
            made = plan(src, family, variant, weights)[1]
            check_side(dst, src, made.source)
            show_plan(made, dtype)
            return
        check_reports(reports, source=src, target=dst, unverified=unverified(dst))
        with progress_bar() as progress:
            done = convert(
                src,
                dst,
                family,
                variant=variant,
                weights=weights,
                dtype=dtype,
                max_shard_size=max_shard_size or MAX_SHARD_SIZE,
                parity=not no_parity,
                verify=not no_verify,
                device=device,
                force=force,
                progress=progress,
            )
        if done.report is not None:
            finish(done.report, reports, done.path)
        else:
            click.echo(f"{done.path} written; parity was not checked (--no-parity).")

    return command


for command in (evaluate, train, explain, export, parity, dump, compare, table, convert):
    cli.add_command(command)


@cli.command()
@click.argument("file", type=FILE)
@click.option("--weights", metavar="KEY", help="Which of several weights to show.")
def inspect(file: Path, weights: str | None) -> None:
    """Show what a checkpoint holds, and which variant it looks like.

    \b
    Example:
      vitconvert inspect shunt_s.pth
    """
    from .checkpoints import open_checkpoint

    checkpoint = open_checkpoint(file, weights)
    show_checkpoint(checkpoint)


@cli.command()
def models() -> None:
    """List the models that can be converted.

    With the top-1 of each released checkpoint, in percent on ImageNet, and how pictures were
    brought to the input size: by that filter, a crop from the center with this share of the
    shorter side, or the whole picture squashed.

    \b
    Example:
      vitconvert models
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("variant", "input"):
        table.add_column(heading, no_wrap=True)
    for heading in ("parameters", "top-1"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("evaluated with", no_wrap=True)
    for name, variant in variants().items():
        height, width = variant.input_size
        millions = load_table(variant.family).parameters(variant) / 1e6
        top1 = ", ".join(str(figures["top1"]) for figures in variant.published)
        crops = {"{interpolation}, {crop_mode} {crop_pct}".format(**f) for f in variant.published}
        table.add_row(
            name, f"{height}x{width}", f"{millions:.1f} M", top1 or "-", ", ".join(crops) or "-"
        )
    console().print(table)


def main() -> None:
    """Run the command line; a termination signal cleans up as Ctrl-C does."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # under nohup, say
            signal.signal(ending, _terminate)
    cli(prog_name="vitconvert")


def _terminate(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
