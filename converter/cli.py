"""The command line: parse, call, print."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import warnings
from typing import Any

import click

from .commands.convert import convert_by_table, family_command
from .commands.eval import evaluate
from .commands.explain import explain
from .commands.export import export
from .commands.inspect import inspect, models
from .commands.parity import compare, dump, parity
from .commands.propose import table
from .commands.shapes import shapes
from .commands.train import train
from .errors import VitconvertError, nearest
from .tables.reading import families
from .terminal import printable
from .version import __version__


class Commands(click.Group):
    """The fixed commands, and one for every family with a table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, families first."""
        return [*families(), *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Find a command; the command of a family is built on demand."""
        found = super().get_command(ctx, name)
        return family_command(name) if found is None and name in families() else found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a command line; of an unknown one say which is nearest."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"No such command {name!r}.{nearest(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Turn the errors of this package into one message and exit status 1, help's, too."""
        try:
            return super().main(*args, **extra)
        except VitconvertError as error:
            click.echo(printable(f"Error: {error}"), err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        """Turn errors of the system into one message and exit status 1."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader closed the pipe: click handles it
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
    # Hide what Paddle prints about itself on import and export: it does not concern the user.
    warnings.filterwarnings("ignore", "No ccache found")
    os.environ.setdefault("GLOG_minloglevel", "2")
    logger = logging.getLogger("vitconvert")
    logger.setLevel(logging.INFO)
    logger.handlers = [_Echo()]
    logger.propagate = False


class _Echo(logging.Handler):
    """Prints the library's log messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        click.echo(printable(record.getMessage()))


for command in (
    evaluate,
    train,
    explain,
    export,
    parity,
    dump,
    compare,
    table,
    convert_by_table,
    inspect,
    models,
    shapes,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; a termination signal cleans up as Ctrl-C does."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as under nohup
            signal.signal(ending, _terminate)
    cli(prog_name="vitconvert")


def _terminate(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
